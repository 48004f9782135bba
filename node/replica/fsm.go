package replica

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// fsm is the replica as raft drives it, on one goroutine. A panic in here is meant to end the process.
type fsm struct {
	r      *Replica
	seen   uint64 // index of the newest entry given to us; the state may be ahead while the log is replayed
	failed bool   // the state must not be touched any more
	last   *snapshot
}

var _ raft.BatchingFSM = (*fsm)(nil)

// Apply implements raft.FSM.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. Nobody waits for raft's answers, see await: they are nil, or the
// error that has stopped this replica.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	if f.failed {
		for i := range answers {
			answers[i] = ErrStopped
		}
		return answers
	}
	var done []applied
	err := f.r.disk.waitFor(logs[len(logs)-1].Index)
	if err == nil {
		done, err = f.applyAll(logs)
	}
	f.r.applied.Store(f.r.cfg.State.Applied())
	f.r.progress.made()
	f.r.pulse.applied()
	var events []machine.Event
	for _, d := range done {
		f.r.waiting.tell(d.raw, d.out)
		events = append(events, d.out.Events...)
	}
	f.r.watches.publish(events)
	if err != nil {
		f.failed = true
		f.r.fail(err)
		answers[len(answers)-1] = err
	}
	return answers
}

// applied is one command, or mark, and what came of it.
type applied struct {
	raw []byte
	out machine.Outcome
}

// applyAll applies entries up to the first that cannot be.
func (f *fsm) applyAll(logs []*raft.Log) (done []applied, err error) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	state := f.r.cfg.State
	for _, l := range logs {
		f.seen = l.Index
		if l.Index <= state.Applied() {
			continue
		}
		if l.Type == raft.LogCommand { // others are changes of replicas: raft's own business
			if done, err = f.applyEntry(l.Data, done); err != nil {
				return done, fmt.Errorf("apply log entry %d: %w", l.Index, err)
			}
		}
		state.Commit(l.Index) // one by one: a commit has a limited size
		if l.Type == raft.LogCommand && isScrub(l.Data) {
			if err := f.r.scrubs.take(state, l.Index, l.Data); err != nil {
				return done, err
			}
		}
	}
	f.r.stamps.raise(machine.ReadMeta(state).At)
	return done, nil
}

// applyEntry applies the commands of one entry and appends what came of them to done.
func (f *fsm) applyEntry(data []byte, done []applied) ([]applied, error) {
	if isMark(data) || isScrub(data) {
		return append(done, applied{raw: data}), nil
	}
	t, commands, err := openBundle(data)
	if err != nil {
		return done, fmt.Errorf("%w: %w", machine.ErrStop, err)
	}
	for _, raw := range commands {
		out, err := f.r.cfg.Machine.Apply(f.r.cfg.State, raw)
		if err != nil {
			return done, err
		}
		done = append(done, applied{raw: raw, out: out})
	}
	f.r.proposer.applied(t)
	return done, nil
}

// Snapshot implements raft.FSM.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	state := f.r.cfg.State
	switch {
	case f.failed:
		return nil, ErrStopped
	case f.seen < state.Applied():
		return nil, fmt.Errorf("snapshot: the log is replayed up to entry %d, the state is at %d: try later",
			f.seen, state.Applied())
	}
	// Raft will drop log entries on the strength of this snapshot and will not restore it at start, so
	// the state on disk must never be older.
	err := state.Sync()
	var snap Snap
	if err == nil {
		snap, err = state.Snapshot()
	}
	if err != nil {
		err = fmt.Errorf("snapshot at log entry %d: %w", state.Applied(), err)
		f.failed = true
		f.r.fail(err)
		return nil, err
	}
	f.last = &snapshot{r: f.r, snap: snap}
	return f.last, nil
}

// Restore implements raft.FSM: another replica's snapshot replaces the state.
func (f *fsm) Restore(from io.ReadCloser) error {
	if f.last != nil {
		f.last.Release() // one that nobody has begun to write would keep the old state open
	}
	if err := f.restore(from); err != nil {
		f.failed = true // half of the old state, half of the new
		f.r.fail(err)
		return err
	}
	f.r.applied.Store(f.r.cfg.State.Applied())
	f.r.progress.made()
	f.r.pulse.applied()
	f.r.watches.publish([]machine.Event{})
	return nil
}

func (f *fsm) restore(from io.Reader) error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.frozen.closeAll()
	if err := f.r.cfg.Restore(from); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	if err := machine.Understood(f.r.cfg.State); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	f.seen = f.r.cfg.State.Applied()
	f.r.stamps.raise(machine.ReadMeta(f.r.cfg.State).At)
	return nil
}

// snapshot is written by a goroutine of its own while entries are applied.
type snapshot struct {
	r    *Replica
	mu   sync.Mutex
	snap Snap // nil once closed
}

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.New("another replica's snapshot took its place")
	if s.snap != nil {
		_, err = s.snap.WriteTo(sink)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a snapshot: %w", err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish a snapshot: %w", err)
	}
	s.r.snapshotAt.Store(s.r.cfg.Now().UnixMilli())
	return nil
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snap != nil {
		s.snap.Close()
		s.snap = nil
	}
}
