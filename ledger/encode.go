package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// encodeVersion is the first byte of a transfer's canonical encoding. It changes only if the layout does,
// and with it every body hash.
const encodeVersion = 1

var errShort = errors.New("the bytes end too early")

// Body is the SHA-256 of the request's canonical encoding: two requests are the same when their bodies are.
func (t Transfer) Body() [32]byte { return sha256.Sum256(EncodeTransfer(t)) }

// EncodeTransfer is the canonical encoding: one string of bytes for each transfer, and one transfer for
// each string. Its parts follow one another in the order of the struct: version, id, op, book, number of
// legs, each leg's account and change, of, effective, reason, ref. Whole numbers are big-endian, eight
// bytes for times and amounts and four for lengths; each text is its length and its bytes.
func EncodeTransfer(t Transfer) []byte {
	b := make([]byte, 0, 128+len(t.Book)+len(t.Ref)+48*len(t.Legs))
	b = append(b, encodeVersion)
	b = append(b, t.ID[:]...)
	b = append(b, byte(t.Op))
	b = appendText(b, t.Book)
	b = binary.BigEndian.AppendUint32(b, uint32(len(t.Legs)))
	for _, leg := range t.Legs {
		b = appendText(b, leg.Account)
		b = binary.BigEndian.AppendUint64(b, uint64(leg.Change))
	}
	b = append(b, t.Of[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Effective))
	b = appendText(b, t.Reason)
	return appendText(b, t.Ref)
}

func appendText(b []byte, text string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// DecodeTransfer reads the canonical encoding. It keeps to the limits on legs and texts, and refuses bytes
// left over; whether the transfer makes sense is for Apply to say.
func DecodeTransfer(b []byte) (Transfer, error) {
	d := decoder{rest: b}
	if version := d.take(1); d.err == nil && version[0] != encodeVersion {
		return Transfer{}, fmt.Errorf(
			"ledger: decode transfer: version %d is not known; update this program", version[0])
	}
	var t Transfer
	copy(t.ID[:], d.take(len(t.ID)))
	t.Op = Op(d.byte())
	t.Book = d.text("book", MaxNameBytes)
	for range d.size("legs", MaxLegs) {
		leg := Leg{Account: d.text("account", MaxIDBytes), Change: d.int64()}
		if d.err != nil {
			break
		}
		t.Legs = append(t.Legs, leg)
	}
	copy(t.Of[:], d.take(len(t.Of)))
	t.Effective = d.int64()
	t.Reason = d.text("reason", MaxReasonBytes)
	t.Ref = d.text("reference", MaxRefBytes)
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes are left over", len(d.rest))
	}
	if d.err != nil {
		return Transfer{}, fmt.Errorf("ledger: decode transfer: %w", d.err)
	}
	return t, nil
}

// decoder reads from the front of rest until something is wrong; after that it reads nothing more.
type decoder struct {
	rest []byte
	err  error
}

// take is the next n bytes, or nothing after an error.
func (d *decoder) take(n int) []byte {
	if d.err == nil && len(d.rest) < n {
		d.err = errShort
	}
	if d.err != nil {
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); d.err == nil {
		return b[0]
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); d.err == nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// size is a length of at most limit.
func (d *decoder) size(what string, limit int) int {
	b := d.take(4)
	if d.err != nil {
		return 0
	}
	n := binary.BigEndian.Uint32(b)
	if n > uint32(limit) {
		d.err = fmt.Errorf("%s: %d is more than %d", what, n, limit)
		return 0
	}
	return int(n)
}

func (d *decoder) text(what string, limit int) string {
	return string(d.take(d.size(what, limit)))
}
