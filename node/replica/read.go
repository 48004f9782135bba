package replica

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// View answers a view for a caller, from this replica's state; on a replica that does not lead, that may be
// an older one. set fills the query in; nil: an empty query. Refusals are errors of type *machine.Error.
func (r *Replica) View(ctx context.Context, by machine.Caller, name string,
	set func(query any) error,
) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("view %s: %w", name, err)
	}
	var answer any
	err := r.Read(func(state machine.Reader) error {
		now := max(r.cfg.Now().UnixMilli(), machine.ReadMeta(state).At)
		var err error
		answer, err = r.cfg.Machine.View(machine.Read{Reader: state, Caller: by, Now: now}, name, set)
		return err
	})
	return answer, err
}

// Read gives fn the state as it is between two commands. Nothing is applied until fn returns, so it must be
// quick, must not keep the rows, and must not call the replica.
func (r *Replica) Read(fn func(state machine.Reader) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if err := r.hasStopped(); err != nil {
		return err
	}
	return fn(r.cfg.State)
}

// Leads tells whether this replica leads its circle, as far as it knows.
func (r *Replica) Leads() bool { return r.hasStopped() == nil && r.raft.State() == raft.Leader }

// Status is where a replica stands.
type Status struct {
	ID            string
	State         string // Leader, Follower, Candidate or Shutdown
	Leader        string // id of the replica that leads; empty: none is known
	Term          uint64
	Commit        uint64 // index of the newest log entry known to be committed
	Applied       uint64 // index of the newest log entry in the state
	Position      uint64 // commands in the journal
	Rules         uint32 // the rules version in force
	SnapshotIndex uint64 // log index of the newest snapshot, 0: none
	SnapshotAt    time.Time
	Err           error // why it has stopped, nil while it runs
}

// Status returns where the replica stands. It works on a stopped replica too, without Applied and Position.
func (r *Replica) Status() Status {
	_, id := r.raft.LeaderWithID()
	s := Status{
		ID: r.cfg.ID, State: r.raft.State().String(), Leader: string(id),
		Term: r.raft.CurrentTerm(), Commit: r.raft.CommitIndex(),
		SnapshotIndex: snapshotIndex(r.raft),
	}
	if at := r.snapshotAt.Load(); at > 0 {
		s.SnapshotAt = time.UnixMilli(at)
	}
	s.Err = r.Read(func(state machine.Reader) error {
		s.Applied = r.cfg.State.Applied()
		meta := machine.ReadMeta(state)
		s.Position, s.Rules = meta.Position, meta.RulesVersion
		return nil
	})
	return s
}

func snapshotIndex(r *raft.Raft) uint64 {
	n, err := strconv.ParseUint(r.Stats()["last_snapshot_index"], 10, 64)
	if err != nil {
		panic(fmt.Errorf("raft's last_snapshot_index is no number: %w", err))
	}
	return n
}

// Watch returns a channel of the events of commands applied here from now on, in order, and a function that
// ends it. Events wait in one batch until they are received; who is slow loses the oldest. An empty batch
// says that the state was replaced as a whole: look again. The channel is closed at the end.
func (r *Replica) Watch() (<-chan []machine.Event, func()) { return r.watches.add() }

// watches is everyone who watches. A channel holds one batch and only publish sends on it, under the lock,
// so sending never waits.
type watches struct {
	mu     sync.Mutex
	all    []chan []machine.Event
	closed bool
}

func (w *watches) add() (<-chan []machine.Event, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan []machine.Event, 1)
	if w.closed {
		close(ch)
		return ch, func() {}
	}
	w.all = append(w.all, ch)
	return ch, func() { w.remove(ch) }
}

func (w *watches) remove(ch chan []machine.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.all, ch); i >= 0 {
		w.all = slices.Delete(w.all, i, i+1)
		close(ch)
	}
}

// publish gives events to everyone; nil: nothing to tell.
func (w *watches) publish(events []machine.Event) {
	if events == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.all {
		batch := events
		select {
		case unread := <-ch:
			batch = slices.Concat(unread, events)
		default:
		}
		if over := len(batch) - maxEventsWaited; over > 0 {
			batch = batch[over:]
		}
		ch <- batch
	}
}

func (w *watches) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.all {
		close(ch)
	}
	w.all, w.closed = nil, true
}
