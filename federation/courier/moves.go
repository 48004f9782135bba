package courier

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// What moving from one circle to another takes; each is answered by Told, as often as it is sent. ID names
// the move, 32 hex digits of the home's.

// MoveAsk asks whether somebody may move to the circle. CBOR keys 6 and up are free.
type MoveAsk struct {
	From  letter.CircleID `cbor:"1,keyasint"`
	To    letter.CircleID `cbor:"2,keyasint"`
	ID    string          `cbor:"3,keyasint"`
	Name  string          `cbor:"4,keyasint"`
	Words string          `cbor:"5,keyasint"`
}

// MoveAnswer answers it. CBOR keys 7 and up are free.
type MoveAnswer struct {
	From   letter.CircleID `cbor:"1,keyasint"`
	To     letter.CircleID `cbor:"2,keyasint"`
	ID     string          `cbor:"3,keyasint"`
	Yes    bool            `cbor:"4,keyasint"`
	Code   string          `cbor:"5,keyasint"` // for receiving their coins
	Origin string          `cbor:"6,keyasint"` // of the circle's pages
}

// MovePacket says that the person has left. CBOR keys 7 and up are free.
type MovePacket struct {
	From letter.CircleID `cbor:"1,keyasint"`
	To   letter.CircleID `cbor:"2,keyasint"`
	ID   string          `cbor:"3,keyasint"`
	Link []byte          `cbor:"4,keyasint"` // SHA-256 of the secret that they enter by
	// Who left, by their id at home, and the home's signature that they did: see Leaving.
	Person string `cbor:"5,keyasint,omitempty"`
	Proof  []byte `cbor:"6,keyasint,omitempty"`
}

// MoveArrived says that the person is at home in the circle that says so. CBOR keys 8 and up are free.
type MoveArrived struct {
	From   letter.CircleID `cbor:"1,keyasint"`
	To     letter.CircleID `cbor:"2,keyasint"`
	ID     string          `cbor:"3,keyasint"`
	Code   string          `cbor:"4,keyasint"` // for receiving their coins
	Origin string          `cbor:"5,keyasint"` // of the circle's pages
	// As the packet had it, for a home that was put back to before they asked to move.
	Person string `cbor:"6,keyasint,omitempty"`
	Proof  []byte `cbor:"7,keyasint,omitempty"`
}

// Leaving is what a home signs of somebody who has left it, so that it believes it later if it has forgotten:
// no other circle can have one of its people leave.
type Leaving struct {
	From, To   letter.CircleID
	ID, Person string
}

// WhoLeft is the person who has moved to the circle that this came from, where their home, with this key, has
// signed it; empty where not.
func (m MoveArrived) WhoLeft(came letter.CircleID, home ed25519.PublicKey) string {
	if (Leaving{From: m.To, To: came, ID: m.ID, Person: m.Person}).Signed(home, m.Proof) {
		return m.Person
	}
	return ""
}

// text gives each part its end: none of them has a zero byte in it.
func (l Leaving) text() []byte {
	return []byte(string(l.From) + "\x00" + string(l.To) + "\x00" + l.ID + "\x00" + l.Person)
}

// Sign returns the home's signature of it.
func (l Leaving) Sign(key ed25519.PrivateKey) []byte { return letter.ForLeft.Sign(key, l.text()) }

// Signed tells whether the signature is the home's.
func (l Leaving) Signed(pub ed25519.PublicKey, sig []byte) bool {
	return letter.ForLeft.Verify(pub, l.text(), sig) == nil
}

// MaxPersonBytes bounds the id of who left.
const MaxPersonBytes = 64

const linkBytes = 32

func checkMoves(msg any) (uint8, error) {
	switch m := msg.(type) {
	case MoveAsk:
		return kindMoveAsk, checkContact(m.From, m.To, m.Name+m.Words, m.ID)
	case MoveAnswer:
		return kindMoveAnswer, checkContact(m.From, m.To, m.Code+m.Origin, m.ID)
	case MoveArrived:
		return kindMoveArrived, errors.Join(checkContact(m.From, m.To, m.Code+m.Origin, m.ID),
			checkLeaving(m.Person, m.Proof))
	case MovePacket:
		if len(m.Link) != linkBytes {
			return 0, fmt.Errorf("a link of %d bytes: %w", len(m.Link), ErrMessage)
		}
		return kindMovePacket, errors.Join(checkContact(m.From, m.To, "", m.ID),
			checkLeaving(m.Person, m.Proof))
	}
	return checkJoining(msg)
}

// checkLeaving wants both a person and a signature, or neither.
func checkLeaving(person string, proof []byte) error {
	if person == "" && len(proof) == 0 {
		return nil
	}
	if person == "" || !letter.Readable(person, MaxPersonBytes) || len(proof) != ed25519.SignatureSize {
		return fmt.Errorf("who left: %w", ErrMessage)
	}
	return nil
}
