package machine

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// Tally takes a state's rows one by one, in key order, and finds out what they make: their hash, as
// StateHash does, and where their journal ends. It is for states that pass by and are never held.
type Tally struct {
	state    hash.Hash
	position uint64
	head     Hash
	broken   bool
	meta     Meta
}

// NewTally returns a Tally that has seen no row.
func NewTally() *Tally { return &Tally{state: sha256.New()} }

// Add takes the next row.
func (t *Tally) Add(key, value []byte) {
	switch {
	case bytes.HasPrefix(key, tablePrefix):
		hashRow(t.state, key, value)
	case bytes.HasPrefix(key, journalPrefix):
		t.position++
		t.broken = t.broken || !bytes.Equal(key, journalKey(t.position))
		t.head = ChainHash(t.head, value)
	case bytes.Equal(key, metaKey):
		mustDecode(value, &t.meta)
	}
}

// Meta returns where the state says it stands, and whether its journal has every command up to there and
// makes the same chain.
func (t *Tally) Meta() (meta Meta, proved bool) {
	return t.meta, !t.broken && t.position == t.meta.Position && t.head == t.meta.Head
}

// StateHash returns what StateHash returns of a state with these rows.
func (t *Tally) StateHash() Hash { return Hash(t.state.Sum(nil)) }
