package machine

import (
	"bytes"

	"github.com/tidwall/btree"
)

// Reader is a circle's state as rules and views read it: rows under byte keys, in key order.
// Slices handed out must not be changed. What Get hands out stays as it is for good; what a walk hands out
// holds only until the next write. The prefix and the beginning of a walk end where a part of a key ends.
type Reader interface {
	// Get returns the row under key.
	Get(key []byte) (value []byte, ok bool)
	// Ascend calls fn for the rows whose key has the prefix and is at or after from (nil: the first),
	// smallest key first, until fn returns false. The state must not be written meanwhile.
	Ascend(prefix, from []byte, fn func(key, value []byte) bool)
	// Descend is Ascend from the far end: keys at or before from (nil: the last), largest key first.
	Descend(prefix, from []byte, fn func(key, value []byte) bool)
}

// KV is a Reader that can be written. Writes cannot fail: a store that meets a storage error ends the
// process, since a circle must not go on from a state it may not have.
type KV interface {
	Reader
	// Set puts value under key; both are kept, the caller must not change them afterwards.
	Set(key, value []byte)
	// Delete removes the row under key, if any.
	Delete(key []byte)
}

// Adder is a KV that need not look for an old row where there is none.
type Adder interface {
	// Add is Set where there is no row under key: the caller knows it.
	Add(key, value []byte)
}

// add is Set for a row that is new.
func add(kv KV, key, value []byte) {
	if a, ok := kv.(Adder); ok {
		a.Add(key, value)
		return
	}
	kv.Set(key, value)
}

type row struct{ key, value []byte }

// Mem is a KV in memory: the simulation's, the verifier's and the tests' state.
type Mem struct{ tree *btree.BTreeG[row] }

// NewMem returns an empty Mem. It is for one goroutine at a time.
func NewMem() *Mem {
	less := func(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &Mem{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// Copy returns a Mem of its own with the same rows, at once: what they have in common stays in one place
// until one of them changes it.
func (m *Mem) Copy() *Mem { return &Mem{tree: m.tree.Copy()} }

// Get implements Reader.
func (m *Mem) Get(key []byte) ([]byte, bool) {
	r, ok := m.tree.Get(row{key: key})
	return r.value, ok
}

// Set implements KV.
func (m *Mem) Set(key, value []byte) { m.tree.Set(row{key: key, value: value}) }

// Delete implements KV.
func (m *Mem) Delete(key []byte) { m.tree.Delete(row{key: key}) }

// Ascend implements Reader.
func (m *Mem) Ascend(prefix, from []byte, fn func(key, value []byte) bool) {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	m.tree.Ascend(row{key: from}, func(r row) bool {
		return bytes.HasPrefix(r.key, prefix) && fn(r.key, r.value)
	})
}

// Descend implements Reader.
func (m *Mem) Descend(prefix, from []byte, fn func(key, value []byte) bool) {
	end := PrefixEnd(prefix)
	inPrefix := func(r row) bool {
		if end != nil && bytes.Compare(r.key, end) >= 0 {
			return true // above the prefix: not there yet
		}
		return bytes.HasPrefix(r.key, prefix) && fn(r.key, r.value)
	}
	switch {
	case from != nil:
		m.tree.Descend(row{key: from}, inPrefix)
	case end != nil:
		m.tree.Descend(row{key: end}, inPrefix)
	default:
		m.tree.Reverse(inPrefix)
	}
}

// Len returns how many rows there are.
func (m *Mem) Len() int { return m.tree.Len() }

// PrefixEnd returns the smallest key above every key that has the prefix, nil if there is none.
func PrefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
