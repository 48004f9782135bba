package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/dgraph-io/badger/v4"
)

// Badger's work is by the row, however short. So rows that follow one another by number, as of a journal,
// are put into one Badger value together: a strip, under the key of its first row. A flush makes strips of
// the new rows it has; no other row ever comes between the rows of a strip, so strips never overlap, and a
// row is in the last strip that begins at or before it, or nowhere.
//
//	strip   for each row: length of the value (uvarint), value
//
// Badger's user byte tells a strip from a row by itself, as all rows were before.
const (
	stripMeta     = 1 // user byte of a strip
	maxStripRows  = 64
	maxStripBytes = 16 << 10 // of its values; a longer value is a row by itself
)

// strip is rows whose keys differ in the number at their end only, which goes up by one.
type strip struct {
	key    []byte // of the first
	values [][]byte
	bytes  int
}

// numberBytes is the length of the number at the end of a numbered key.
const numberBytes = 8

func numberOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-numberBytes:]) }

// at is the key of row i.
func (p *strip) at(i int) []byte {
	if i == 0 {
		return p.key
	}
	key := bytes.Clone(p.key)
	binary.BigEndian.PutUint64(key[len(key)-numberBytes:], numberOf(key)+uint64(i))
	return key
}

// find is the place of a numbered key in the strip, or, where ok is false, where it would be behind its end.
func (p *strip) find(key []byte) (i int, ok bool) {
	if len(key) != len(p.key) || !bytes.Equal(key[:len(key)-numberBytes], p.key[:len(key)-numberBytes]) {
		return 0, false
	}
	n := numberOf(key) - numberOf(p.key) // wraps around for a number before the first
	return int(min(n, maxStripRows)), n < uint64(len(p.values))
}

// takes tells whether a row can be added at the end.
func (p *strip) takes(key, value []byte) bool {
	if len(p.values) == 0 || len(p.values) == maxStripRows || p.bytes+len(value) > maxStripBytes {
		return false
	}
	i, _ := p.find(key)
	return i == len(p.values)
}

func (p *strip) add(value []byte) {
	p.values = append(p.values, value)
	p.bytes += len(value)
}

// entry is the strip as Badger keeps it.
func (p *strip) entry() *badger.Entry {
	key := rowKey(p.key)
	if len(p.values) == 1 {
		return badger.NewEntry(key, p.values[0])
	}
	b := make([]byte, 0, p.bytes+3*len(p.values))
	for _, value := range p.values {
		b = append(binary.AppendUvarint(b, uint64(len(value))), value...)
	}
	return badger.NewEntry(key, b).WithMeta(stripMeta)
}

// readStrip reads what stands under an iterator; the strip outlives its next step.
func readStrip(item *badger.Item) (strip, error) {
	p := strip{key: item.KeyCopy(nil)[1:]}
	raw, err := item.ValueCopy(nil)
	if err != nil {
		return p, err
	}
	if item.UserMeta() != stripMeta {
		p.add(raw)
		return p, nil
	}
	for len(raw) > 0 {
		n, used := binary.Uvarint(raw)
		if used <= 0 || n > uint64(len(raw)-used) {
			return p, fmt.Errorf("%w: rows from %x do not end where they should", ErrDamaged, p.key)
		}
		p.add(raw[used : used+int(n) : used+int(n)])
		raw = raw[used+int(n):]
	}
	return p, nil
}

// findStrip returns the strip that has a numbered key, or a row by itself as one.
func findStrip(txn *badger.Txn, key []byte) (strip, bool, error) {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Reverse = true
	opt.Prefix = rowKey(key[:len(key)-numberBytes])
	it := txn.NewIterator(opt)
	defer it.Close()
	it.Seek(rowKey(key))
	if !it.Valid() {
		return strip{}, false, nil
	}
	p, err := readStrip(it.Item())
	if err != nil {
		return strip{}, false, err
	}
	_, ok := p.find(key)
	return p, ok, nil
}

// readRow returns a copy of the row under a key.
func readRow(txn *badger.Txn, key []byte) (value []byte, ok bool, err error) {
	if !machine.Numbered(key) {
		return read(txn, rowKey(key))
	}
	p, ok, err := findStrip(txn, key)
	if err != nil || !ok {
		return nil, false, err
	}
	i, _ := p.find(key)
	return p.values[i], true, nil
}

// packer makes strips of rows that come in ascending order of their keys.
type packer struct {
	put    func(e *badger.Entry) error
	coming strip
}

// add takes a row that is nowhere yet.
func (p *packer) add(key, value []byte) error {
	if p.coming.takes(key, value) {
		p.coming.add(value)
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	if !machine.Numbered(key) {
		return p.put(badger.NewEntry(rowKey(key), value))
	}
	p.coming = strip{key: key}
	p.coming.add(value)
	return nil
}

func (p *packer) flush() error {
	if len(p.coming.values) == 0 {
		return nil
	}
	e := p.coming.entry()
	p.coming = strip{}
	return p.put(e)
}

// rowWriter puts changed rows, in ascending order of their keys, into one transaction, and into the totals.
type rowWriter struct {
	s      *State
	txn    *badger.Txn
	before *badger.Txn // sees what was there before
	totals *totals
	packer packer
	old    strip  // from the disk, of which rows change
	gone   []bool // by row of old
}

func (w *rowWriter) write(r *dirtyRow) error {
	if machine.Numbered(r.key) && !r.fresh {
		return w.change(r)
	}
	if machine.Numbered(r.key) {
		if r.gone {
			return nil
		}
		w.totals.add(r.key, r.value)
		return w.packer.add(r.key, r.value)
	}
	if err := w.packer.flush(); err != nil {
		return err
	}
	return w.s.writeRow(w.txn, r, w.totals)
}

// change writes a numbered row that may be on disk.
func (w *rowWriter) change(r *dirtyRow) error {
	i, ok := w.old.find(r.key)
	if !ok {
		if err := w.flush(); err != nil {
			return err
		}
		var err error
		if w.old, ok, err = findStrip(w.before, r.key); err != nil {
			return err
		}
		if !ok {
			w.old = strip{}
			if r.gone {
				return nil
			}
			w.totals.add(r.key, r.value)
			return w.packer.add(r.key, r.value)
		}
		w.gone = make([]bool, len(w.old.values))
		i, _ = w.old.find(r.key)
	}
	w.totals.sub(r.key, w.old.values[i])
	w.gone[i] = r.gone
	if !r.gone {
		w.totals.add(r.key, r.value)
		w.old.values[i] = r.value
	}
	return nil
}

// flush writes what has gathered.
func (w *rowWriter) flush() error {
	if err := w.packer.flush(); err != nil || len(w.old.values) == 0 {
		return err
	}
	old := w.old
	w.old = strip{}
	if w.gone[0] {
		if err := w.txn.Delete(rowKey(old.key)); err != nil {
			return err
		}
	}
	for i, value := range old.values {
		if w.gone[i] {
			continue
		}
		if err := w.packer.add(old.at(i), value); err != nil {
			return err
		}
	}
	return w.packer.flush()
}
