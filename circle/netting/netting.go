// Package netting is the feature by which circles set off what they owe each other in round loops: A owes B,
// B owes C, C owes A. The hub gathers how each circle stands with the others, finds what sets off the most
// (federation/clearing), and puts it to all in it. Whoever agrees puts it aside; when all have, it is set off
// at all of them, else at none. No circle's position changes by it, and no person's coins.
//
//	hub:    gathering -> proposed -> cleared or dropped (and then again without those who declined)
//	circle: waiting -> agreed -> cleared or dropped; or declined
//
// The hub's outcome counts with the consents of all circles in it, so it alone moves nothing. Circles ask the
// hub what is next, and say which rounds were cleared as far as they know: so whoever was put back to an
// older copy, a circle or the hub, hears from the other what it has forgotten. A hub that was put back
// decides on what it had put to circles only when all of them have said what they know of it.
package netting

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// Stage is how far a round is.
type Stage uint8

// The stages at a circle.
const (
	StageWaiting  Stage = 1 // for people to decide
	StageAgreed   Stage = 2 // and put aside
	StageDeclined Stage = 3
)

// The stages at the hub.
const (
	StageGathering Stage = 11
	StageProposed  Stage = 12
	StageNothing   Stage = 13 // there was nothing to set off
)

// The outcomes, at both; and at a circle what the hub does not know any more.
const (
	StageCleared Stage = 21
	StageDropped Stage = 22
	StageUnknown Stage = 23
)

// String names a stage, as in what views answer.
func (s Stage) String() string {
	switch s {
	case StageWaiting:
		return "waiting"
	case StageAgreed:
		return "agreed"
	case StageDeclined:
		return "declined"
	case StageGathering:
		return "gathering"
	case StageProposed:
		return "proposed"
	case StageNothing:
		return "nothing"
	case StageCleared:
		return "cleared"
	case StageDropped:
		return "dropped"
	case StageUnknown:
		return "unknown"
	}
	return "none"
}

// over tells whether there is an outcome, or never will be.
func (s Stage) over() bool { return s == StageCleared || s == StageDropped || s == StageNothing }

// round is a round at a circle in it. CBOR keys 11 and up are free.
type round struct {
	Number  uint64             `cbor:"1,keyasint"`
	Stage   Stage              `cbor:"2,keyasint"`
	Paper   letter.Signed      `cbor:"3,keyasint"`
	Hash    clearing.PaperHash `cbor:"4,keyasint"`
	Until   int64              `cbor:"5,keyasint"`
	At      int64              `cbor:"6,keyasint"` // of the stage
	Why     string             `cbor:"7,keyasint,omitempty"`
	Aside   []leg              `cbor:"8,keyasint,omitempty"` // what is put aside
	Outcome letter.Signed      `cbor:"9,keyasint"`
	Hub     string             `cbor:"10,keyasint"` // whose round it is
}

// leg moves minutes from one circle's account to another's.
type leg struct {
	Hold    machine.ID `cbor:"1,keyasint"`
	From    string     `cbor:"2,keyasint"`
	To      string     `cbor:"3,keyasint"`
	Minutes int64      `cbor:"4,keyasint"`
}

// call is a round at the hub. CBOR keys 12 and up are free.
type call struct {
	Number  uint64             `cbor:"1,keyasint"`
	Stage   Stage              `cbor:"2,keyasint"`
	Epoch   uint64             `cbor:"3,keyasint"` // the hub's, when it was begun
	Gather  int64              `cbor:"4,keyasint"` // until when positions are gathered, Unix milliseconds
	Patient int64              `cbor:"5,keyasint"` // how long answers are waited for, milliseconds
	Left    []string           `cbor:"6,keyasint"` // circles left out: they declined or were away before
	Paper   []byte             `cbor:"7,keyasint"`
	Hash    clearing.PaperHash `cbor:"8,keyasint"`
	At      int64              `cbor:"9,keyasint"` // of the stage
	Outcome []byte             `cbor:"10,keyasint"`
	Circles []string           `cbor:"11,keyasint"` // that it changes something for
}

// answer is what a circle says to a proposal.
type answer uint8

const (
	yes answer = 1
	no  answer = 2
)

// word is what the hub heard of a circle in a round. CBOR keys 6 and up are free.
type word struct {
	Stated    bool             `cbor:"1,keyasint"`
	Positions []Position       `cbor:"2,keyasint"`
	Answer    answer           `cbor:"3,keyasint"`
	Consent   clearing.Consent `cbor:"4,keyasint"`
	Epoch     uint64           `cbor:"5,keyasint"` // the hub's, when it said what it knows of the proposal
}

// setting is whether a circle takes part.
type setting struct {
	When string `cbor:"1,keyasint"`
}

// When a circle agrees to rounds.
const (
	WhenAsked  = "ask" // its people decide each time
	WhenAlways = "always"
	WhenNever  = "never"
)

var (
	settings = machine.NewTable[setting]("netting", "consent")
	rounds   = machine.NewTable[round]("netting", "round")    // number
	currents = machine.NewTable[uint64]("netting", "current") // of the round that has no outcome here yet
	cleared  = machine.NewTable[bool]("netting", "cleared")   // hub, number: rounds that were cleared here
	calls    = machine.NewTable[call]("netting", "call")      // number
	opens    = machine.NewTable[bool]("netting", "open")      // number: of calls without an outcome
	toTell   = machine.NewTable[bool]("netting", "to-tell")   // circle, number: calls that were cleared
	words    = machine.NewTable[word]("netting", "word")      // number, circle
	setOffs  = machine.NewTable[int64]("netting", "total")    // circle: minutes set off, up what we owe it
)

var node = machine.Only(machine.ActorNode)

func roundKey(number uint64) machine.Key { return machine.Key{}.Num(number) }

type feature struct{ exchange.Options }

// Feature returns the feature's rules and views.
func Feature(o exchange.Options) machine.Feature {
	f := feature{o.Filled()}
	return machine.Feature{Name: "netting", Rules: []machine.Rule{
		machine.Do("netting.consent", "Say whether your circle takes part in setting off between circles.",
			member.Secretary, consent),
		machine.Do("netting.answer", "Agree to a round of setting off, or decline it.", member.Secretary,
			answered),
		machine.Do("netting.proposed", "Take what the hub proposes to set off.", machine.PeerOnly,
			f.proposed),
		machine.Do("netting.decided", "Take the outcome of a round from the hub.", machine.PeerOnly,
			f.decided),
		machine.Do("netting.open", "Begin a round of setting off between circles, as their hub.",
			member.Secretary, open),
		machine.Do("netting.say", "Hear what a circle has to say to a round.", machine.PeerOnly, f.say),
		machine.Do("netting.step", "Take rounds on as far as they go.", node, step),
	}, Views: views()}
}

// WhenOf tells when the circle agrees to rounds.
func WhenOf(r machine.Reader) string {
	if s, ok := settings.Get(r, machine.Key{}); ok {
		return s.When
	}
	return WhenAsked
}

// SetOff is how many minutes were set off with another circle, up what this one owes it.
func SetOff(r machine.Reader, circle string) int64 {
	n, _ := setOffs.Get(r, machine.Key{}.Str(circle))
	return n
}

// Positions is how this circle stands with each of the others; none where it takes no part.
func Positions(r machine.Reader) []Position {
	var out []Position
	if WhenOf(r) == WhenNever {
		return nil
	}
	for _, p := range exchange.Peers(r) {
		a, ok := coin.ReadBooks(r).Account(coin.Book, coin.CirclePrefix+string(p.Circle))
		if ok && a.Posted != 0 && !p.Frozen && len(out) < courier.MaxPositions {
			out = append(out, Position{Circle: string(p.Circle), Minutes: a.Posted})
		}
	}
	return out
}
