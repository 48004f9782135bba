// Package letter is what circles write to each other: signed records in one-way, hash-chained streams.
// From one circle to another runs exactly one stream; only its sender appends to it, and the receiver
// keeps it word for word. What is stored, hashed and signed are always the same exact bytes.
package letter

import (
	"encoding/hex"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Limits of this package.
const (
	// MaxRecordBytes is the most bytes an encoded record may have.
	MaxRecordBytes = 64 << 10
	// MaxBodyBytes is the most bytes a record's body may have; the rest of a record stays far below 1 KiB.
	MaxBodyBytes = MaxRecordBytes - 1<<10
	// Version is the version of Record this code writes, and the only one it reads.
	Version = 1
)

// Errors of decoding, told apart with errors.Is.
var (
	// ErrMalformed: not one canonical encoding of what was expected.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: above a limit of this package.
	ErrTooLarge = errors.New("too large")
	// ErrVersion: written by a version this code does not know; update this circle.
	ErrVersion = errors.New("unknown version")
	// ErrKind: a kind this code does not know. It stops the pair of circles until one of them is updated.
	ErrKind = errors.New("unknown kind")
	// ErrSignature: not signed by the key it was checked against.
	ErrSignature = errors.New("wrong signature")
)

// Hash is a SHA-256 under a domain tag; see HashOf. As text and JSON it is 64 hex digits.
type Hash [32]byte

// String returns 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It wants exactly 64 hex digits.
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("reading a hash: want %d hex digits: %w", 2*len(h), ErrMalformed)
	}
	copy(h[:], b)
	return nil
}

// Position is a place in a stream, or the head of a log. The zero Position is a stream's beginning.
type Position struct {
	Epoch uint64 `cbor:"1,keyasint" json:"epoch"`
	Seq   uint64 `cbor:"2,keyasint" json:"seq"`  // 0: nothing yet; the first record has 1
	Hash  Hash   `cbor:"3,keyasint" json:"hash"` // HashOf the record at Seq; zero when Seq is 0
}

// Record is one entry of a stream. Next fills Version, Epoch, Seq and Prev.
// CBOR keys are never used again for another meaning; 13 and up are free.
type Record struct {
	Version uint8    `cbor:"1,keyasint"`
	Kind    Kind     `cbor:"2,keyasint"`
	From    CircleID `cbor:"3,keyasint"`
	To      CircleID `cbor:"4,keyasint"`
	Epoch   uint64   `cbor:"5,keyasint"`
	Seq     uint64   `cbor:"6,keyasint"`
	Prev    Hash     `cbor:"7,keyasint"`  // HashOf the record before it; zero for the first
	Ack     Position `cbor:"8,keyasint"`  // how far the sender holds the stream that runs the other way
	Body    []byte   `cbor:"9,keyasint"`  // what the kind calls for, encoded by the kind's own package
	Head    Position `cbor:"10,keyasint"` // the head of the sender's own log
	At      int64    `cbor:"11,keyasint"` // the sender's ledger time, Unix milliseconds
	Key     uint32   `cbor:"12,keyasint"` // which of the sender's circle keys signs this
}

// Encode returns the record's canonical bytes.
func (r Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	b, err := Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	if len(b) > MaxRecordBytes {
		return nil, fmt.Errorf("encoding a record: %d bytes, at most %d: %w", len(b), MaxRecordBytes,
			ErrTooLarge)
	}
	return b, nil
}

// Decode reads what Encode wrote, and nothing else: any other encoding of the same record is ErrMalformed.
// Other errors are ErrTooLarge, ErrVersion and ErrKind.
func Decode(b []byte) (Record, error) {
	var r Record
	if err := CheckVersion(b, MaxRecordBytes, Version); err != nil {
		return Record{}, fmt.Errorf("decoding a record: %w", err)
	}
	if err := Unmarshal(b, MaxRecordBytes, &r); err != nil {
		return Record{}, fmt.Errorf("decoding a record: %w", err)
	}
	if err := r.check(); err != nil {
		return Record{}, fmt.Errorf("decoding a record: %w", err)
	}
	return r, nil
}

// check holds for every record that is written or read.
func (r Record) check() error {
	switch {
	case r.Version != Version:
		return fmt.Errorf("version %d, want %d: %w", r.Version, Version, ErrVersion)
	case !r.Kind.Known():
		return fmt.Errorf("kind %d: %w", r.Kind, ErrKind)
	case !r.From.Valid() || !r.To.Valid():
		return fmt.Errorf("from %q to %q: not circle ids: %w", r.From, r.To, ErrMalformed)
	case r.From == r.To:
		return fmt.Errorf("from %s to itself: %w", r.From, ErrMalformed)
	case r.Seq == 0:
		return fmt.Errorf("no place in a stream, the first has seq 1: %w", ErrMalformed)
	case len(r.Body) > MaxBodyBytes:
		return fmt.Errorf("body of %d bytes, at most %d: %w", len(r.Body), MaxBodyBytes, ErrTooLarge)
	case r.At < 0:
		return fmt.Errorf("time %d before 1970: %w", r.At, ErrMalformed)
	}
	return nil
}

// Readable says whether s is text of at most so many bytes that shows as what it is: without control
// characters, which could disguise it on a page or in a log.
func Readable(s string, most int) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return len(s) <= most && utf8.ValidString(s)
}
