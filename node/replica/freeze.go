package replica

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// errFrozenGone is why a Frozen can end early.
var errFrozenGone = errors.New("the replica was stopped, or its state replaced: begin again")

// Frozen is the state as it was between two commands, to be written out while the replica goes on. Close
// it. It ends early when the replica is closed or its state replaced as a whole.
type Frozen struct {
	Index uint64 // of the newest log entry in the state
	Term  uint64 // at least that entry's
	Meta  machine.Meta

	r    *Replica
	gone atomic.Bool
	mu   sync.Mutex
	snap Snap // nil once closed
}

// Freeze fixes the state between two commands. look, if not nil, sees it as well: it must be as quick as
// the fn of Read.
func (r *Replica) Freeze(look func(state machine.Reader) error) (*Frozen, error) {
	f := &Frozen{r: r}
	err := r.Read(func(state machine.Reader) error {
		f.Meta = machine.ReadMeta(state)
		if look != nil {
			if err := look(state); err != nil {
				return err
			}
		}
		f.Index, f.Term = r.cfg.State.Applied(), r.raft.CurrentTerm()
		var err error
		if f.snap, err = r.cfg.State.Snapshot(); err == nil {
			r.frozen.add(f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("freeze the state: %w", err)
	}
	return f, nil
}

// WriteTo writes the state in the format of the replica's snapshots before they are sealed.
func (f *Frozen) WriteTo(w io.Writer) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.snap == nil {
		return 0, errFrozenGone
	}
	return f.snap.WriteClear(untilGone{w: w, f: f})
}

// Close gives the view back; further calls do nothing. A WriteTo under way ends with its next write.
func (f *Frozen) Close() {
	f.gone.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.snap != nil {
		f.snap.Close()
		f.snap = nil
		f.r.frozen.remove(f)
	}
}

// untilGone is a writer that fails once the Frozen is to be closed.
type untilGone struct {
	w io.Writer
	f *Frozen
}

func (u untilGone) Write(p []byte) (int, error) {
	if u.f.gone.Load() {
		return 0, errFrozenGone
	}
	return u.w.Write(p)
}

// frozenSet is every Frozen that is open.
type frozenSet struct {
	mu  sync.Mutex
	all map[*Frozen]struct{}
}

func (s *frozenSet) add(f *Frozen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*Frozen]struct{}{}
	}
	s.all[f] = struct{}{}
}

func (s *frozenSet) remove(f *Frozen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, f)
}

// closeAll ends what is open; Freeze must be kept out meanwhile.
func (s *frozenSet) closeAll() {
	s.mu.Lock()
	open := make([]*Frozen, 0, len(s.all))
	for f := range s.all {
		open = append(open, f)
	}
	s.mu.Unlock()
	for _, f := range open {
		f.Close()
	}
}

// currentTerm is where raft keeps the newest term it has seen.
var currentTerm = []byte("CurrentTerm")

// Seed makes the stores of a replica that never ran begin with a snapshot, as the only replica of its
// circle: the next Open restores it, and the log goes on above index and term. Of cfg it needs ID, Log,
// Dir or Snapshots, and the Transport if Open will have one.
func Seed(cfg Config, index, term uint64, from io.Reader) error {
	if err := seed(cfg, index, term, from); err != nil {
		return fmt.Errorf("begin replica %s with a snapshot: %w", cfg.ID, err)
	}
	return nil
}

func seed(cfg Config, index, term uint64, from io.Reader) error {
	if index == 0 || term == 0 {
		return fmt.Errorf("index %d and term %d: there are none before 1", index, term)
	}
	cfg = cfg.withQuietDefaults()
	snaps, err := cfg.snapshots()
	if err != nil {
		return err
	}
	used, err := raft.HasExistingState(cfg.Log, cfg.Log, snaps)
	if err != nil {
		return err
	}
	if used {
		return errors.New("its stores are in use: take an empty directory")
	}
	if err := cfg.Log.SetUint64(currentTerm, term); err != nil {
		return err
	}
	self := raft.Server{ID: raft.ServerID(cfg.ID), Address: cfg.Transport.LocalAddr()}
	alone := raft.Configuration{Servers: []raft.Server{self}}
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, alone, index, cfg.Transport)
	if err != nil {
		return err
	}
	if _, err := io.Copy(sink, from); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}
