// Package memnet is a network between circles in memory, for simulations: requests and replies with delay,
// loss, repetition and cut lines, all drawn from one seed. It has no clock and starts nothing; time is what
// the caller says it is, in virtual milliseconds.
package memnet

import (
	"cmp"
	"slices"

	"github.com/carecircle/carecircle/federation/letter"
)

// Faults says how bad the network is. The zero Faults delivers everything once and at once.
type Faults struct {
	MinDelayMillis   int64 // of each way
	MaxDelayMillis   int64 // of each way; messages with different delays overtake each other
	TimeoutMillis    int64 // after which an asker without a reply is told of failure; 0 means 10 s
	LossPermille     int   // of requests, and again of replies
	TwicePermille    int   // of requests that are handled a second time, with a delay of its own
	StragglePermille int   // of requests and replies that take StraggleMillis longer
	StraggleMillis   int64 // longer than the timeout: the request is handled after its asker has given up
}

const defaultTimeoutMillis = 10_000

// EventKind says what an Event is.
type EventKind uint8

// The kinds of events.
const (
	Request EventKind = 1 // at To: handle Bytes, then call Answer with ID
	Reply   EventKind = 2 // at From: the answer to what it asked under ID
	Failure EventKind = 3 // at From: no answer to ID in time; it may or may not have been handled
)

// Event is something that happens to a circle. Every ask ends at the asker in one Reply or one Failure,
// unless the asker is forgotten.
type Event struct {
	Kind     EventKind
	ID       uint64
	From, To letter.CircleID // who asked, and whom
	Bytes    []byte          // of the request or the reply; nil on Failure
}

type pending struct {
	at    int64
	order uint64 // breaks ties, so that equal times come in the order of sending
	event Event
}

type line struct{ from, to letter.CircleID }

// Net is the network. It is for one goroutine at a time.
type Net struct {
	faults Faults
	rng    uint64
	order  uint64
	lastID uint64
	queue  []pending // by at, then order
	open   []Event   // asks that have not ended, by ID; Bytes nil
	cut    []line
}

// New returns a network with all its luck drawn from seed.
func New(seed uint64, faults Faults) *Net {
	if faults.TimeoutMillis == 0 {
		faults.TimeoutMillis = defaultTimeoutMillis
	}
	return &Net{rng: seed, faults: faults}
}

// SetFaults changes the network's quality for what is sent from now on.
func (n *Net) SetFaults(faults Faults) {
	if faults.TimeoutMillis == 0 {
		faults.TimeoutMillis = defaultTimeoutMillis
	}
	n.faults = faults
}

// Cut lets nothing more arrive that travels from one circle to the other; the other way is not touched.
func (n *Net) Cut(from, to letter.CircleID) {
	if l := (line{from, to}); !slices.Contains(n.cut, l) {
		n.cut = append(n.cut, l)
	}
}

// Mend undoes Cut.
func (n *Net) Mend(from, to letter.CircleID) {
	n.cut = slices.DeleteFunc(n.cut, func(l line) bool { return l == line{from, to} })
}

// Forget ends everything the circle has asked, without a reply or failure: the process that asked is gone.
// What it has sent still arrives.
func (n *Net) Forget(asker letter.CircleID) {
	n.open = slices.DeleteFunc(n.open, func(e Event) bool { return e.From == asker })
}

// Ask sends a request and returns its ID. The bytes must not be changed afterwards.
func (n *Net) Ask(from, to letter.CircleID, b []byte, now int64) uint64 {
	n.lastID++
	ask := Event{Kind: Request, ID: n.lastID, From: from, To: to}
	n.open = append(n.open, ask)
	n.push(now+n.faults.TimeoutMillis, Event{Kind: Failure, ID: ask.ID, From: from, To: to})
	ask.Bytes = b
	n.send(ask, now)
	if n.chance(n.faults.TwicePermille) {
		n.send(ask, now)
	}
	return ask.ID
}

// Answer sends the reply to a request. The asker sees only the first reply that arrives in time.
func (n *Net) Answer(request Event, b []byte, now int64) {
	request.Kind, request.Bytes = Reply, b
	n.send(request, now)
}

// Due returns what happens up to now, in order of time. Times must not go backwards.
func (n *Net) Due(now int64) []Event {
	var due []Event
	for len(n.queue) > 0 && n.queue[0].at <= now {
		e := n.queue[0].event
		n.queue = slices.Delete(n.queue, 0, 1)
		if n.arrives(e) {
			due = append(due, e)
		}
	}
	return due
}

// Next returns when the next thing is due; false when nothing is on its way.
func (n *Net) Next() (at int64, ok bool) {
	if len(n.queue) == 0 {
		return 0, false
	}
	return n.queue[0].at, true
}

func (n *Net) arrives(e Event) bool {
	switch e.Kind {
	case Request:
		return !slices.Contains(n.cut, line{e.From, e.To})
	case Reply:
		return !slices.Contains(n.cut, line{e.To, e.From}) && n.end(e.ID)
	default:
		return n.end(e.ID)
	}
}

// end closes an ask; false when it was closed before.
func (n *Net) end(id uint64) bool {
	i, found := slices.BinarySearchFunc(n.open, id, func(e Event, id uint64) int {
		return cmp.Compare(e.ID, id)
	})
	if found {
		n.open = slices.Delete(n.open, i, i+1)
	}
	return found
}

func (n *Net) send(e Event, now int64) {
	if n.chance(n.faults.LossPermille) {
		return
	}
	at := now + n.faults.MinDelayMillis
	if spread := n.faults.MaxDelayMillis - n.faults.MinDelayMillis; spread > 0 {
		at += int64(n.random() % uint64(spread+1))
	}
	if n.chance(n.faults.StragglePermille) {
		at += n.faults.StraggleMillis
	}
	n.push(at, e)
}

func (n *Net) push(at int64, e Event) {
	n.order++
	p := pending{at: at, order: n.order, event: e}
	i, _ := slices.BinarySearchFunc(n.queue, p, func(a, b pending) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order))
	})
	n.queue = slices.Insert(n.queue, i, p)
}

func (n *Net) chance(permille int) bool {
	return permille > 0 && n.random()%1000 < uint64(permille)
}

// random is splitmix64: small, and the same everywhere for the same seed.
func (n *Net) random() uint64 {
	n.rng += 0x9e3779b97f4a7c15
	z := n.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
