package courier

import (
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

// MovePacket says that the person has left. CBOR keys 5 and up are free.
type MovePacket struct {
	From letter.CircleID `cbor:"1,keyasint"`
	To   letter.CircleID `cbor:"2,keyasint"`
	ID   string          `cbor:"3,keyasint"`
	Link []byte          `cbor:"4,keyasint"` // SHA-256 of the secret that they enter by
}

// MoveArrived says that the person is at home in the circle that says so. CBOR keys 6 and up are free.
type MoveArrived struct {
	From   letter.CircleID `cbor:"1,keyasint"`
	To     letter.CircleID `cbor:"2,keyasint"`
	ID     string          `cbor:"3,keyasint"`
	Code   string          `cbor:"4,keyasint"` // for receiving their coins
	Origin string          `cbor:"5,keyasint"` // of the circle's pages
}

const linkBytes = 32

func checkMoves(msg any) (uint8, error) {
	switch m := msg.(type) {
	case MoveAsk:
		return kindMoveAsk, checkContact(m.From, m.To, m.Name+m.Words, m.ID)
	case MoveAnswer:
		return kindMoveAnswer, checkContact(m.From, m.To, m.Code+m.Origin, m.ID)
	case MoveArrived:
		return kindMoveArrived, checkContact(m.From, m.To, m.Code+m.Origin, m.ID)
	case MovePacket:
		if len(m.Link) != linkBytes {
			return 0, fmt.Errorf("a link of %d bytes: %w", len(m.Link), ErrMessage)
		}
		return kindMovePacket, checkContact(m.From, m.To, "", m.ID)
	}
	return 0, fmt.Errorf("%T is no message: %w", msg, ErrMessage)
}
