package store

import (
	"bytes"
	"fmt"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/dgraph-io/badger/v4"
	"github.com/tidwall/btree"
)

// walk is a walk over the rows under a prefix: upwards from "from", or downwards from it (nil: the last
// row of all). end is the first key above the prefix, nil if there is none.
type walk struct {
	prefix, from, end []byte
	down              bool
}

// Ascend implements machine.Reader.
func (s *State) Ascend(prefix, from []byte, fn func(key, value []byte) bool) {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	s.walk(walk{prefix: prefix, from: from}, fn)
}

// Descend implements machine.Reader.
func (s *State) Descend(prefix, from []byte, fn func(key, value []byte) bool) {
	if from != nil && bytes.Compare(from, prefix) < 0 {
		return
	}
	end := machine.PrefixEnd(prefix)
	if end != nil && (from == nil || bytes.Compare(from, end) > 0) {
		from = end
	}
	s.walk(walk{prefix: prefix, from: from, end: end, down: true}, fn)
}

// cursor is a place in one of the two layers that a walk merges.
type cursor interface {
	row() (r dirtyRow, ok bool) // ok is false at the end of the prefix
	next()
}

// walk merges the changed rows over those on disk. The overlay is taken before Badger's read transaction:
// a flush between the two then shows a row in both, which does no harm; the other way round it would show
// it in neither.
func (s *State) walk(w walk, fn func(key, value []byte) bool) {
	overlay := s.overlay.Load()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false // values are in the tree; prefetching would start a goroutine for each
	opt.Reverse = w.down
	if !w.down {
		opt.Prefix = rowKey(w.prefix)
	}
	it := txn.NewIterator(opt)
	defer it.Close()
	disk := &diskCursor{w: w, it: it, faults: s.faults}
	disk.seek()
	changed := newOverlayCursor(w, overlay)
	for {
		r, ok := pick(w, changed, disk)
		if !ok {
			return
		}
		if !r.gone && !fn(r.key, r.value) {
			return
		}
	}
}

// pick returns the next row of the two cursors and moves on whichever stood on it; the changed row wins.
func pick(w walk, changed, disk cursor) (dirtyRow, bool) {
	c, haveChanged := changed.row()
	d, haveDisk := disk.row()
	order := bytes.Compare(c.key, d.key)
	if w.down {
		order = -order
	}
	switch {
	case !haveChanged && !haveDisk:
		return dirtyRow{}, false
	case haveChanged && (!haveDisk || order <= 0):
		changed.next()
		if haveDisk && order == 0 {
			disk.next()
		}
		return c, true
	default:
		disk.next()
		return d, true
	}
}

type overlayCursor struct {
	w  walk
	it btree.IterG[dirtyRow]
	ok bool
}

func newOverlayCursor(w walk, overlay *btree.BTreeG[dirtyRow]) *overlayCursor {
	c := &overlayCursor{w: w, it: overlay.Iter()}
	if !w.down {
		c.ok = c.it.Seek(dirtyRow{key: w.from})
		return c
	}
	c.ok = w.from != nil && c.it.Seek(dirtyRow{key: w.from})
	if !c.ok { // nothing at or above: begin with the last of all
		c.ok = c.it.Last()
	}
	for c.ok && c.above() {
		c.next()
	}
	return c
}

// above reports whether the cursor stands above where a downward walk begins.
func (c *overlayCursor) above() bool {
	key := c.it.Item().key
	return c.w.from != nil && bytes.Compare(key, c.w.from) > 0 ||
		c.w.end != nil && bytes.Compare(key, c.w.end) >= 0
}

func (c *overlayCursor) row() (dirtyRow, bool) {
	if !c.ok {
		return dirtyRow{}, false
	}
	r := c.it.Item()
	return r, bytes.HasPrefix(r.key, c.w.prefix)
}

func (c *overlayCursor) next() {
	if c.w.down {
		c.ok = c.it.Prev()
	} else {
		c.ok = c.it.Next()
	}
}

type diskCursor struct {
	w      walk
	it     *badger.Iterator
	faults *faults
	cur    dirtyRow
	ok     bool
}

func (c *diskCursor) seek() {
	from := rowKey(c.w.from)
	if c.w.down && c.w.from == nil {
		from = []byte{rowSpace + 1}
	}
	c.it.Seek(from)
	if c.w.down && c.w.end != nil && c.it.Valid() && bytes.Equal(c.it.Item().Key(), rowKey(c.w.end)) {
		c.it.Next() // there is a row right above the prefix
	}
	c.load()
}

func (c *diskCursor) row() (dirtyRow, bool) { return c.cur, c.ok }

func (c *diskCursor) next() {
	c.it.Next()
	c.load()
}

// load copies the row under the iterator: it must outlive the iterator's next step.
func (c *diskCursor) load() {
	c.cur, c.ok = dirtyRow{}, false
	if !c.it.Valid() {
		return
	}
	item := c.it.Item()
	key := item.KeyCopy(nil)
	if key[0] != rowSpace || !bytes.HasPrefix(key[1:], c.w.prefix) {
		return
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		_ = c.faults.report(fmt.Errorf("state: read a row: %w", err))
		return
	}
	c.cur, c.ok = dirtyRow{key: key[1:], value: value}, true
}
