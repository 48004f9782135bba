package courier_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/memnet"
)

// node is a circle as far as streams go. What a crash leaves is what a circle keeps in its log.
type node struct {
	t    *testing.T
	byte byte // its key
	id   letter.CircleID
	peer *node
	net  *memnet.Net

	out      []letter.Signed
	tail     letter.Position
	held     letter.Position
	received []string
	nx, ny   courier.Nonce // the session in which we receive
	attempt  uint64

	lives   uint64
	courier *courier.Courier // lost in a crash, as is
	asked   map[uint64]courier.Request
	voided  int // batches of sessions no longer in force
}

// start begins a life with an incarnation of its own.
func (n *node) start() {
	n.lives++
	nx := courier.Nonce{n.byte}
	binary.BigEndian.PutUint64(nx[8:], n.lives)
	n.courier = courier.New(n.id, nx, n.lives)
	n.asked = map[uint64]courier.Request{}
	n.courier.Peer(n.peer.id, n.tail)
}

func (n *node) write() {
	_, b, tail, err := letter.Next(n.tail, letter.Record{
		Kind: letter.Propose, From: n.id, To: n.peer.id, Body: fmt.Appendf(nil, "%d", n.tail.Seq+1),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.tail, n.out = tail, append(n.out, letter.Sign(key(n.byte), b))
	n.courier.Peer(n.peer.id, n.tail)
}

// work does what the courier asks for.
func (n *node) work(now int64) {
	n.courier.Tick(now)
	for _, r := range n.courier.Ready() {
		switch r.Kind {
		case courier.SendOpen:
			n.asked[n.net.Ask(n.id, r.Peer, n.encode(r.Open), now)] = r
		case courier.Opened:
			h := r.Welcome.Held
			ok := courier.VerifyWelcome(public(n.peer.byte), r.Welcome) == nil &&
				(h.Seq == 0 || letter.HashOf(n.out[h.Seq-1].Bytes) == h.Hash)
			heard := courier.Denied
			if ok {
				heard = courier.Fresh
			}
			n.courier.Confirm(r, heard)
		case courier.SendBatch:
			records := n.out[r.FromSeq-1 : r.ToSeq]
			id := n.net.Ask(n.id, r.Peer, n.encode(courier.Batch{
				Nx: r.Nx, Ny: r.Ny, From: n.id, To: r.Peer, Records: records[:courier.Fit(records)],
			}), now)
			n.asked[id] = r
		}
	}
}

func (n *node) encode(msg any) []byte {
	b, err := courier.Encode(msg)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

func (n *node) event(e memnet.Event, now int64) {
	switch e.Kind {
	case memnet.Failure:
		n.courier.Failed(n.asked[e.ID], "timeout", now)
	case memnet.Reply:
		msg, err := courier.Decode(e.Bytes)
		if err != nil {
			n.t.Fatal(err)
		}
		n.courier.Replied(n.asked[e.ID], msg, now)
	case memnet.Request:
		msg, err := courier.Decode(e.Bytes)
		if err != nil {
			n.t.Fatal(err)
		}
		n.net.Answer(e, n.encode(n.handle(msg)), now)
	}
}

// handle is the receiver: sessions and batches as federation.md has them.
func (n *node) handle(msg any) any {
	switch m := msg.(type) {
	case courier.Open:
		if m.Nx == n.nx && m.Attempt < n.attempt {
			return courier.Refused{Code: courier.SessionVoid}
		}
		if m.Nx != n.nx || m.Attempt > n.attempt {
			binary.BigEndian.PutUint64(n.ny[:], binary.BigEndian.Uint64(n.ny[:])+1)
			n.nx, n.attempt = m.Nx, m.Attempt
		}
		w, err := courier.SignWelcome(key(n.byte), courier.Welcome{
			Nx: n.nx, Ny: n.ny, Held: n.held, From: n.id, To: m.From,
		})
		if err != nil {
			n.t.Fatal(err)
		}
		return w
	case courier.Batch:
		if m.Nx != n.nx || m.Ny != n.ny {
			n.voided++
			return courier.Refused{Code: courier.SessionVoid}
		}
		for _, s := range m.Records {
			n.take(s)
		}
		return courier.Ack{Held: n.held}
	}
	n.t.Fatalf("asked with %T", msg)
	return nil
}

func (n *node) take(s letter.Signed) {
	r, h, err := letter.Open(public(n.peer.byte), s)
	if err != nil {
		n.t.Fatal(err)
	}
	held, err := letter.Follow(n.held, r, h)
	if errors.Is(err, letter.ErrOld) {
		return
	}
	if err != nil {
		n.t.Fatal(err) // an honest sender in its session leaves no gap and never forks
	}
	n.held, n.received = held, append(n.received, string(r.Body))
}

// TestDelivery lets two circles write to each other over a bad network, with crashes and one-way cuts. Every
// record arrives once and in order, and after the faults end all of them arrive soon.
func TestDelivery(t *testing.T) {
	var total, voided, lives int
	for seed := range uint64(200) {
		a, b := deliver(t, seed)
		total += len(a.received) + len(b.received)
		voided += a.voided + b.voided
		lives += int(a.lives + b.lives)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if total < 5_000 || voided < 100 || lives < 1_000 {
		t.Errorf("too little happened: %d records, %d batches of void sessions, %d lives", total,
			voided, lives)
	}
}

func deliver(t *testing.T, seed uint64) (a, b *node) {
	net := memnet.New(seed, memnet.Faults{
		MinDelayMillis: 1, MaxDelayMillis: 80, TimeoutMillis: 300, LossPermille: 150, TwicePermille: 100,
		StragglePermille: 50, StraggleMillis: 2_000,
	})
	a, b = &node{t: t, byte: 1, id: circle(1), net: net}, &node{t: t, byte: 2, id: circle(2), net: net}
	a.peer, b.peer = b, a
	a.start()
	b.start()
	dice := seed
	roll := func(of uint64) bool { // a stream of luck apart from the net's
		dice = dice*6364136223846793005 + 1442695040888963407
		return dice>>33%of == 0
	}
	const faultyMillis, healedMillis = 20_000, 60_000
	var now int64
	for ; now < faultyMillis+healedMillis; now += 10 {
		faulty := now < faultyMillis
		for _, n := range []*node{a, b} {
			switch {
			case faulty && roll(100):
				n.write()
			case faulty && roll(400):
				net.Forget(n.id)
				n.start()
			case faulty && roll(500):
				net.Cut(n.id, n.peer.id)
			case !faulty || roll(100):
				net.Mend(n.id, n.peer.id)
			}
			n.work(now)
		}
		if now == faultyMillis {
			net.SetFaults(memnet.Faults{MaxDelayMillis: 80, TimeoutMillis: 300})
		}
		for _, e := range net.Due(now) {
			if (e.To == a.id) == (e.Kind == memnet.Request) {
				a.event(e, now)
			} else {
				b.event(e, now)
			}
		}
		if !faulty && a.settled() && b.settled() {
			break
		}
	}
	a.checkReceived()
	b.checkReceived()
	if now >= faultyMillis+healedMillis {
		t.Errorf("not settled after %d ms without faults: %+v %+v", healedMillis, a.courier.Status(),
			b.courier.Status())
	}
	return a, b
}

// settled: all that was written is held, and known to be.
func (n *node) settled() bool {
	s := n.courier.Status()[0]
	return n.peer.held == n.tail && s.Connected && s.Held == n.tail.Seq && s.LastError == ""
}

// checkReceived: what came is what was sent, from the first record on, each once.
func (n *node) checkReceived() {
	var want []string
	for i := range n.received {
		want = append(want, fmt.Sprint(i+1))
	}
	if !slices.Equal(n.received, want) {
		n.t.Errorf("received %v", n.received)
	}
}
