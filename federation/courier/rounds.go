package courier

import (
	"fmt"
	"slices"

	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/letter"
)

// What setting off between circles takes: a circle asks its hub for the next round, and says what it has to.

// MaxPositions is the most circles that one states its position with.
const MaxPositions = 1000

// MaxKnownRounds is how many of the newest rounds a circle and its hub compare.
const MaxKnownRounds = 64

// RoundAsk asks the hub what is next. CBOR keys 5 and up are free.
type RoundAsk struct {
	From    letter.CircleID `cbor:"1,keyasint"`
	To      letter.CircleID `cbor:"2,keyasint"`
	Known   []uint64        `cbor:"3,keyasint"` // the newest rounds that were cleared, oldest first
	Current uint64          `cbor:"4,keyasint"` // the one without an outcome that the circle knows; 0: none
}

// RoundNews answers a RoundAsk. CBOR keys 6 and up are free.
type RoundNews struct {
	Number  uint64        `cbor:"1,keyasint"` // 0: nothing
	Stage   uint8         `cbor:"2,keyasint"` // a netting.Stage
	Wanted  bool          `cbor:"3,keyasint"` // a RoundSay, whatever it says
	Paper   letter.Signed `cbor:"4,keyasint"` // a clearing.Paper
	Outcome letter.Signed `cbor:"5,keyasint"` // a clearing.Outcome
}

// RoundSay is what a circle has to say to a round; Told answers it. CBOR keys 10 and up are free.
type RoundSay struct {
	From      letter.CircleID  `cbor:"1,keyasint"`
	To        letter.CircleID  `cbor:"2,keyasint"`
	Number    uint64           `cbor:"3,keyasint"`
	Stated    bool             `cbor:"4,keyasint"`
	Positions []RoundPosition  `cbor:"5,keyasint"`
	No        bool             `cbor:"6,keyasint"`
	Consent   clearing.Consent `cbor:"7,keyasint"`
	Paper     letter.Signed    `cbor:"8,keyasint"`
	Outcome   letter.Signed    `cbor:"9,keyasint"`
}

// RoundPosition is how a circle stands with another.
type RoundPosition struct {
	Circle  letter.CircleID `cbor:"1,keyasint"`
	Minutes int64           `cbor:"2,keyasint"` // that it owes; less than 0: is owed
}

func checkRounds(msg any) (uint8, error) {
	switch m := msg.(type) {
	case RoundAsk:
		if len(m.Known) > MaxKnownRounds || !slices.IsSorted(m.Known) {
			return 0, fmt.Errorf("%d known rounds, at most %d in order: %w", len(m.Known), MaxKnownRounds,
				ErrMessage)
		}
		return kindRoundAsk, checkPair(m.From, m.To)
	case RoundNews:
		return kindRoundNews, nil
	case RoundSay:
		if len(m.Positions) > MaxPositions {
			return 0, fmt.Errorf("%d positions, at most %d: %w", len(m.Positions), MaxPositions, ErrMessage)
		}
		for _, p := range m.Positions {
			if !p.Circle.Valid() {
				return 0, fmt.Errorf("a position with %.40q: %w", p.Circle, ErrMessage)
			}
		}
		return kindRoundSay, checkPair(m.From, m.To)
	}
	return 0, fmt.Errorf("%T is no message: %w", msg, ErrMessage)
}
