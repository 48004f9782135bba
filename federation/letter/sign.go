package letter

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
)

const (
	circleTag = "carecircle circle v1"
	recordTag = "carecircle record v1\x00"

	circleIDBytes  = 16
	circleIDLength = 1 + 26
)

var circleAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// CircleID names a circle for ever: "c" and 26 characters, lowercase base32 of the first 16 bytes of the
// SHA-256 of a tag and the circle's founding public key. It stays when the key is replaced.
type CircleID string

// CircleIDOf returns the id of the circle founded with the Ed25519 public key.
func CircleIDOf(pub []byte) CircleID {
	sum := sha256.Sum256(append([]byte(circleTag), pub...))
	return CircleID("c" + circleAlphabet.EncodeToString(sum[:circleIDBytes]))
}

// Valid says whether id has the one form CircleIDOf gives.
func (id CircleID) Valid() bool {
	if len(id) != circleIDLength || id[0] != 'c' {
		return false
	}
	b, err := circleAlphabet.DecodeString(string(id[1:]))
	// The last character has two spare bits and the decoder skips line ends: only one spelling is allowed.
	return err == nil && circleAlphabet.EncodeToString(b) == string(id[1:])
}

// HashOf returns the hash of a record's stored bytes.
func HashOf(b []byte) Hash { return sha256.Sum256(append([]byte(recordTag), b...)) }

// Purpose is what a circle key signs. Its text goes in front of the signed bytes, so that a signature
// given for one purpose is worth nothing for another.
type Purpose string

// All purposes there are.
const (
	ForRecord  Purpose = "carecircle sign record v1\x00"
	ForCard    Purpose = "carecircle sign card v1\x00"
	ForWelcome Purpose = "carecircle sign welcome v1\x00"
	ForLog     Purpose = "carecircle sign log v1\x00"
	ForBackup  Purpose = "carecircle sign backup v1\x00"
	ForRestore Purpose = "carecircle sign restore v1\x00"
	ForVerdict Purpose = "carecircle sign verdict v1\x00"
	ForMember  Purpose = "carecircle sign member card v1\x00"
	ForAck     Purpose = "carecircle sign card taken back v1\x00"
	ForLeft    Purpose = "carecircle sign left v1\x00"
	ForRound   Purpose = "carecircle sign round v1\x00"
	ForConsent Purpose = "carecircle sign round consent v1\x00"
	ForOutcome Purpose = "carecircle sign round outcome v1\x00"
	ForCharter Purpose = "carecircle sign charter v1\x00"
)

// Sign returns the 64-byte Ed25519 signature of b. The same key and bytes always give the same signature.
func (p Purpose) Sign(key ed25519.PrivateKey, b []byte) []byte {
	return ed25519.Sign(key, append([]byte(p), b...))
}

// Verify returns nil when sig is the signature of b for this purpose, ErrSignature when not.
func (p Purpose) Verify(pub ed25519.PublicKey, b, sig []byte) error {
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, append([]byte(p), b...), sig) {
		return ErrSignature
	}
	return nil
}

// Signed is a record's exact bytes and the circle's signature of them.
type Signed struct {
	Bytes []byte `cbor:"1,keyasint" json:"bytes"`
	Sig   []byte `cbor:"2,keyasint" json:"sig"`
}

// Sign signs a record's bytes as Next gave them. Ed25519 is deterministic: any later leader of the same
// circle makes the same Signed from its own copy of the stream.
func Sign(key ed25519.PrivateKey, b []byte) Signed {
	return Signed{Bytes: b, Sig: ForRecord.Sign(key, b)}
}

// Verifier checks a signature as Purpose.Verify does, which is the one in use; the simulation has one that
// remembers what it has checked before.
type Verifier func(p Purpose, pub ed25519.PublicKey, b, sig []byte) error

// Open checks the signature against the sender's circle key, decodes the record and returns its hash.
// The errors are ErrSignature and those of Decode. Whether the record's From is the circle that owns pub,
// and its To this circle, is for the caller to compare.
func Open(pub ed25519.PublicKey, s Signed) (Record, Hash, error) {
	return Verifier(Purpose.Verify).Open(pub, s)
}

// Open is the function Open with this verifier.
func (verify Verifier) Open(pub ed25519.PublicKey, s Signed) (Record, Hash, error) {
	if len(s.Bytes) > MaxRecordBytes {
		return Record{}, Hash{}, fmt.Errorf("opening a record of %d bytes, at most %d: %w",
			len(s.Bytes), MaxRecordBytes, ErrTooLarge)
	}
	if err := verify(ForRecord, pub, s.Bytes, s.Sig); err != nil {
		return Record{}, Hash{}, fmt.Errorf("opening a record: %w", err)
	}
	r, err := Decode(s.Bytes)
	if err != nil {
		return Record{}, Hash{}, err
	}
	return r, HashOf(s.Bytes), nil
}
