package sim

import (
	"bytes"
	"encoding/binary"

	"github.com/carecircle/carecircle/circle/machine"
)

// replica is one copy of a circle's state, and how far it has applied the log.
type replica struct {
	kv        *watched
	applied   int // log entries
	snapshots []snapshot
	origin    snapshot // before the run
}

type snapshot struct {
	state   *machine.Mem
	print   uint64
	applied int
}

// watched is a state that keeps a fingerprint of all its rows, and what one command wrote over.
type watched struct {
	*machine.Mem
	print uint64 // sum over the rows, so that it does not depend on the order of writing
	wrote []written
	pairs int // how often rows about other circles changed
}

type written struct {
	key, value []byte
	had        bool
}

func newWatched() *watched { return &watched{Mem: machine.NewMem()} }

// Set implements machine.KV.
func (w *watched) Set(key, value []byte) {
	w.forget(key)
	w.print += fingerprint(key, value)
	w.Mem.Set(key, value)
}

// Delete implements machine.KV.
func (w *watched) Delete(key []byte) {
	w.forget(key)
	w.Mem.Delete(key)
}

func (w *watched) forget(key []byte) {
	if bytes.HasPrefix(key, []byte("s/exchange.pair")) || bytes.HasPrefix(key, []byte("s/exchange.peer")) ||
		bytes.HasPrefix(key, []byte("s/exchange.life")) {
		w.pairs++
	}
	old, had := w.Get(key)
	if had {
		w.print -= fingerprint(key, old)
	}
	w.wrote = append(w.wrote, written{key: key, value: old, had: had})
}

// changed tells whether the rows that rules can write differ from what they were before the last command.
func (w *watched) changed() bool {
	before, after := machine.NewMem(), machine.NewMem()
	for i := len(w.wrote) - 1; i >= 0; i-- {
		row := w.wrote[i]
		before.Delete(row.key)
		if row.had {
			before.Set(row.key, row.value)
		}
		if now, ok := w.Get(row.key); ok {
			after.Set(row.key, now)
		}
	}
	return machine.StateHash(before) != machine.StateHash(after)
}

// fingerprint hashes one row. It is for finding accidents, not forgeries.
func fingerprint(key, value []byte) uint64 {
	return mix(absorb(absorb(uint64(len(key)), key), value))
}

func absorb(h uint64, b []byte) uint64 {
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}

// keep takes a snapshot to rebuild from later.
func (r *replica) keep() {
	r.snapshots = append(r.snapshots, snapshot{state: r.kv.Copy(), print: r.kv.print, applied: r.applied})
	if len(r.snapshots) > snapshotsKept {
		r.snapshots = r.snapshots[1:]
	}
}

// rebuild puts the replica back to a snapshot, or to nothing: the log is to be applied from there.
func (r *replica) rebuild(from snapshot) {
	r.kv, r.applied = newWatched(), from.applied
	if from.state != nil {
		r.kv.Mem, r.kv.print = from.state.Copy(), from.print
	}
}
