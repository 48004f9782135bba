package courier

import (
	"fmt"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of messages about members' cards.
const (
	// MaxHeads is the most circles in one Want.
	MaxHeads = 1000
	// MaxCards is the most cards in one Cards.
	MaxCards = 500
	// MaxCardsBytes is how many bytes of cards go into one Cards.
	MaxCardsBytes = 400 << 10
	// MaxContactBytes bounds what people say when they ask to be in touch, and answer.
	MaxContactBytes = 2400
)

// idLength is that of a card's id, and of a question's.
const idLength = 32

// Want asks for members' cards that the asker does not have, of the circles that it names and no others. CBOR
// keys 4 and up are free.
type Want struct {
	From letter.CircleID  `cbor:"1,keyasint"`
	To   letter.CircleID  `cbor:"2,keyasint"`
	Have directory.Vector `cbor:"3,keyasint"`
}

// Cards answers a Want: of each circle in the order of its run, as many as fit. CBOR keys 2 and up are free.
type Cards struct {
	Cards []letter.Signed `cbor:"1,keyasint"`
}

// Withdrawn tells that a member's card was taken back. CBOR keys 4 and up are free.
type Withdrawn struct {
	From letter.CircleID `cbor:"1,keyasint"`
	To   letter.CircleID `cbor:"2,keyasint"`
	Card letter.Signed   `cbor:"3,keyasint"` // a directory.Card that is Gone
}

// Receipt answers a Withdrawn: a signed directory.Ack. CBOR keys 2 and up are free.
type Receipt struct {
	Ack letter.Signed `cbor:"1,keyasint"`
}

// Contact asks a member, by their card, whether they want to be in touch; Told answers it. CBOR keys 6 and up
// are free.
type Contact struct {
	From  letter.CircleID `cbor:"1,keyasint"`
	To    letter.CircleID `cbor:"2,keyasint"`
	ID    string          `cbor:"3,keyasint"` // 32 hex digits, the asker's
	Card  string          `cbor:"4,keyasint"`
	Words string          `cbor:"5,keyasint"`
}

// Reply answers a member who asked to be in touch; Told answers it. CBOR keys 6 and up are free.
type Reply struct {
	From  letter.CircleID `cbor:"1,keyasint"`
	To    letter.CircleID `cbor:"2,keyasint"`
	ID    string          `cbor:"3,keyasint"` // of the Contact
	Yes   bool            `cbor:"4,keyasint"`
	Words string          `cbor:"5,keyasint"`
}

// Told says that the member will read it. CBOR keys 1 and up are free.
type Told struct{}

func checkCards(msg any) (uint8, error) {
	switch m := msg.(type) {
	case Want:
		if len(m.Have) > MaxHeads {
			return 0, fmt.Errorf("WANT of %d circles, at most %d: %w", len(m.Have), MaxHeads, ErrMessage)
		}
		for i, h := range m.Have {
			if !h.Circle.Valid() || i > 0 && m.Have[i-1].Circle >= h.Circle {
				return 0, fmt.Errorf("WANT with circles out of order: %w", ErrMessage)
			}
		}
		return kindWant, checkPair(m.From, m.To)
	case Cards:
		if len(m.Cards) > MaxCards {
			return 0, fmt.Errorf("CARDS with %d of them, at most %d: %w", len(m.Cards), MaxCards, ErrMessage)
		}
		return kindCards, nil
	case Withdrawn:
		return kindWithdrawn, checkPair(m.From, m.To)
	case Receipt:
		return kindReceipt, nil
	case Contact:
		return kindContact, checkContact(m.From, m.To, m.Words, m.ID, m.Card)
	case Reply:
		return kindReply, checkContact(m.From, m.To, m.Words, m.ID)
	case Told:
		return kindTold, nil
	}
	return checkMoves(msg)
}

func checkContact(from, to letter.CircleID, words string, ids ...string) error {
	if len(words) > MaxContactBytes {
		return fmt.Errorf("%d bytes of words, at most %d: %w", len(words), MaxContactBytes, ErrMessage)
	}
	for _, id := range ids {
		if len(id) != idLength || !letter.Readable(id, idLength) {
			return fmt.Errorf("the id %.40q: %w", id, ErrMessage)
		}
	}
	return checkPair(from, to)
}
