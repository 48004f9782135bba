package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// A log entry as bytes: format, type, term, time of appending (nanoseconds since 1970, zigzag; absent if
// the time is zero), then data and extensions, each after its length. Numbers are varints. The index goes
// before it.
const (
	entryFormat     = 1
	entryFormatTime = 2 // with a time
)

func appendEntry(b []byte, e *raft.Log) []byte {
	if e.AppendedAt.IsZero() {
		b = append(b, entryFormat, byte(e.Type))
	} else {
		b = append(b, entryFormatTime, byte(e.Type))
		b = binary.AppendVarint(b, e.AppendedAt.UnixNano())
	}
	b = binary.AppendUvarint(b, e.Term)
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	b = append(b, e.Data...)
	b = binary.AppendUvarint(b, uint64(len(e.Extensions)))
	return append(b, e.Extensions...)
}

// decodeEntry fills out from b, of which it keeps parts.
func decodeEntry(index uint64, b []byte, out *raft.Log) error {
	d := decoder{b: b}
	format := d.byte()
	if format != entryFormat && format != entryFormatTime {
		return fmt.Errorf("format %d is not known: use a newer carecircle", format)
	}
	*out = raft.Log{Index: index, Type: raft.LogType(d.byte())}
	if format == entryFormatTime {
		out.AppendedAt = time.Unix(0, d.varint())
	}
	out.Term = d.uvarint()
	out.Data = d.bytes()
	out.Extensions = d.bytes()
	if d.bad || len(d.b) != 0 {
		return errors.New("cannot be decoded")
	}
	return nil
}

// decoder reads from b and notes when that goes wrong.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n <= 0 || n > len(d.b) {
		d.bad = d.bad || n != 0
		return nil
	}
	part := d.b[:n:n]
	d.b = d.b[n:]
	return part
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.bad = d.bad || n <= 0
	d.take(max(n, 0))
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.bad = d.bad || n <= 0
	d.take(max(n, 0))
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}

func encodeUint64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeUint64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("has %d bytes, not the 8 of a number", len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
