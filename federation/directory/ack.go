package directory

import (
	"crypto/ed25519"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Ack is a circle's word that it has a member's card of another circle no more.
type Ack struct {
	Holder letter.CircleID `cbor:"1,keyasint" json:"holder"` // who says so
	Circle letter.CircleID `cbor:"2,keyasint" json:"circle"` // the member's home
	ID     string          `cbor:"3,keyasint" json:"id"`     // of the card
	Seq    uint64          `cbor:"4,keyasint" json:"seq"`    // of the card that took it back
	At     int64           `cbor:"5,keyasint" json:"at"`     // Unix milliseconds, by the holder's clock
}

const maxAckBytes = 512

// Sign signs the acknowledgement with the holder's key.
func (a Ack) Sign(key ed25519.PrivateKey) (letter.Signed, error) {
	b, err := letter.Marshal(a)
	if err != nil {
		return letter.Signed{}, err
	}
	return letter.Signed{Bytes: b, Sig: letter.ForAck.Sign(key, b)}, nil
}

// OpenAck reads what Sign made with the key that pub belongs to.
func OpenAck(pub ed25519.PublicKey, s letter.Signed) (Ack, error) {
	var a Ack
	if len(s.Bytes) > maxAckBytes {
		return a, fmt.Errorf("an acknowledgement of %d bytes: %w", len(s.Bytes), letter.ErrTooLarge)
	}
	if err := letter.ForAck.Verify(pub, s.Bytes, s.Sig); err != nil {
		return a, fmt.Errorf("opening an acknowledgement: %w", err)
	}
	return a, letter.Unmarshal(s.Bytes, maxAckBytes, &a)
}
