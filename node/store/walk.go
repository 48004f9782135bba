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

// beneath is the prefix under which Badger has the rows of the walk: a strip that begins before the prefix
// may reach into it where that goes into a row's number.
func (w walk) beneath() []byte {
	if machine.Numbered(w.prefix) {
		return w.prefix[:len(w.prefix)-numberBytes]
	}
	return w.prefix
}

// passes tells whether a row comes before those of the walk, in its direction.
func (w walk) passes(key []byte) bool {
	if !w.down {
		return bytes.Compare(key, w.from) < 0
	}
	return w.from != nil && bytes.Compare(key, w.from) > 0 || w.end != nil && bytes.Compare(key, w.end) >= 0
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
		opt.Prefix = rowKey(w.beneath())
	}
	it := txn.NewIterator(opt)
	defer it.Close()
	disk := &diskCursor{w: w, txn: txn, it: it, faults: s.faults}
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
	it btree.IterG[*dirtyRow]
	ok bool
}

func newOverlayCursor(w walk, o *overlay) *overlayCursor {
	c := &overlayCursor{w: w, it: o.order.Iter()}
	if !w.down {
		c.ok = c.it.Seek(&dirtyRow{key: w.from})
		return c
	}
	c.ok = w.from != nil && c.it.Seek(&dirtyRow{key: w.from})
	if !c.ok { // nothing at or above: begin with the last of all
		c.ok = c.it.Last()
	}
	for c.ok && c.w.passes(c.it.Item().key) {
		c.next()
	}
	return c
}

func (c *overlayCursor) row() (dirtyRow, bool) {
	if !c.ok {
		return dirtyRow{}, false
	}
	r := *c.it.Item()
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
	txn    *badger.Txn
	it     *badger.Iterator
	faults *faults
	strip  strip
	left   int // rows of strip still to come
	cur    dirtyRow
	ok     bool
}

func (c *diskCursor) seek() {
	from := rowKey(c.w.from)
	switch {
	case c.w.down && c.w.from == nil:
		from = []byte{rowSpace + 1}
	case !c.w.down && machine.Numbered(c.w.from):
		from = c.start()
	}
	c.it.Seek(from)
	c.next()
}

// start is where an upward walk begins in Badger: at the strip that has its first row, if there is one.
func (c *diskCursor) start() []byte {
	p, ok, err := findStrip(c.txn, c.w.from)
	if err != nil {
		_ = c.faults.report(fmt.Errorf("state: read a row: %w", err))
	}
	if !ok {
		return rowKey(c.w.from)
	}
	return rowKey(p.key)
}

func (c *diskCursor) row() (dirtyRow, bool) { return c.cur, c.ok }

// next goes on to the next row of the walk. Its copy outlives the iterator's next step.
func (c *diskCursor) next() {
	for c.step() {
		if !c.w.passes(c.cur.key) {
			c.ok = bytes.HasPrefix(c.cur.key, c.w.prefix)
			return
		}
	}
	c.ok = false
}

// step goes on to the next row there is.
func (c *diskCursor) step() bool {
	if c.left == 0 {
		if !c.it.Valid() || c.it.Item().Key()[0] != rowSpace {
			return false
		}
		var err error
		if c.strip, err = readStrip(c.it.Item()); err != nil {
			_ = c.faults.report(fmt.Errorf("state: read a row: %w", err))
			return false
		}
		c.left = len(c.strip.values)
		c.it.Next()
	}
	i := len(c.strip.values) - c.left
	if c.w.down {
		i = c.left - 1
	}
	c.left--
	c.cur = dirtyRow{key: c.strip.at(i), value: c.strip.values[i]}
	return true
}
