// Package joining is the feature by which circles are a federation: the hub invites a circle, the circle asks
// to be taken in, and from then on the hub's charter lists it. Every circle keeps the newest charter it has
// seen and the cards of the circles in it, so that all know each other without handing cards about, and go on
// when the hub is away.
//
//	circle: asking -> in, or refused
//	hub:    founding -> giving <-> paused; closed from anywhere, and back
//
// The hub can name circles and cannot be them: a card counts with its own circle's signature.
package joining

import (
	"slices"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

// seqsOfEpoch is how many bits of a charter's number count within one epoch of the hub.
const seqsOfEpoch = 32

// invitation is the hub's, by the hash of its secret. CBOR keys 6 and up are free.
type invitation struct {
	For      string `cbor:"1,keyasint"` // whom it is for, in the hub's words
	Decision string `cbor:"2,keyasint"`
	Until    int64  `cbor:"3,keyasint"`
	Circle   string `cbor:"4,keyasint"` // who has used it
	At       int64  `cbor:"5,keyasint"`
}

// entry is a circle of the federation, at the hub. Keys below 12 are those of charter.Entry; 14 and up are
// free.
type entry struct {
	charter.Entry
	Since    int64  `cbor:"12,keyasint"`
	Decision string `cbor:"13,keyasint"`
}

// issue is how far the hub's charter has got: it counts all changes.
type issue struct {
	Count uint64 `cbor:"1,keyasint"`
	At    int64  `cbor:"2,keyasint"`
}

// asked is what the circle asks of a hub.
type asked struct {
	Hub    letter.CircleID `cbor:"1,keyasint"`
	Secret []byte          `cbor:"2,keyasint"` // empty: it has been answered
	At     int64           `cbor:"3,keyasint"`
	Why    string          `cbor:"4,keyasint"` // it was refused
}

var (
	invitations = machine.NewTable[invitation]("joining", "invitation")
	entries     = machine.NewTable[entry]("joining", "circle")
	issues      = machine.NewTable[issue]("joining", "issue")
	ownCards    = machine.NewTable[[]byte]("joining", "own-card") // the hub's
	asks        = machine.NewTable[asked]("joining", "asked")
	charters    = machine.NewTable[letter.Signed]("joining", "charter")   // the newest seen
	forgotten   = machine.NewTable[letter.Signed]("joining", "forgotten") // see ShowFor
	through     = machine.NewTable[uint64]("joining", "cards-through")    // see courier.CharterAsk
)

var only = machine.Key{} // of tables with one row

type feature struct{ exchange.Options }

// Feature returns the feature's rules and views.
func Feature(o exchange.Options) machine.Feature {
	f := feature{o.Filled()}
	node := machine.Only(machine.ActorNode)
	return machine.Feature{Name: "joining", Views: views(), Rules: []machine.Rule{
		machine.Do("joining.invite", "Invite a circle to the federation, as its hub.",
			member.Secretary, invite),
		machine.Do("joining.set", "Say what a circle of the federation is doing, as its hub.",
			member.Secretary, set),
		machine.Do("joining.join", "Ask a hub to take this circle into its federation.",
			member.Secretary, join),
		machine.Do("joining.ask", "Take a circle in that was invited.", machine.PeerOnly, ask),
		machine.Do("joining.answered", "Take the hub's answer.", node, answered),
		machine.Do("joining.card", "Take a circle's newer card.",
			machine.AnyOf(machine.PeerOnly, node), renew),
		machine.Do("joining.show", "Take back what this hub has forgotten, by an older charter of its own.",
			machine.PeerOnly, f.show),
		machine.Do("joining.take", "Take the newest charter, and the cards of circles in it.",
			machine.PeerOnly, f.take),
	}}
}

// seq is the number of the hub's newest charter; 0: there is none.
func seq(r machine.Reader) uint64 {
	last, ok := issues.Get(r, only)
	if !ok {
		return 0
	}
	return timeline.Newest(r).Epoch<<seqsOfEpoch + last.Count
}

// change puts an entry in the next charter.
func change(tx *machine.Tx, e entry) {
	last, _ := issues.Get(tx, only)
	issues.Put(tx, only, issue{Count: last.Count + 1, At: tx.Now()})
	e.Changed = seq(tx)
	entries.Put(tx, machine.Key{}.Str(string(e.Circle)), e)
}

// Newest is the charter of this circle as a hub; false where there is none.
func Newest(r machine.Reader) (charter.Charter, bool) {
	last, ok := issues.Get(r, only)
	us, _ := member.TheCircle(r)
	c := charter.Charter{Hub: letter.CircleID(us.ID), Seq: seq(r), At: last.At}
	for _, e := range entries.All(r, nil, nil) {
		c.Circles = append(c.Circles, e.Entry)
	}
	return c, ok
}

// held is the newest charter that this circle has seen; of a hub its own.
func held(r machine.Reader) (charter.Charter, bool) {
	if c, ok := Newest(r); ok {
		return c, true
	}
	s, ok := charters.Get(r, only)
	if !ok {
		return charter.Charter{}, false
	}
	c, err := charter.Decode(s.Bytes) // it was opened when it came
	return c, err == nil
}

// Closed returns the circles of the federation that have left it: nothing passes to them or from them.
func Closed(r machine.Reader) []letter.CircleID {
	c, _ := held(r)
	var out []letter.CircleID
	for _, e := range c.Circles {
		if e.Status == charter.Closed {
			out = append(out, e.Circle)
		}
	}
	return out
}

// Inviting tells whether there is an invitation of this circle, as a hub, whose time is not over: then
// strangers may ask to join. Be it used already: whoever asks with it again is told so.
func Inviting(r machine.Reader, now int64) bool {
	for _, i := range invitations.All(r, nil, nil) {
		if now < i.Until {
			return true
		}
	}
	return false
}

// byChange returns the entries that changed after a charter, in the order in which they did.
func byChange(c charter.Charter, after uint64) []charter.Entry {
	var out []charter.Entry
	for _, e := range c.Circles {
		if e.Changed > after {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b charter.Entry) int {
		if a.Changed < b.Changed {
			return -1
		}
		return 1
	})
	return out
}
