package store

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// A sealed snapshot is an age file: streamed in parts of 64 KiB, each authenticated with its place and
// whether it is the last. Its one stanza has the file's key, sealed under the circle's snapshot key.
const (
	ageMagic     = "age-encryption.org/"
	snapStanza   = "carecircle-snapshot-v1" // argument: a fresh salt, base64
	snapKeyUse   = "carecircle snapshot file key v1"
	sealedAdvice = "fetch it again, or take the one before"
)

// snapshotKey is the circle's key as age knows one.
type snapshotKey []byte

var (
	_ age.Recipient = snapshotKey(nil)
	_ age.Identity  = snapshotKey(nil)
)

// Wrap implements age.Recipient.
func (k snapshotKey) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // cannot fail
	aead, err := deriveAEAD(k, salt, snapKeyUse)
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{
		Type: snapStanza, Args: []string{base64.RawStdEncoding.EncodeToString(salt)},
		Body: aead.Seal(nil, nonceAt(0), fileKey, []byte(snapStanza)),
	}}, nil
}

// Unwrap implements age.Identity.
func (k snapshotKey) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != snapStanza || len(stanzas[0].Args) != 1 {
		return nil, age.ErrIncorrectIdentity
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(stanzas[0].Args[0])
	if err != nil || len(salt) != saltBytes {
		return nil, age.ErrIncorrectIdentity
	}
	aead, err := deriveAEAD(k, salt, snapKeyUse)
	if err != nil {
		return nil, err
	}
	fileKey, err := aead.Open(nil, nonceAt(0), stanzas[0].Body, []byte(snapStanza))
	if err != nil {
		return nil, age.ErrIncorrectIdentity
	}
	return fileKey, nil
}

// SealSnapshot writes to w, sealed under a circle's snapshot key, the snapshot that write gives it in clear.
func SealSnapshot(key []byte, w io.Writer, write func(io.Writer) error) error {
	if len(key) != KeyBytes {
		return fmt.Errorf("seal a snapshot: a key of %d bytes, must have %d", len(key), KeyBytes)
	}
	if err := snapshotKey(key).sealed(w, write); err != nil {
		return fmt.Errorf("seal a snapshot: %w", err)
	}
	return nil
}

// sealed writes what write gives it to w, sealed if there is a key.
func (k snapshotKey) sealed(w io.Writer, write func(io.Writer) error) error {
	if len(k) == 0 {
		return write(w)
	}
	sealing, err := age.Encrypt(w, k)
	if err != nil {
		return err
	}
	if err := write(sealing); err != nil {
		return err // without its end, so it is no snapshot
	}
	return sealing.Close()
}

// opened returns what r held before it was sealed. One that never was is taken as it is: those of the
// format before.
func (k snapshotKey) opened(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, snapshotBuffer)
	if magic, err := in.Peek(len(ageMagic)); err != nil || string(magic) != ageMagic {
		return in, nil //nolint:nilerr // too short for any: its reader will say so
	}
	if len(k) == 0 {
		return nil, errors.New("it is sealed: give the circle's snapshot key")
	}
	out, err := age.Decrypt(in, k)
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return nil, fmt.Errorf("%w, or of another circle: its key does not open it: %s", ErrDamaged,
			sealedAdvice)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %s", ErrDamaged, err, sealedAdvice)
	}
	return out, nil
}

// countWriter counts what goes through it.
type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
