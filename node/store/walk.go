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

// walk merges the changed rows over those on disk. The layers are taken before Badger's read transaction:
// a flush between the two then shows a row in both, which does no harm; the other way round it would show
// it in neither.
func (s *State) walk(w walk, fn func(key, value []byte) bool) {
	layers := s.layers.Load()
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
	var beneath cursor = disk
	if layers.writing != nil {
		beneath = &overCursor{w: w, over: newOverlayCursor(w, layers.writing), under: disk}
	}
	changed := newOverlayCursor(w, layers.changed)
	for {
		r, ok := pick(w, changed, beneath)
		if !ok {
			return
		}
		if !r.gone && !fn(r.key, r.value) {
			return
		}
	}
}

// overCursor is two layers as one.
type overCursor struct {
	w           walk
	over, under cursor
}

func (c *overCursor) row() (dirtyRow, bool) {
	r, ok, _, _ := choose(c.w, c.over, c.under)
	return r, ok
}

func (c *overCursor) next() { pick(c.w, c.over, c.under) }

// pick returns the next row of the two cursors and moves on whichever stood on it; the changed row wins.
func pick(w walk, changed, beneath cursor) (dirtyRow, bool) {
	r, ok, moveChanged, moveBeneath := choose(w, changed, beneath)
	if moveChanged {
		changed.next()
	}
	if moveBeneath {
		beneath.next()
	}
	return r, ok
}

// choose returns the next row of the two cursors, and which of them stand on its key.
func choose(w walk, changed, beneath cursor) (r dirtyRow, ok, inChanged, inBeneath bool) {
	c, haveChanged := changed.row()
	b, haveBeneath := beneath.row()
	order := bytes.Compare(c.key, b.key)
	if w.down {
		order = -order
	}
	switch {
	case !haveChanged && !haveBeneath:
		return dirtyRow{}, false, false, false
	case haveChanged && (!haveBeneath || order <= 0):
		return c, true, true, haveBeneath && order == 0
	default:
		return b, true, false, true
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
