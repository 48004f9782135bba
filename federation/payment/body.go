package payment

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Limits of this package.
const (
	// MaxMinutes is the most a single payment may move: a hundred years of care, far below overflow.
	MaxMinutes = 100 * 366 * 24 * 60
	// MaxAliasBytes bounds the payee's alias.
	MaxAliasBytes = 128
	// MaxMemoBytes bounds the sealed message from payer to payee.
	MaxMemoBytes = 4 << 10
	// MaxNoteBytes bounds a circle's sealed note to itself.
	MaxNoteBytes = 4 << 10
	// MaxReasonBytes bounds a reason code.
	MaxReasonBytes = 32
)

// Reasons for which a payee circle rejects. Codes are only ever added; one of a later version is passed on.
const (
	ReasonExpired      = "expired"       // the PROPOSE came after its expiry
	ReasonCancelled    = "cancelled"     // the payer cancelled before the PROPOSE was seen
	ReasonAliasUnknown = "alias_unknown" // nobody here goes by that alias
	ReasonLimit        = "limit"         // above what the alliance allows
	ReasonFrozen       = "frozen"        // the member or the pair of circles is frozen
	ReasonClosed       = "closed"        // no alliance is in force
	ReasonAborted      = "aborted"       // the hub decided so, for nobody had answered
)

// ErrBody: a body that breaks a limit or says something impossible. Bodies can also be letter.ErrMalformed
// or letter.ErrTooLarge.
var ErrBody = errors.New("payment body not acceptable")

// TID names a payment: 128 bits, unique for one payer circle, begun in time order. As text 32 hex digits.
type TID [16]byte

// String returns 32 hex digits.
func (t TID) String() string { return hex.EncodeToString(t[:]) }

// MarshalText implements encoding.TextMarshaler.
func (t TID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It wants exactly 32 hex digits.
func (t *TID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(t) {
		return fmt.Errorf("reading a payment id: want %d hex digits: %w", 2*len(t), letter.ErrMalformed)
	}
	copy(t[:], b)
	return nil
}

// ProposeBody offers a payment. CBOR keys 7 and up are free.
type ProposeBody struct {
	TID     TID    `cbor:"1,keyasint"`
	Minutes int64  `cbor:"2,keyasint"` // 1 to MaxMinutes
	Alias   string `cbor:"3,keyasint"` // the payee's name between these two circles; opaque to others
	Memo    []byte `cbor:"4,keyasint"` // sealed to the payee circle; may be empty
	Note    []byte `cbor:"5,keyasint"` // sealed to the payer circle itself: its local postings
	Expiry  int64  `cbor:"6,keyasint"` // Unix milliseconds; from then on the payee rejects
}

// AcceptBody says the payment was credited. CBOR keys 4 and up are free.
type AcceptBody struct {
	TID     TID           `cbor:"1,keyasint"`
	Propose letter.Signed `cbor:"2,keyasint"` // the very PROPOSE it answers, whole, with its signature
	Note    []byte        `cbor:"3,keyasint"` // sealed to the payee circle itself
}

// RejectBody says the payment was not and never will be credited. CBOR keys 4 and up are free.
type RejectBody struct {
	TID     TID         `cbor:"1,keyasint"`
	Reason  string      `cbor:"2,keyasint"` // one of the Reason codes
	Propose letter.Hash `cbor:"3,keyasint"` // the hash of the PROPOSE; zero if only a CANCEL was seen
}

// CancelBody asks the payee for a decision on a payment past its expiry. CBOR keys 2 and up are free.
type CancelBody struct {
	TID TID `cbor:"1,keyasint"`
}

// Encode returns the canonical bytes, or ErrBody.
func (b ProposeBody) Encode() ([]byte, error) { return encode("PROPOSE", b, b.check()) }

// Encode returns the canonical bytes, or ErrBody.
func (b AcceptBody) Encode() ([]byte, error) { return encode("ACCEPT", b, b.check()) }

// Encode returns the canonical bytes, or ErrBody.
func (b RejectBody) Encode() ([]byte, error) { return encode("REJECT", b, b.check()) }

// Encode returns the canonical bytes, or ErrBody.
func (b CancelBody) Encode() ([]byte, error) { return encode("CANCEL", b, b.check()) }

// DecodePropose reads the body of a PROPOSE; the errors are those of letter.Unmarshal and ErrBody.
func DecodePropose(b []byte) (ProposeBody, error) { return decode[ProposeBody]("a PROPOSE", b) }

// DecodeAccept reads the body of an ACCEPT; the errors are those of letter.Unmarshal and ErrBody.
func DecodeAccept(b []byte) (AcceptBody, error) { return decode[AcceptBody]("an ACCEPT", b) }

// DecodeReject reads the body of a REJECT; the errors are those of letter.Unmarshal and ErrBody.
func DecodeReject(b []byte) (RejectBody, error) { return decode[RejectBody]("a REJECT", b) }

// DecodeCancel reads the body of a CANCEL; the errors are those of letter.Unmarshal and ErrBody.
func DecodeCancel(b []byte) (CancelBody, error) { return decode[CancelBody]("a CANCEL", b) }

// decode reads any of the bodies. The longest is bounded by what a record can hold.
func decode[B interface{ check() error }](name string, raw []byte) (B, error) {
	var body, none B
	if err := letter.Unmarshal(raw, letter.MaxBodyBytes, &body); err != nil {
		return none, fmt.Errorf("decoding %s: %w", name, err)
	}
	if err := body.check(); err != nil {
		return none, fmt.Errorf("decoding %s: %w", name, err)
	}
	return body, nil
}

func encode(name string, body any, wrong error) ([]byte, error) {
	if wrong != nil {
		return nil, fmt.Errorf("encoding %s: %w", name, wrong)
	}
	b, err := letter.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", name, err)
	}
	return b, nil
}

func (b ProposeBody) check() error {
	switch {
	case b.TID == TID{}:
		return fmt.Errorf("no payment id: %w", ErrBody)
	case b.Minutes < 1 || b.Minutes > MaxMinutes:
		return fmt.Errorf("%d minutes, want 1 to %d: %w", b.Minutes, MaxMinutes, ErrBody)
	case b.Alias == "" || !letter.Readable(b.Alias, MaxAliasBytes):
		return fmt.Errorf("alias %.40q, want 1 to %d readable bytes: %w", b.Alias, MaxAliasBytes, ErrBody)
	case len(b.Memo) > MaxMemoBytes:
		return fmt.Errorf("memo of %d bytes, at most %d: %w", len(b.Memo), MaxMemoBytes, ErrBody)
	case len(b.Note) > MaxNoteBytes:
		return fmt.Errorf("note of %d bytes, at most %d: %w", len(b.Note), MaxNoteBytes, ErrBody)
	case b.Expiry < 1:
		return fmt.Errorf("no expiry: %w", ErrBody)
	}
	return nil
}

func (b AcceptBody) check() error {
	switch {
	case b.TID == TID{}:
		return fmt.Errorf("no payment id: %w", ErrBody)
	case len(b.Propose.Bytes) == 0 || len(b.Propose.Sig) == 0:
		return fmt.Errorf("the PROPOSE it answers is not in it: %w", ErrBody)
	case len(b.Note) > MaxNoteBytes:
		return fmt.Errorf("note of %d bytes, at most %d: %w", len(b.Note), MaxNoteBytes, ErrBody)
	}
	return nil
}

func (b RejectBody) check() error {
	switch {
	case b.TID == TID{}:
		return fmt.Errorf("no payment id: %w", ErrBody)
	case !isCode(b.Reason):
		return fmt.Errorf("reason %.40q, want 1 to %d of a-z and _: %w", b.Reason, MaxReasonBytes, ErrBody)
	}
	return nil
}

func (b CancelBody) check() error {
	if b.TID == (TID{}) {
		return fmt.Errorf("no payment id: %w", ErrBody)
	}
	return nil
}

func isCode(s string) bool {
	for i := range len(s) {
		if s[i] != '_' && (s[i] < 'a' || s[i] > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= MaxReasonBytes
}
