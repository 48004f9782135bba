package joining

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

const (
	maxInvitations  = 100
	maxDays         = 90
	dayMillis       = 24 * 60 * 60 * 1000
	maxWordsBytes   = 128
	maxRefusalBytes = courier.MaxRefusalBytes
)

// Invite readies an invitation for one circle.
type Invite struct {
	Secret   machine.Hash `cbor:"1,keyasint" json:"secret" doc:"SHA-256 of the invitation's secret"`
	For      string       `cbor:"2,keyasint" json:"for" doc:"which circle it is for"`
	Days     uint32       `cbor:"3,keyasint" json:"days" doc:"how long it holds, at most 90"`
	Decision string       `cbor:"4,keyasint,omitempty" json:"decision,omitempty" doc:"such as CC-7"`
}

// Set says what a circle of the federation is doing.
type Set struct {
	Circle   string `cbor:"1,keyasint" json:"circle" doc:"the circle's id"`
	Status   string `cbor:"2,keyasint" json:"status" doc:"founding, giving, paused or closed"`
	Decision string `cbor:"3,keyasint,omitempty" json:"decision,omitempty" doc:"such as CC-8"`
}

// Join asks a hub to take this circle in, by the hub's invitation.
type Join struct {
	Card   []byte `cbor:"1,keyasint" json:"card" doc:"the hub's signed card, base64"`
	Secret []byte `cbor:"2,keyasint" json:"secret" doc:"the invitation's secret, base64"`
}

// Ask is a Join at the hub.
type Ask struct {
	Card   []byte `cbor:"1,keyasint" json:"card"`
	Secret []byte `cbor:"2,keyasint" json:"secret"`
}

// Answered is the hub's answer: a refusal in words, or none.
type Answered struct {
	Why string `cbor:"1,keyasint" json:"why"`
}

// Card is a circle's newer card.
type Card struct {
	Card []byte `cbor:"1,keyasint" json:"card"`
}

// Take is a charter, and cards of circles in it.
type Take struct {
	Charter letter.Signed `cbor:"1,keyasint" json:"charter"`
	Cards   [][]byte      `cbor:"2,keyasint" json:"cards"`
	Through uint64        `cbor:"3,keyasint" json:"through"` // see courier.CharterNews
}

// Show is an earlier charter of the hub's own, and cards of circles that it has forgotten.
type Show struct {
	Charter letter.Signed `cbor:"1,keyasint" json:"charter"`
	Cards   [][]byte      `cbor:"2,keyasint" json:"cards"`
}

// Check implements machine.Checker.
func (i Invite) Check() error {
	switch {
	case i.Secret == (machine.Hash{}):
		return machine.Refuse("link_missing", "An invitation needs a secret.")
	case i.Days < 1 || i.Days > maxDays:
		return machine.Refuse("bad_time", "An invitation holds for 1 to %d days.", maxDays)
	case i.For == "":
		return machine.Refuse("bad_text", "Say which circle the invitation is for.")
	}
	return checkWords(i.For, i.Decision)
}

// Check implements machine.Checker.
func (s Set) Check() error {
	if _, ok := charter.ParseStatus(s.Status); !ok {
		return machine.Refuse("bad_status", "A circle is founding, giving, paused or closed.")
	}
	return checkWords(s.Decision)
}

// Check implements machine.Checker.
func (j Join) Check() error {
	if _, err := charter.OpenCard(j.Card); err != nil || len(j.Secret) != charter.SecretBytes {
		return machine.Refuse("bad_invitation",
			"This is not an invitation, or it was changed on the way. Ask the hub for it again.")
	}
	return nil
}

// Check implements machine.Checker.
func (a Ask) Check() error { return Join(a).Check() }

// Check implements machine.Checker.
func (a Answered) Check() error {
	if !letter.Readable(a.Why, maxRefusalBytes) {
		return machine.Refuse("bad_text", "Say why in at most %d letters.", maxRefusalBytes)
	}
	return nil
}

// Check implements machine.Checker.
func (c Card) Check() error { return checkCard(c.Card) }

// Check implements machine.Checker.
func (t Take) Check() error { return checkCharter(t.Charter, t.Cards) }

// Check implements machine.Checker.
func (s Show) Check() error { return checkCharter(s.Charter, s.Cards) }

func checkCharter(c letter.Signed, cards [][]byte) error {
	if len(cards) > courier.MaxCircleCards || len(c.Bytes) > charter.MaxCharterBytes {
		return machine.Refuse("malformed", "A charter comes with at most %d cards.", courier.MaxCircleCards)
	}
	for _, raw := range cards {
		if err := checkCard(raw); err != nil {
			return err
		}
	}
	return nil
}

func checkCard(raw []byte) error {
	if _, err := charter.OpenCard(raw); err != nil {
		return machine.Refuse("bad_card", "This is not a circle's card: %v.", err)
	}
	return nil
}

func checkWords(words ...string) error {
	for _, w := range words {
		if !letter.Readable(w, maxWordsBytes) {
			return machine.Refuse("bad_text", "Say it in at most %d letters.", maxWordsBytes)
		}
	}
	return nil
}
