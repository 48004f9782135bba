// Package vault keeps the keys of a circle's node: the master key that seals all others on disk, the vault's
// own key, and under it a key for every person, by which what is kept about them can be read, and without
// which it is gone.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/carecircle/carecircle/circle/machine"
)

// Secret is a key of 256 bits. However it is printed or logged, it does not show.
type Secret [32]byte

const hidden = "(secret)"

// Format implements fmt.Formatter: no verb shows the bytes.
func (Secret) Format(f fmt.State, _ rune) {
	io.WriteString(f, hidden) //nolint:errcheck // there is nowhere to say it
}

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// NewSecret draws a key.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // cannot fail
	return s
}

// ErrSealed: the bytes were not sealed under this key and for this place, or they are damaged.
var ErrSealed = errors.New("does not open with this key")

const (
	nonceBytes = 12
	tagBytes   = 16
)

// derive makes a key for one purpose. Parts are framed, so that no two lists of parts run together.
func (s Secret) derive(purpose string, parts ...[]byte) Secret {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte("carecircle " + purpose + " v1\x00"))
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	return Secret(h.Sum(nil))
}

func (s Secret) aead() cipher.AEAD {
	block, err := aes.NewCipher(s[:])
	if err != nil {
		panic(err) // the length is right
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

func (s Secret) seal(nonce, clear, about []byte) []byte {
	out := make([]byte, nonceBytes, nonceBytes+len(clear)+tagBytes)
	copy(out, nonce)
	return s.aead().Seal(out, out, clear, about)
}

func (s Secret) sealFresh(clear, about []byte) []byte {
	fresh := NewSecret()
	return s.seal(fresh[:nonceBytes], clear, about)
}

func (s Secret) open(sealed, about []byte) ([]byte, error) {
	if len(sealed) < nonceBytes+tagBytes {
		return nil, ErrSealed
	}
	clear, err := s.aead().Open(nil, sealed[:nonceBytes], sealed[nonceBytes:], about)
	if err != nil {
		return nil, ErrSealed
	}
	return clear, nil
}

// SealText seals words under a person's key. The nonce is made from the key, the command, the place in its
// body and the words: the same command sent again is the same bytes, so that a retry is recognised, while
// equal words elsewhere look different. Command and place are not bound as such: rules move what is sealed on
// into rows, where a reader could not know them.
func SealText(key Secret, of string, id machine.ID, place string, clear []byte) machine.Private {
	nonce := key.derive("nonce", []byte(of), id[:], []byte(place), clear)
	data := key.derive("text").seal(nonce[:nonceBytes], clear, []byte(of))
	return machine.Private{Of: of, Scheme: machine.SchemeSealed, Data: data}
}

// OpenText opens what SealText sealed.
func OpenText(key Secret, p machine.Private) ([]byte, error) {
	return key.derive("text").open(p.Data, []byte(p.Of))
}

// LetterKey makes the key of the memo of one payment to another circle from the payer's key.
func LetterKey(key Secret, payment machine.ID) Secret { return key.derive("letter", payment[:]) }

// SealLetter seals a memo under its LetterKey.
func SealLetter(key Secret, clear []byte) []byte {
	nonce := key.derive("nonce", clear)
	return key.derive("text").seal(nonce[:nonceBytes], clear, nil)
}

// OpenLetter opens what SealLetter sealed.
func OpenLetter(key Secret, sealed []byte) ([]byte, error) {
	return key.derive("text").open(sealed, nil)
}
