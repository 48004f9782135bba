package netting

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

const (
	maxMinutes       = 1 << 40
	secondMillis     = 1000
	maxGatherSeconds = 24 * 60 * 60
	maxAnswerSeconds = 90 * 24 * 60 * 60
)

// Consent says when the circle takes part in rounds.
type Consent struct {
	When string `cbor:"1,keyasint" json:"when" doc:"ask (its people decide each time), always or never"`
}

// Answer is the circle's answer to a round.
type Answer struct {
	Number uint64 `cbor:"1,keyasint" json:"number"`
	Yes    bool   `cbor:"2,keyasint" json:"yes"`
}

// Proposed is what the hub puts to the circle.
type Proposed struct {
	Paper letter.Signed `cbor:"1,keyasint" json:"paper"`
}

// Decided is the outcome of a round.
type Decided struct {
	Paper   letter.Signed `cbor:"1,keyasint" json:"paper"`
	Outcome letter.Signed `cbor:"2,keyasint" json:"outcome"`
}

// Open begins a round.
type Open struct {
	GatherSeconds int64 `cbor:"1,keyasint" json:"gatherSeconds" doc:"how long to wait for positions"`
	AnswerSeconds int64 `cbor:"2,keyasint" json:"answerSeconds" doc:"how long to wait for answers"`
}

// Position is how a circle stands with another.
type Position struct {
	Circle  string `cbor:"1,keyasint" json:"circle"`
	Minutes int64  `cbor:"2,keyasint" json:"minutes"` // that it owes; less than 0: is owed
}

// Say is what a circle has to say to a round: how it stands, or what it answers, or what it knows of one that
// the hub has forgotten. Saying nothing says that it knows no outcome.
type Say struct {
	Number    uint64           `cbor:"1,keyasint" json:"number"`
	Stated    bool             `cbor:"2,keyasint" json:"stated"`
	Positions []Position       `cbor:"3,keyasint" json:"positions"`
	No        bool             `cbor:"4,keyasint" json:"no"`
	Consent   clearing.Consent `cbor:"5,keyasint" json:"consent"` // empty: none
	Paper     letter.Signed    `cbor:"6,keyasint" json:"paper"`
	Outcome   letter.Signed    `cbor:"7,keyasint" json:"outcome"`
}

// Step takes rounds on.
type Step struct{}

// Check implements machine.Checker.
func (c Consent) Check() error {
	if c.When != WhenAsked && c.When != WhenAlways && c.When != WhenNever {
		return machine.Refuse("malformed", "Choose one of ask, always and never.")
	}
	return nil
}

// Check implements machine.Checker.
func (o Open) Check() error {
	if o.GatherSeconds < 1 || o.GatherSeconds > maxGatherSeconds || o.AnswerSeconds < 1 ||
		o.AnswerSeconds > maxAnswerSeconds {
		return machine.Refuse("malformed", "Positions are gathered for a second to a day, and answers waited"+
			" for a second to 90 days.")
	}
	return nil
}

// Check implements machine.Checker.
func (s Say) Check() error {
	if len(s.Positions) > courier.MaxPositions {
		return machine.Refuse("malformed", "A circle states its position with at most %d others.",
			courier.MaxPositions)
	}
	for i, p := range s.Positions {
		inOrder := i == 0 || s.Positions[i-1].Circle < p.Circle
		if !inOrder || max(p.Minutes, -p.Minutes) > maxMinutes || p.Minutes == 0 {
			return machine.Refuse("malformed", "These positions are out of order or bounds.")
		}
		if err := exchange.CheckCircle(p.Circle); err != nil {
			return err
		}
	}
	return nil
}
