package memnet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/memnet"
)

const north, south letter.CircleID = "north", "south"

// run asks n times, a millisecond apart, answers whatever arrives, and returns one line per event.
func run(net *memnet.Net, n int) []string {
	var trace []string
	for now := int64(0); ; now++ {
		if now < int64(n) {
			net.Ask(north, south, fmt.Appendf(nil, "q%d", now), now)
		}
		if _, more := net.Next(); !more {
			return trace
		}
		for _, e := range net.Due(now) {
			trace = append(trace, fmt.Sprintf("%d %d %d %s", now, e.Kind, e.ID, e.Bytes))
			if e.Kind == memnet.Request {
				net.Answer(e, append([]byte("a"), e.Bytes[1:]...), now)
			}
		}
	}
}

// count returns how many events of a kind each ask had.
func count(trace []string, n int, kind memnet.EventKind) []int {
	counts := make([]int, n)
	for _, line := range trace {
		var at, k, id int
		if _, err := fmt.Sscan(strings.Join(strings.Fields(line)[:3], " "), &at, &k, &id); err != nil {
			panic(err)
		}
		if k == int(kind) {
			counts[id-1]++
		}
	}
	return counts
}

func total(counts []int) (sum int) {
	for _, c := range counts {
		sum += c
	}
	return sum
}

func TestPerfect(t *testing.T) {
	trace := run(memnet.New(1, memnet.Faults{}), 3)
	want := []string{"0 1 1 q0", "1 2 1 a0", "1 1 2 q1", "2 2 2 a1", "2 1 3 q2", "3 2 3 a2"}
	if !slices.Equal(trace, want) {
		t.Errorf("got  %q\nwant %q", trace, want)
	}
}

func TestEqualTimesKeepTheirOrder(t *testing.T) {
	net := memnet.New(1, memnet.Faults{})
	for range 20 {
		net.Ask(north, south, nil, 0)
	}
	for i, e := range net.Due(0) {
		if e.ID != uint64(i+1) {
			t.Fatalf("ask %d came in place %d", e.ID, i+1)
		}
	}
}

func TestSeedDecides(t *testing.T) {
	faults := memnet.Faults{
		MinDelayMillis: 1, MaxDelayMillis: 50, TimeoutMillis: 100, LossPermille: 100, TwicePermille: 100,
		StragglePermille: 100, StraggleMillis: 200,
	}
	once, again := run(memnet.New(7, faults), 200), run(memnet.New(7, faults), 200)
	if !slices.Equal(once, again) {
		t.Error("the same seed gives another history")
	}
	if slices.Equal(once, run(memnet.New(8, faults), 200)) {
		t.Error("another seed gives the same history")
	}
}

// TestFaults checks that each fault happens about as often as asked for, and that every ask ends once.
func TestFaults(t *testing.T) {
	const n = 4000
	for _, c := range []struct {
		name                        string
		faults                      memnet.Faults
		requests, replies, failures int // expected, within a tenth of n
	}{
		{"perfect", memnet.Faults{}, n, n, 0},
		{"loss", memnet.Faults{LossPermille: 250}, n * 3 / 4, n * 9 / 16, n * 7 / 16},
		{"all lost", memnet.Faults{LossPermille: 1000}, 0, 0, n},
		{"twice", memnet.Faults{TwicePermille: 500}, n * 3 / 2, n, 0},
		{"straggle", memnet.Faults{StragglePermille: 500, StraggleMillis: 200}, n, n / 4, n * 3 / 4},
		{"too slow", memnet.Faults{MinDelayMillis: 200}, n, 0, n},
	} {
		c.faults.TimeoutMillis = 100
		trace := run(memnet.New(3, c.faults), n)
		replies, failures := count(trace, n, memnet.Reply), count(trace, n, memnet.Failure)
		for i := range n {
			if replies[i]+failures[i] != 1 {
				t.Fatalf("%s: ask %d had %d replies and %d failures", c.name, i+1, replies[i], failures[i])
			}
		}
		requests := total(count(trace, n, memnet.Request))
		near := func(got, want int) bool { return got-want <= n/10 && want-got <= n/10 }
		replied, failed := total(replies), total(failures)
		if !near(requests, c.requests) || !near(replied, c.replies) || !near(failed, c.failures) {
			t.Errorf("%s: %d requests, %d replies, %d failures, want about %d, %d, %d", c.name,
				requests, replied, failed, c.requests, c.replies, c.failures)
		}
	}
}

func TestDelayAndOrder(t *testing.T) {
	trace := run(memnet.New(5, memnet.Faults{MinDelayMillis: 10, MaxDelayMillis: 40}), 300)
	var last, swaps int
	earliest, latest := 1000, 0
	for _, line := range trace {
		var at, kind, id int
		var text string
		if _, err := fmt.Sscan(line, &at, &kind, &id, &text); err != nil {
			t.Fatal(err)
		}
		if kind != int(memnet.Request) {
			continue
		}
		delay := at - (id - 1)
		earliest, latest = min(earliest, delay), max(latest, delay)
		if id < last {
			swaps++
		}
		last = id
	}
	if earliest != 10 || latest != 40 || swaps < 50 {
		t.Errorf("delays from %d to %d, %d out of order", earliest, latest, swaps)
	}
}

func TestCutIsOneWay(t *testing.T) {
	net := memnet.New(1, memnet.Faults{TimeoutMillis: 50})
	net.Cut(south, north)
	net.Cut(south, north)
	trace := run(net, 10)
	if got := total(count(trace, 10, memnet.Request)); got != 10 {
		t.Errorf("%d requests came the way that is open", got)
	}
	if got := total(count(trace, 10, memnet.Failure)); got != 10 {
		t.Errorf("%d failures with replies cut off", got)
	}
	net.Mend(south, north)
	net.Cut(north, south)
	net.Ask(north, south, nil, 1000)
	net.Ask(south, north, nil, 1000)
	if due := net.Due(1000); len(due) != 1 || due[0].To != north {
		t.Errorf("due with the other way cut: %+v", due)
	}
}

func TestForget(t *testing.T) {
	net := memnet.New(1, memnet.Faults{MinDelayMillis: 5, MaxDelayMillis: 5, TimeoutMillis: 20})
	net.Ask(north, south, []byte("old"), 0)
	net.Ask(south, north, []byte("other"), 0)
	net.Forget(north)
	due := net.Due(5)
	if len(due) != 2 {
		t.Fatalf("what was sent did not arrive: %+v", due)
	}
	for _, e := range due {
		net.Answer(e, nil, 5)
	}
	if due := net.Due(100); len(due) != 1 || due[0].From != south || due[0].Kind != memnet.Reply {
		t.Errorf("after the asker was forgotten: %+v", due)
	}
}

func TestSetFaults(t *testing.T) {
	net := memnet.New(1, memnet.Faults{LossPermille: 1000})
	net.SetFaults(memnet.Faults{})
	net.Ask(north, south, nil, 0)
	if due := net.Due(0); len(due) != 1 {
		t.Errorf("after the faults ended: %+v", due)
	}
	at, _ := net.Next()
	if at != 10_000 {
		t.Errorf("the timeout nobody chose is at %d", at)
	}
}
