package courier

import (
	"fmt"

	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

// What it takes to join a federation, and to hear which circles are in it.

const (
	// MaxCircleCards is the most circles' cards in one CharterNews.
	MaxCircleCards = 16
	// MaxCircleCardsBytes is how many bytes of cards go into one CharterNews.
	MaxCircleCardsBytes = 200 << 10
)

// Join asks a hub to take a circle into its federation, by an invitation of the hub's; Told answers it. It is
// all that a machine of an unknown circle can say. CBOR keys 5 and up are free.
type Join struct {
	From   letter.CircleID `cbor:"1,keyasint"`
	To     letter.CircleID `cbor:"2,keyasint"`
	Secret []byte          `cbor:"3,keyasint"` // of the invitation
	Card   []byte          `cbor:"4,keyasint"` // From's, as sealed
}

// CharterAsk asks for the newest charter of the federation, and for cards of the circles in it. The one asked
// is the hub, or any other circle in it. CBOR keys 6 and up are free.
type CharterAsk struct {
	From  letter.CircleID `cbor:"1,keyasint"`
	To    letter.CircleID `cbor:"2,keyasint"`
	Seq   uint64          `cbor:"3,keyasint"` // of the charter that the asker has; 0: none
	Cards uint64          `cbor:"4,keyasint"` // it has the cards of entries changed as far as this charter
	Card  []byte          `cbor:"5,keyasint"` // the asker's own card, where the charter has an older one
}

// CharterNews answers a CharterAsk. CBOR keys 4 and up are free.
type CharterNews struct {
	Charter letter.Signed `cbor:"1,keyasint"` // a charter.Charter; empty: none newer
	Cards   [][]byte      `cbor:"2,keyasint"` // as sealed, of entries in the order in which they changed
	Through uint64        `cbor:"3,keyasint"` // and so the asker has those changed as far as this charter
}

// CharterShow gives a hub, whose books were put back, an earlier charter of its own with what it has
// forgotten since; Told answers it. CBOR keys 5 and up are free.
type CharterShow struct {
	From    letter.CircleID `cbor:"1,keyasint"`
	To      letter.CircleID `cbor:"2,keyasint"`
	Charter letter.Signed   `cbor:"3,keyasint"`
	Cards   [][]byte        `cbor:"4,keyasint"` // as sealed, of circles that the hub has forgotten
}

func checkJoining(msg any) (uint8, error) {
	switch m := msg.(type) {
	case Join:
		if len(m.Secret) != charter.SecretBytes || len(m.Card) > charter.MaxCardBytes {
			return 0, fmt.Errorf("JOIN with a secret of %d bytes, a card of %d: %w", len(m.Secret),
				len(m.Card), ErrMessage)
		}
		return kindJoin, checkPair(m.From, m.To)
	case CharterAsk:
		if len(m.Card) > charter.MaxCardBytes {
			return 0, fmt.Errorf("a card of %d bytes: %w", len(m.Card), ErrMessage)
		}
		return kindCharterAsk, checkPair(m.From, m.To)
	case CharterNews:
		if len(m.Cards) > MaxCircleCards || len(m.Charter.Bytes) > charter.MaxCharterBytes {
			return 0, fmt.Errorf("a charter of %d bytes, %d cards: %w", len(m.Charter.Bytes), len(m.Cards),
				ErrMessage)
		}
		return kindCharterNews, nil
	case CharterShow:
		if len(m.Cards) > MaxCircleCards {
			return 0, fmt.Errorf("%d cards shown, at most %d: %w", len(m.Cards), MaxCircleCards, ErrMessage)
		}
		return kindCharterShow, checkPair(m.From, m.To)
	}
	return checkBooks(msg)
}
