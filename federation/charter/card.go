// Package charter says who a circle is to other circles: its card, signed by the circle itself, with the
// key it signs records with, the hosts that may speak for it and where they are found; and which circles are
// a federation: the charter, signed by its hub, and the invitation by which a circle joins.
package charter

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of this package.
const (
	// MaxCardBytes is the most bytes a sealed card may have.
	MaxCardBytes = 32 << 10
	// MaxTextBytes bounds a card as text, with white space people may have put into it.
	MaxTextBytes = 2 * MaxCardBytes
	// MaxNameBytes bounds Name and Place.
	MaxNameBytes = 128
	// MaxAimBytes bounds Aim.
	MaxAimBytes = 1024
	// MaxHosts is the most hosts a circle may have.
	MaxHosts = 16
	// MaxPeerBytes bounds a libp2p peer id.
	MaxPeerBytes = 128
	// MaxAddrs is the most addresses a card may list.
	MaxAddrs = 64
	// MaxAddrBytes bounds one address.
	MaxAddrBytes = 256

	cardVersion = 1
	textPrefix  = "carecircle-card-v1:"
)

// ErrCard: a card that is incomplete, breaks a limit, or whose circle, key and signature do not belong
// together. Cards can also be letter.ErrMalformed, ErrTooLarge, ErrVersion or ErrSignature.
var ErrCard = errors.New("circle card not acceptable")

// Host is one machine that speaks for the circle.
type Host struct {
	Peer  string `cbor:"1,keyasint" json:"peer"`  // its libp2p peer id
	Until int64  `cbor:"2,keyasint" json:"until"` // Unix milliseconds; from then on it does not
}

// Card is a circle as other circles know it. CBOR keys 9 and up are free.
type Card struct {
	Circle letter.CircleID `cbor:"1,keyasint" json:"circle"`
	Name   string          `cbor:"2,keyasint" json:"name"`
	Place  string          `cbor:"3,keyasint" json:"place"` // may be empty
	Aim    string          `cbor:"4,keyasint" json:"aim"`   // may be empty
	Key    []byte          `cbor:"5,keyasint" json:"key"`   // the circle's Ed25519 public key
	Hosts  []Host          `cbor:"6,keyasint" json:"hosts"` // each peer once
	Addrs  []string        `cbor:"7,keyasint" json:"addrs"` // multiaddrs where a host is found
	Seq    uint64          `cbor:"8,keyasint" json:"seq"`   // from 1; of two cards the higher counts
}

// sealed is a card on the wire: what is signed is the bytes in Card, as they are.
type sealed struct {
	Version uint8  `cbor:"1,keyasint"`
	Card    []byte `cbor:"2,keyasint"`
	Sig     []byte `cbor:"3,keyasint"`
}

// Seal returns the card's bytes signed with the circle's key, which must be the one the card names.
func Seal(key ed25519.PrivateKey, c Card) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sealing a card: %w", err)
	}
	card, err := letter.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("sealing a card: %w", err)
	}
	sig := letter.ForCard.Sign(key, card)
	if err := letter.ForCard.Verify(c.Key, card, sig); err != nil {
		return nil, fmt.Errorf("sealing a card with another key than its own: %w", err)
	}
	b, err := letter.Marshal(sealed{Version: cardVersion, Card: card, Sig: sig})
	if err != nil {
		return nil, fmt.Errorf("sealing a card: %w", err)
	}
	if len(b) > MaxCardBytes {
		return nil, fmt.Errorf("sealing a card: %d bytes, at most %d: %w", len(b), MaxCardBytes,
			letter.ErrTooLarge)
	}
	return b, nil
}

// OpenCard reads what Seal wrote: it checks the form, the limits, that Circle is the id of Key, and that Key
// signed it. Whether it is newer than a card already known, and its hosts still current, is for the caller.
func OpenCard(b []byte) (Card, error) {
	var s sealed
	var c Card
	if err := letter.CheckVersion(b, MaxCardBytes, cardVersion); err != nil {
		return Card{}, fmt.Errorf("opening a card: %w", err)
	}
	if err := letter.Unmarshal(b, MaxCardBytes, &s); err != nil {
		return Card{}, fmt.Errorf("opening a card: %w", err)
	}
	if err := letter.Unmarshal(s.Card, MaxCardBytes, &c); err != nil {
		return Card{}, fmt.Errorf("opening a card: %w", err)
	}
	if err := c.check(); err != nil {
		return Card{}, fmt.Errorf("opening a card: %w", err)
	}
	if err := letter.ForCard.Verify(c.Key, s.Card, s.Sig); err != nil {
		return Card{}, fmt.Errorf("opening the card of %s: %w", c.Circle, err)
	}
	return c, nil
}

// Text returns a sealed card as one line that people can copy and paste.
func Text(b []byte) string { return textPrefix + base64.RawURLEncoding.EncodeToString(b) }

// ParseText returns the sealed card in a line that Text gave. White space and line ends that a mail programme
// put in are ignored. Open the result with OpenCard.
func ParseText(s string) ([]byte, error) { return unwrap(s, textPrefix, "a card") }

func (c Card) check() error {
	switch {
	case len(c.Key) != ed25519.PublicKeySize:
		return fmt.Errorf("key of %d bytes, want %d: %w", len(c.Key), ed25519.PublicKeySize, ErrCard)
	case c.Circle != letter.CircleIDOf(c.Key):
		return fmt.Errorf("circle %.40q is not the one of its key: %w", c.Circle, ErrCard)
	case c.Name == "" || !letter.Readable(c.Name, MaxNameBytes):
		return fmt.Errorf("name: want 1 to %d readable bytes: %w", MaxNameBytes, ErrCard)
	case !letter.Readable(c.Place, MaxNameBytes):
		return fmt.Errorf("place: want at most %d readable bytes: %w", MaxNameBytes, ErrCard)
	case !letter.Readable(c.Aim, MaxAimBytes):
		return fmt.Errorf("aim: want at most %d readable bytes: %w", MaxAimBytes, ErrCard)
	case c.Seq == 0:
		return fmt.Errorf("seq 0, the first card has 1: %w", ErrCard)
	case len(c.Hosts) > MaxHosts:
		return fmt.Errorf("%d hosts, at most %d: %w", len(c.Hosts), MaxHosts, ErrCard)
	case len(c.Addrs) > MaxAddrs:
		return fmt.Errorf("%d addresses, at most %d: %w", len(c.Addrs), MaxAddrs, ErrCard)
	}
	for i, h := range c.Hosts {
		if h.Peer == "" || !letter.Readable(h.Peer, MaxPeerBytes) || h.Until < 1 {
			return fmt.Errorf("host %d: want a peer id and an end: %w", i+1, ErrCard)
		}
		for _, other := range c.Hosts[:i] {
			if other.Peer == h.Peer {
				return fmt.Errorf("host %s is listed twice: %w", h.Peer, ErrCard)
			}
		}
	}
	for i, a := range c.Addrs {
		if a == "" || !letter.Readable(a, MaxAddrBytes) {
			return fmt.Errorf("address %d: want 1 to %d readable bytes: %w", i+1, MaxAddrBytes, ErrCard)
		}
	}
	return nil
}
