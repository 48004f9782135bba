package store

import (
	"bytes"

	"github.com/tidwall/btree"
)

// dirtyRow is a changed row not yet flushed; gone means it was deleted, fresh that the disk has no such row.
type dirtyRow struct {
	key, value  []byte
	gone, fresh bool
}

func (r *dirtyRow) size() int { return len(r.key) + len(r.value) + RowOverheadBytes }

// overlay is changed rows: found by their key at once, and walked in order.
type overlay struct {
	rows  map[string]*dirtyRow
	order *btree.BTreeG[*dirtyRow]
}

func newOverlay() *overlay {
	less := func(a, b *dirtyRow) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &overlay{
		rows: map[string]*dirtyRow{}, order: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}),
	}
}

// set puts a row in the place of one that may be there, and returns by how many bytes there are more now.
func (o *overlay) set(r dirtyRow) (more int) {
	old, had := o.rows[string(r.key)]
	if had {
		more = r.size() - old.size()
		r.key, r.fresh = old.key, old.fresh // the disk has it or has it not, whatever was set since
		*old = r
		return more
	}
	o.rows[string(r.key)] = &r
	o.order.Set(&r)
	return r.size()
}

// scan calls fn for the rows in the order of their keys until it returns false.
func (o *overlay) scan(fn func(r *dirtyRow) bool) { o.order.Scan(fn) }

func (o *overlay) len() int { return len(o.rows) }

// layers are the rows not yet known to be on disk: those changed since the last flush began over those that
// it is writing, nil where there is none.
type layers struct{ changed, writing *overlay }

// get looks a key up, the newest layer first; nil: it is in none.
func (l *layers) get(key []byte) *dirtyRow {
	r := l.changed.rows[string(key)]
	if r == nil && l.writing != nil {
		r = l.writing.rows[string(key)]
	}
	return r
}
