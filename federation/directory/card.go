// Package directory has the cards by which members of a circle can be found from other circles. A member's
// own circle signs the card; it says only what the member chose, and for a time. When the choice is taken
// back, a card without anything on it takes the other's place.
package directory

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of this package.
const (
	// MaxCardBytes is the most bytes a card may have without its signature.
	MaxCardBytes = 4 << 10
	// MaxIDBytes bounds ID.
	MaxIDBytes = 32
	// MaxNameBytes bounds Name.
	MaxNameBytes = 100
	// MaxWordsBytes bounds Words.
	MaxWordsBytes = 600
	// MaxTags is the most kinds, skills or languages each.
	MaxTags = 16
	// MaxTagBytes bounds one of them.
	MaxTagBytes = 40
	// MaxSectorBytes bounds Sector: a whole postcode is longer.
	MaxSectorBytes = 6
	// MaxRatePence bounds Rate: pence an hour.
	MaxRatePence = 100_000
	// MaxLifeMillis is how long after its making a card may say it counts; it is renewed long before.
	MaxLifeMillis = 90 * 24 * 60 * 60 * 1000

	cardVersion = 1
	maxLat      = 9_000_000
	maxLng      = 18_000_000
)

// ErrCard: a card that breaks a limit or makes no sense. Cards can also be letter.ErrMalformed, ErrTooLarge,
// ErrVersion or ErrSignature.
var ErrCard = errors.New("member card not acceptable")

// Point is where the middle of a postcode sector is, in hundred-thousandths of a degree.
type Point struct {
	_   struct{} `cbor:",toarray"`
	Lat int32    `json:"lat"`
	Lng int32    `json:"lng"`
}

// Card is what other circles may know of a member. Fields that the member did not choose are empty. CBOR keys
// 17 and up are free.
type Card struct {
	Version   uint8           `cbor:"1,keyasint" json:"-"`
	Circle    letter.CircleID `cbor:"2,keyasint" json:"circle"` // the member's home
	ID        string          `cbor:"3,keyasint" json:"id"`     // of the card, for this circle only
	Seq       uint64          `cbor:"4,keyasint" json:"seq"`    // in the run of the circle's cards, from 1
	Until     int64           `cbor:"5,keyasint" json:"until"`  // Unix milliseconds; void from then on
	Gone      bool            `cbor:"6,keyasint" json:"gone"`   // taken back: nothing else is on it
	Name      string          `cbor:"7,keyasint" json:"name"`   // as chosen
	Words     string          `cbor:"8,keyasint" json:"words"`
	Kinds     Tags            `cbor:"9,keyasint" json:"kinds"` // of support, lower case; each list in order
	Skills    Tags            `cbor:"10,keyasint" json:"skills"`
	Languages Tags            `cbor:"11,keyasint" json:"languages"`
	Sector    string          `cbor:"12,keyasint" json:"sector"` // postcode sector, as HX7 8
	At        Point           `cbor:"13,keyasint" json:"at"`     // its middle
	Hours     Hours           `cbor:"14,keyasint" json:"hours"`  // when they have time
	Rate      int32           `cbor:"15,keyasint" json:"rate"`   // pence an hour; 0: freely given or not said
	Open      bool            `cbor:"16,keyasint" json:"open"`   // to new people
}

// Seal returns the card signed with its circle's key.
func Seal(key ed25519.PrivateKey, c Card) (letter.Signed, error) {
	c.Version = cardVersion
	if err := c.Check(); err != nil {
		return letter.Signed{}, err
	}
	b, err := letter.Marshal(c)
	if err != nil {
		return letter.Signed{}, err
	}
	if len(b) > MaxCardBytes {
		return letter.Signed{}, fmt.Errorf("a card of %d bytes, at most %d: %w", len(b), MaxCardBytes,
			letter.ErrTooLarge)
	}
	return letter.Signed{Bytes: b, Sig: letter.ForMember.Sign(key, b)}, nil
}

// Decode reads a card's bytes and checks its form and limits, without the signature.
func Decode(b []byte) (Card, error) {
	var c Card
	if err := letter.CheckVersion(b, MaxCardBytes, cardVersion); err != nil {
		return Card{}, fmt.Errorf("reading a member's card: %w", err)
	}
	if err := letter.Unmarshal(b, MaxCardBytes, &c); err != nil {
		return Card{}, fmt.Errorf("reading a member's card: %w", err)
	}
	return c, c.Check()
}

// Verify tells whether the card's circle, whose key this is, signed it.
func Verify(key ed25519.PublicKey, s letter.Signed) error {
	return letter.ForMember.Verify(key, s.Bytes, s.Sig)
}

// Check returns what is wrong with a card, as ErrCard.
func (c Card) Check() error {
	switch {
	case !c.Circle.Valid() || c.ID == "" || !letter.Readable(c.ID, MaxIDBytes) || c.Seq == 0 || c.Until <= 0:
		return fmt.Errorf("a card without circle, id, number or end: %w", ErrCard)
	case c.Gone && !c.empty():
		return fmt.Errorf("a card that was taken back says nothing: %w", ErrCard)
	}
	return c.CheckChosen()
}

// CheckChosen is Check for what the member chose alone.
func (c Card) CheckChosen() error {
	switch {
	case !letter.Readable(c.Name, MaxNameBytes):
		return fmt.Errorf("name: want at most %d readable bytes: %w", MaxNameBytes, ErrCard)
	case !letter.Readable(strings.ReplaceAll(c.Words, "\n", " "), MaxWordsBytes):
		return fmt.Errorf("words: want at most %d readable bytes: %w", MaxWordsBytes, ErrCard)
	case len(c.Sector) > MaxSectorBytes || (c.Sector == "") != (c.At == Point{}):
		return fmt.Errorf("place: want a postcode sector and where its middle is: %w", ErrCard)
	case c.At.Lat < -maxLat || c.At.Lat > maxLat || c.At.Lng < -maxLng || c.At.Lng > maxLng:
		return fmt.Errorf("place: that is not on earth: %w", ErrCard)
	case c.Rate < 0 || c.Rate > MaxRatePence:
		return fmt.Errorf("rate: want 0 to %d pence: %w", MaxRatePence, ErrCard)
	}
	for _, list := range []Tags{c.Kinds, c.Skills, c.Languages} {
		if err := list.check(); err != nil {
			return err
		}
	}
	return c.Hours.check()
}

func (c Card) empty() bool {
	return c.Name == "" && c.Words == "" && len(c.Kinds)+len(c.Skills)+len(c.Languages)+len(c.Hours) == 0 &&
		c.Sector == "" && c.Rate == 0 && !c.Open
}

// Tags are words of a kind, lower case, in order, each once.
type Tags []string

func (t Tags) check() error {
	if len(t) > MaxTags {
		return fmt.Errorf("%d words in one list, at most %d: %w", len(t), MaxTags, ErrCard)
	}
	for i, word := range t {
		lower := word == strings.ToLower(strings.TrimSpace(word))
		if word == "" || !lower || !letter.Readable(word, MaxTagBytes) {
			return fmt.Errorf("%.40q: want 1 to %d readable bytes, lower case: %w", word, MaxTagBytes,
				ErrCard)
		}
		if i > 0 && t[i-1] >= word {
			return fmt.Errorf("%.40q is out of order or there twice: %w", word, ErrCard)
		}
	}
	return nil
}

// TagsOf makes tags of words as people give them.
func TagsOf(words []string) Tags {
	tags := Tags{}
	for _, w := range words {
		if w = strings.ToLower(strings.Join(strings.Fields(w), " ")); w != "" {
			tags = append(tags, w)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}
