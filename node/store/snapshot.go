package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// A snapshot as a stream of bytes:
//
//	header   "ccstate" and a format byte, applied index (8)
//	row      length of the key plus one (uvarint), key, length of the value (uvarint), value
//	end      a zero byte
//	trailer  number of rows (8), their sum (8), SHA-256 over all before it (32)
//
// Rows come in ascending order of their keys; numbers are big-endian. All of it is sealed, see snapshotKey.
var snapshotMagic = []byte("ccstate\x01")

const trailerNumbers = 16

// Snap is the state as of one commit, to be written out while the State goes on. Close it.
type Snap struct {
	s       *State
	txn     *badger.Txn
	applied uint64
	totals  totals
	once    sync.Once
}

// Snapshot flushes and syncs, then fixes a view of the state. It fails in the middle of a commit.
func (s *State) Snapshot() (*Snap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sync(); err != nil {
		return nil, fmt.Errorf("begin a snapshot: %w", err)
	}
	s.snaps++
	return &Snap{s: s, txn: s.db.NewTransaction(false), applied: s.flushed.Load(), totals: s.totals}, nil
}

// Applied returns the index of the commit that the snapshot shows.
func (n *Snap) Applied() uint64 { return n.applied }

// Rows is State.Rows as of the snapshot.
func (n *Snap) Rows() (rows, sum uint64) { return n.totals.rows, n.totals.sum }

// Close gives the view back; further calls do nothing.
func (n *Snap) Close() {
	n.once.Do(func() {
		n.txn.Discard()
		n.s.mu.Lock()
		n.s.snaps--
		n.s.mu.Unlock()
	})
}

// WriteTo writes the snapshot, sealed under StateConfig.SnapshotKey, and returns how many bytes that were.
// Rows that are not those once written mean damage on the disk: that is fatal.
func (n *Snap) WriteTo(w io.Writer) (int64, error) {
	out := &countWriter{w: w}
	err := snapshotKey(n.s.cfg.SnapshotKey).sealed(out, n.writeTo)
	if err != nil {
		return out.n, fmt.Errorf("write snapshot at index %d: %w", n.applied, err)
	}
	return out.n, nil
}

// WriteClear writes the snapshot as it is before it is sealed, for whoever seals it otherwise, and returns
// how many bytes that were. Damage is as in WriteTo.
func (n *Snap) WriteClear(w io.Writer) (int64, error) {
	out := &countWriter{w: w}
	if err := n.writeTo(out); err != nil {
		return out.n, fmt.Errorf("write snapshot at index %d: %w", n.applied, err)
	}
	return out.n, nil
}

// writeTo writes the snapshot as it is before it is sealed.
func (n *Snap) writeTo(w io.Writer) error {
	out := newHashWriter(w)
	out.write(snapshotMagic)
	out.write(binary.BigEndian.AppendUint64(nil, n.applied))
	var found totals
	err := n.rows(func(key, value []byte) error {
		found.add(key, value)
		out.writeRow(key, value)
		return out.err
	})
	if err != nil {
		return err
	}
	if found != n.totals {
		return n.s.faults.report(fmt.Errorf("the state is %w: %d rows found, %d written (sums %016x and"+
			" %016x): keep a copy of %s, then restore from a replica or a backup", ErrDamaged, found.rows,
			n.totals.rows, found.sum, n.totals.sum, n.s.cfg.Dir))
	}
	out.write([]byte{0})
	out.write(found.encode())
	out.write(out.hash.Sum(nil))
	return out.flush()
}

// Verify flushes, then reads everything on disk, so many bytes of rows a second (0: no limit), and compares
// with what was once written. Damage is an error, and fatal unless StateConfig.Fatal holds off. It may run
// beside readers and the writer; a Snap is open meanwhile.
func (s *State) Verify(ctx context.Context, rate int) error {
	snap, err := s.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	if err := checkTables(s.db); err != nil {
		return s.faults.report(fmt.Errorf("state: %w", openError(s.cfg.Dir, err)))
	}
	if err := snap.writeTo(newPace(ctx, rate)); err != nil {
		return fmt.Errorf("verify the state at index %d: %w", snap.applied, err)
	}
	return nil
}

func (t totals) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, t.rows), t.sum)
}

// rows calls fn for every row; key and value hold until fn returns.
func (n *Snap) rows(fn func(key, value []byte) error) error {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = []byte{rowSpace}
	it := n.txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if item.UserMeta() != stripMeta {
			err := item.Value(func(value []byte) error { return fn(item.Key()[1:], value) })
			if err != nil {
				return err
			}
			continue
		}
		p, err := readStrip(item)
		if err != nil {
			return n.s.faults.report(err)
		}
		for i, value := range p.values {
			if err := fn(p.at(i), value); err != nil {
				return err
			}
		}
	}
	return nil
}

// hashWriter hashes what it writes, and keeps the first error.
type hashWriter struct {
	buf  *bufio.Writer
	hash hash.Hash
	err  error
	num  []byte
}

func newHashWriter(w io.Writer) *hashWriter {
	return &hashWriter{buf: bufio.NewWriterSize(w, snapshotBuffer), hash: sha256.New()}
}

func (h *hashWriter) write(b []byte) {
	if h.err != nil {
		return
	}
	_, _ = h.hash.Write(b) // cannot fail
	_, h.err = h.buf.Write(b)
}

func (h *hashWriter) writeRow(key, value []byte) {
	h.num = binary.AppendUvarint(h.num[:0], uint64(len(key))+1)
	h.write(h.num)
	h.write(key)
	h.num = binary.AppendUvarint(h.num[:0], uint64(len(value)))
	h.write(h.num)
	h.write(value)
}

func (h *hashWriter) flush() error {
	if h.err == nil {
		h.err = h.buf.Flush()
	}
	return h.err
}

// snapReader reads a snapshot and checks it as it goes.
type snapReader struct {
	buf  *bufio.Reader
	hash hash.Hash
}

// readSnapshot calls row for every row and returns the applied index and the totals if, and only if, the
// whole stream was as it was written.
func readSnapshot(r io.Reader, row func(key, value []byte) error) (uint64, totals, error) {
	in := &snapReader{buf: bufio.NewReaderSize(r, snapshotBuffer), hash: sha256.New()}
	head, err := in.bytes(uint64(len(snapshotMagic) + 8))
	if err != nil {
		return 0, totals{}, err
	}
	if magic := head[:len(snapshotMagic)]; !bytes.Equal(magic, snapshotMagic) {
		return 0, totals{}, fmt.Errorf("%w: begins with %q, not with %q: no snapshot, or of a newer"+
			" carecircle", ErrDamaged, magic, snapshotMagic)
	}
	applied := binary.BigEndian.Uint64(head[len(snapshotMagic):])
	var found totals
	for {
		key, value, end, err := in.row()
		if err != nil {
			return 0, totals{}, fmt.Errorf("row %d: %w", found.rows, err)
		}
		if end {
			return applied, found, in.trailer(found)
		}
		found.add(key, value)
		if err := row(key, value); err != nil {
			return 0, totals{}, err
		}
	}
}

// cutShort says what an end, or a sealed part that does not open, means here.
func cutShort(err error) error { return fmt.Errorf("%w: ends too early: %w", ErrDamaged, err) }

// ReadByte makes snapReader an io.ByteReader, for reading lengths.
func (s *snapReader) ReadByte() (byte, error) {
	b, err := s.buf.ReadByte()
	if err == nil {
		_, _ = s.hash.Write([]byte{b})
	}
	return b, err
}

func (s *snapReader) bytes(n uint64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.buf, b); err != nil {
		return nil, cutShort(err)
	}
	_, _ = s.hash.Write(b)
	return b, nil
}

func (s *snapReader) row() (key, value []byte, end bool, err error) {
	n, err := binary.ReadUvarint(s)
	if err != nil {
		return nil, nil, false, cutShort(err)
	}
	if n == 0 {
		return nil, nil, true, nil
	}
	if n-1 > MaxKeyBytes {
		return nil, nil, false, fmt.Errorf("%w: a key of %d bytes", ErrDamaged, n-1)
	}
	if key, err = s.bytes(n - 1); err != nil {
		return nil, nil, false, err
	}
	if n, err = binary.ReadUvarint(s); err != nil {
		return nil, nil, false, cutShort(err)
	}
	if n > maxSnapshotValue {
		return nil, nil, false, fmt.Errorf("%w: a value of %d bytes", ErrDamaged, n)
	}
	value, err = s.bytes(n)
	return key, value, false, err
}

func (s *snapReader) trailer(found totals) error {
	numbers, err := s.bytes(trailerNumbers)
	if err != nil {
		return err
	}
	want := s.hash.Sum(nil)
	hash, err := s.bytes(sha256.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(numbers, found.encode()) || !bytes.Equal(hash, want) {
		return fmt.Errorf("%w: %d rows read, %d in its trailer, or its hash is wrong: fetch it again",
			ErrDamaged, found.rows, binary.BigEndian.Uint64(numbers))
	}
	if _, err := s.buf.ReadByte(); err == nil {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: reading to its end: %w", ErrDamaged, err)
	}
	return nil
}
