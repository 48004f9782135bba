package courier_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

var peers = slices.Sorted(slices.Values([]letter.CircleID{circle(2), circle(3), circle(4)}))

func peerName(id letter.CircleID) string {
	for i, p := range peers {
		if p == id {
			return fmt.Sprintf("p%d", i+1)
		}
	}
	return string(id)
}

// TestScripts runs testdata/script: one circle's courier and its peers p1, p2, p3.
//
//	peer P tail=N              our stream to P goes to N now
//	remove P                   no more to P
//	at T                       the time is T now; prints what is ready
//	welcome P held=N [nx=other|from=other|to=other]   P's answer to an Open
//	confirm P ok=BOOL          we have compared the Welcome with our books
//	ack P held=N               P's answer to a Batch
//	refused P code=CODE        P's answer to either
//	failed P why=TEXT          no answer from P
//	began P life=N             P has opened a session of its own
//
// Answers are to the newest request; with "late" to the one before it.
//
//	status
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		c := courier.New(circle(1), courier.Nonce{1}, 1)
		asked := map[letter.CircleID][]courier.Request{}
		var now int64
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "at" {
				if _, err := fmt.Sscan(d.CmdArgs[0].Key, &now); err != nil {
					t.Fatal(err)
				}
				c.Tick(now)
			} else if d.Cmd != "status" {
				run(t, c, d, now, asked)
			}
			if d.Cmd == "status" {
				return showStatus(c)
			}
			requests := c.Ready()
			for _, r := range requests {
				asked[r.Peer] = append(asked[r.Peer], r)
			}
			return showRequests(requests)
		})
	})
}

func run(
	t *testing.T, c *courier.Courier, d *datadriven.TestData, now int64,
	asked map[letter.CircleID][]courier.Request,
) {
	var p int
	if _, err := fmt.Sscanf(d.CmdArgs[0].Key, "p%d", &p); err != nil {
		t.Fatal(err)
	}
	id := peers[p-1]
	r, back := courier.Request{Peer: id}, 1
	if d.HasArg("late") {
		back = 2
	}
	if all := asked[id]; len(all) >= back {
		r = all[len(all)-back]
	}
	number := func(name string) (n uint64) {
		d.ScanArgs(t, name, &n)
		return n
	}
	text := func(name string) (s string) {
		d.ScanArgs(t, name, &s)
		return s
	}
	switch d.Cmd {
	case "peer":
		c.Peer(id, at(number("tail")))
	case "remove":
		c.Remove(id)
	case "welcome":
		w := courier.Welcome{Nx: courier.Nonce{1}, Held: at(number("held")), From: id, To: circle(1)}
		if d.HasArg("nx") {
			w.Nx = courier.Nonce{7}
		}
		if d.HasArg("from") {
			w.From = circle(9)
		}
		if d.HasArg("to") {
			w.To = circle(9)
		}
		c.Replied(r, w, now)
	case "confirm":
		heard := map[string]courier.Heard{"true": courier.Fresh, "behind": courier.Behind}
		c.Confirm(r, heard[text("ok")])
	case "ack":
		c.Replied(r, courier.Ack{Held: at(number("held"))}, now)
	case "refused":
		c.Replied(r, courier.Refused{Code: text("code")}, now)
	case "failed":
		c.Failed(r, text("why"), now)
	case "began":
		c.Began(id, courier.Nonce{byte(number("life"))})
	default:
		t.Fatalf("%s: no such command", d.Cmd)
	}
}

func showRequests(requests []courier.Request) string {
	if len(requests) == 0 {
		return "nothing to do\n"
	}
	var s strings.Builder
	for _, r := range requests {
		switch r.Kind {
		case courier.SendOpen:
			fmt.Fprintf(&s, "%s: send Open, attempt %d, tail %d\n", peerName(r.Peer), r.Open.Attempt,
				r.Open.Tail.Seq)
		case courier.SendBatch:
			fmt.Fprintf(&s, "%s: send records %d to %d\n", peerName(r.Peer), r.FromSeq, r.ToSeq)
		case courier.Opened:
			fmt.Fprintf(&s, "%s: compare Welcome, held %d\n", peerName(r.Peer), r.Welcome.Held.Seq)
		}
	}
	return s.String()
}

func showStatus(c *courier.Courier) string {
	var s strings.Builder
	for _, p := range c.Status() {
		fmt.Fprintf(&s, "%s: held %d of %d", peerName(p.Peer), p.Held, p.Tail)
		if p.Connected {
			s.WriteString(", connected")
		}
		if p.Stopped {
			s.WriteString(", stopped")
		}
		if p.LastError != "" {
			s.WriteString(", " + p.LastError)
		}
		if p.RetryAt != 0 {
			fmt.Fprintf(&s, ", again at %d", p.RetryAt)
		}
		s.WriteString("\n")
	}
	return s.String()
}
