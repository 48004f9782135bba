// Package ledger is a double-entry book engine: it moves whole amounts between the accounts of a book so
// that every book always sums to zero, floors and ceilings hold, and every change is an Entry that Audit
// can replay.
//
// It is pure. It keeps nothing itself: all state is behind Store, the time comes in with each call, and
// each call either changes the store wholly or answers with a *Refusal and writes nothing. Amounts are in
// the book's smallest unit (coins in minutes, pounds in pence).
package ledger

import (
	"encoding/hex"
	"fmt"
	"math"
)

// Unlimited is the largest amount, balance and limit; a floor of -Unlimited or a ceiling of Unlimited is as
// good as none. Four of them added together still fit an int64, so no sum in this package can overflow.
const Unlimited int64 = math.MaxInt64 / 4

// The limits of one request. Anything beyond them is refused, never cut.
const (
	MaxGroup       = 256             // transfers in one group
	MaxLegs        = 64              // legs of one transfer
	MaxNameBytes   = 64              // a book's name, an account's kind
	MaxIDBytes     = 128             // an account's id
	MaxReasonBytes = 32              // a transfer's reason
	MaxRefBytes    = 256             // a transfer's reference
	MaxPage        = 1000            // lines of one statement page
	MaxFindings    = 100             // findings of one audit
	MaxTime        = 253402300799999 // unix ms; the last moment of the year 9999
)

// ID names a transfer: 128 bits chosen by the caller, who repeats them to repeat the same request safely.
// Its text form is 32 lower-case hex digits. The zero ID names nothing.
type ID [16]byte

// String is the text form.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero says whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads the text form: 32 lower-case hex digits.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != 2*len(id) {
		return ID{}, fmt.Errorf("ledger: parse id: %d characters; give 32 lower-case hex digits", len(text))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil || id.String() != text {
		return ID{}, fmt.Errorf("ledger: parse id %q: give 32 lower-case hex digits", text)
	}
	return id, nil
}

// MarshalText is the text form, for JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form, as ParseID does.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// State says what an account may do.
type State uint8

// The states of an account. A frozen account takes no post, hold or reversal, but holds made before are
// settled or voided: a promise to somebody else must be completable. A closed account is empty and takes
// nothing.
const (
	StateOpen   State = 1
	StateFrozen State = 2
	StateClosed State = 3
)

// Op is the kind of one entry. The numbers are kept for ever; new ones go at the end.
type Op uint8

// The kinds of entry.
const (
	OpOpen    Op = 1 // an account opened
	OpAmend   Op = 2 // an account's limits or state changed
	OpPost    Op = 3 // an amount moved
	OpHold    Op = 4 // an amount reserved on both sides
	OpSettle  Op = 5 // a hold carried out, wholly or in part; the rest released
	OpVoid    Op = 6 // a hold released
	OpReverse Op = 7 // a post or settle undone by its exact opposite
)

// Status says where a transfer stands.
type Status uint8

// The states of a transfer. A post, settle or reverse is Posted; a post or settle that was undone is
// Reversed; a hold is Held, then Settled or Voided; a void is itself Voided.
const (
	StatusPosted   Status = 1
	StatusHeld     Status = 2
	StatusSettled  Status = 3
	StatusVoided   Status = 4
	StatusReversed Status = 5
)

var (
	stateNames  = []string{"", "open", "frozen", "closed"}
	opNames     = []string{"", "open", "amend", "post", "hold", "settle", "void", "reverse"}
	statusNames = []string{"", "posted", "held", "settled", "voided", "reversed"}
)

// String is the state's word, as in "frozen".
func (s State) String() string { return word(stateNames, uint8(s)) }

// MarshalText is the state's word, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the state's word.
func (s *State) UnmarshalText(text []byte) error {
	n, err := fromWord(stateNames, "state", text)
	*s = State(n)
	return err
}

// String is the kind's word, as in "settle".
func (o Op) String() string { return word(opNames, uint8(o)) }

// MarshalText is the kind's word, for JSON.
func (o Op) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the kind's word.
func (o *Op) UnmarshalText(text []byte) error {
	n, err := fromWord(opNames, "op", text)
	*o = Op(n)
	return err
}

// String is the status's word, as in "held".
func (s Status) String() string { return word(statusNames, uint8(s)) }

// MarshalText is the status's word, for JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the status's word.
func (s *Status) UnmarshalText(text []byte) error {
	n, err := fromWord(statusNames, "status", text)
	*s = Status(n)
	return err
}

func word(names []string, n uint8) string {
	if n == 0 || int(n) >= len(names) {
		return fmt.Sprintf("unknown(%d)", n)
	}
	return names[n]
}

func fromWord(names []string, what string, text []byte) (uint8, error) {
	for n, name := range names {
		if n > 0 && name == string(text) {
			return uint8(n), nil
		}
	}
	return 0, fmt.Errorf("ledger: parse %s: %.40q is not one of %q", what, text, names[1:])
}
