package charter

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of a charter.
const (
	// MaxCircles is the most circles a federation may have.
	MaxCircles = 500
	// MaxCharterBytes bounds an encoded Charter.
	MaxCharterBytes = 64 << 10
)

// ErrCharter: a charter that does not count.
var ErrCharter = errors.New("charter not acceptable")

// Status is what a circle is doing in its federation.
type Status uint8

// What circles do.
const (
	Founding Status = 1 // it has come, and gives no support yet
	Giving   Status = 2 // support
	Paused   Status = 3 // for a while it gives none
	Closed   Status = 4 // it has left: nothing passes to it or from it
)

// Statuses are all there are.
var Statuses = []Status{Founding, Giving, Paused, Closed}

// String names a status, as commands and views do.
func (s Status) String() string {
	switch s {
	case Founding:
		return "founding"
	case Giving:
		return "giving"
	case Paused:
		return "paused"
	case Closed:
		return "closed"
	}
	return "none"
}

// ParseStatus is the status of a name; false where there is none.
func ParseStatus(name string) (Status, bool) {
	for _, s := range Statuses {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

// Entry is one circle of a federation. CBOR keys 5 and up are free.
type Entry struct {
	Circle  letter.CircleID `cbor:"1,keyasint" json:"circle"`
	Status  Status          `cbor:"2,keyasint" json:"status"`
	Card    uint64          `cbor:"3,keyasint" json:"card"`    // the number of its newest card
	Changed uint64          `cbor:"4,keyasint" json:"changed"` // the charter in which this entry changed last
}

// Charter lists the circles of a federation, signed by its hub: a circle that is not in it is a stranger. The
// cards it numbers are signed by the circles themselves, so the hub can name them and cannot be them. CBOR
// keys 5 and up are free.
type Charter struct {
	Hub     letter.CircleID `cbor:"1,keyasint" json:"hub"`
	Seq     uint64          `cbor:"2,keyasint" json:"seq"` // from 1; of two charters the higher counts
	At      int64           `cbor:"3,keyasint" json:"at"`  // the hub's ledger time, Unix milliseconds
	Circles []Entry         `cbor:"4,keyasint" json:"circles"`
}

// Entry returns what the charter says of a circle.
func (c Charter) Entry(id letter.CircleID) (Entry, bool) {
	for _, e := range c.Circles {
		if e.Circle == id {
			return e, true
		}
	}
	return Entry{}, false
}

// Sign returns the charter signed with the hub's key.
func (c Charter) Sign(key ed25519.PrivateKey) (letter.Signed, error) {
	if err := c.check(); err != nil {
		return letter.Signed{}, fmt.Errorf("signing a charter: %w", err)
	}
	raw, err := letter.Marshal(c)
	if err != nil {
		return letter.Signed{}, fmt.Errorf("signing a charter: %w", err)
	}
	return letter.Signed{Bytes: raw, Sig: letter.ForCharter.Sign(key, raw)}, nil
}

// Open reads a charter that the hub with this key signed.
func Open(verify letter.Verifier, hub ed25519.PublicKey, s letter.Signed) (Charter, error) {
	c, err := Decode(s.Bytes)
	if err == nil {
		err = verify(letter.ForCharter, hub, s.Bytes, s.Sig)
	}
	if err != nil {
		return Charter{}, fmt.Errorf("opening a charter: %w", err)
	}
	return c, nil
}

// Decode reads a charter without looking who signed it.
func Decode(raw []byte) (Charter, error) {
	var c Charter
	if err := letter.Unmarshal(raw, MaxCharterBytes, &c); err != nil {
		return Charter{}, err
	}
	return c, c.check()
}

func (c Charter) check() error {
	switch {
	case !c.Hub.Valid():
		return fmt.Errorf("hub %.40q: %w", c.Hub, ErrCharter)
	case c.Seq == 0:
		return fmt.Errorf("seq 0, the first charter has 1: %w", ErrCharter)
	case len(c.Circles) > MaxCircles:
		return fmt.Errorf("%d circles, at most %d: %w", len(c.Circles), MaxCircles, ErrCharter)
	}
	for i, e := range c.Circles {
		switch {
		case !e.Circle.Valid() || i > 0 && c.Circles[i-1].Circle >= e.Circle:
			return fmt.Errorf("circle %.40q is none, or out of order: %w", e.Circle, ErrCharter)
		case e.Status < Founding || e.Status > Closed || e.Card == 0 || e.Changed == 0 || e.Changed > c.Seq:
			return fmt.Errorf("what it says of %s: %w", e.Circle, ErrCharter)
		}
	}
	return nil
}
