package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A leader need not have its own disk's word before it sends entries to the others: the two may take their
// time beside each other (Ongaro, Consensus: Bridging Theory and Practice, 10.2.1). Raft stores them first
// and counts the leader in as soon as StoreLogs returns. So here StoreLogs returns when they are written,
// and what raft makes of it is held back until they are synced: the state machine gets an entry only then, so
// that nobody is answered before, and the others hear of its commit only then, see lateTransport.
//
// An entry is thereby as good as committed when raft says so and this disk has it, which is when a majority
// of disks has. Another leader cannot count in what this one has not synced: it commits old entries by one of
// its own term only, and storing that here syncs all before it. What changes the replicas, and what a new
// leader begins with, is synced at once: raft itself acts on those.

// lateLog is a Store that can leave the sync of entries for later; store.Log says what it promises.
type lateLog interface {
	WriteLogs(entries []*raft.Log) error
	Sync() error
}

// late follows the sync of what was written last.
type late struct {
	log    lateLog // nil: every write is synced at once
	leads  atomic.Bool
	mu     sync.Mutex
	moved  *sync.Cond // on mu: syncing or synced has changed
	busy   bool       // a sync is under way
	synced uint64     // index of the newest entry that is synced
	err    error      // why that can no longer be told
}

// leaveSyncs makes the store leave syncs for later where it can, and returns the transport that goes with it.
func (s *timedStore) leaveSyncs(t raft.Transport) raft.Transport {
	below, able := s.Store.(lateLog)
	whole, fits := t.(transport)
	if !able || !fits {
		return t
	}
	s.late.log = below
	return lateTransport{whole, s.upTo}
}

// follow has raft say, on the goroutine that stores entries, that it leads or no more.
func (s *timedStore) follow(r *raft.Raft) {
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if state, ok := o.Data.(raft.RaftState); ok {
			s.late.leads.Store(state == raft.Leader)
		}
		return false
	}))
}

// mayWait tells whether the sync of entries may be left for later.
func (s *timedStore) mayWait(logs []*raft.Log) bool {
	if s.late.log == nil || !s.late.leads.Load() {
		return false
	}
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			return false
		}
	}
	return true
}

// storeLate writes entries and has them synced beside whatever is next.
func (s *timedStore) storeLate(logs []*raft.Log, began time.Time) error {
	s.late.begin(logs[0].Index)
	last := logs[len(logs)-1].Index
	if err := s.late.log.WriteLogs(logs); err != nil {
		s.late.end(last, err)
		return s.wroteAll(0, began, err)
	}
	go func() {
		err := s.late.log.Sync()
		_ = s.wroteAll(len(logs), began, err) // an error has stopped this replica
		s.late.end(last, err)
	}()
	return nil
}

// begin says that everything before entry first is synced, and what is not yet.
func (l *late) begin(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.synced = true, first-1
}

func (l *late) end(last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	if err != nil {
		l.err = err
	} else {
		l.synced = last
	}
	l.moved.Broadcast()
}

// settle waits until everything stored is synced.
func (s *timedStore) settle() error {
	s.late.mu.Lock()
	defer s.late.mu.Unlock()
	for s.late.busy {
		s.late.moved.Wait()
	}
	return s.late.err
}

// waitFor waits until an entry that was stored is synced.
func (s *timedStore) waitFor(index uint64) error {
	s.late.mu.Lock()
	defer s.late.mu.Unlock()
	for s.late.busy && s.late.synced < index {
		s.late.moved.Wait()
	}
	return s.late.err
}

// upTo returns the newest of the entries up to index that is synced.
func (s *timedStore) upTo(index uint64) uint64 {
	s.late.mu.Lock()
	defer s.late.mu.Unlock()
	if s.late.busy || s.late.err != nil {
		return min(index, s.late.synced)
	}
	return index
}

// lateTransport tells the others of no commit that this disk does not have.
type lateTransport struct {
	transport
	upTo func(index uint64) uint64
}

// transport is all that raft looks for in one.
type transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// AppendEntries implements raft.Transport.
func (t lateTransport) AppendEntries(id raft.ServerID, at raft.ServerAddress, args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse,
) error {
	args.LeaderCommitIndex = t.upTo(args.LeaderCommitIndex)
	return t.transport.AppendEntries(id, at, args, resp)
}

// AppendEntriesPipeline implements raft.Transport.
func (t lateTransport) AppendEntriesPipeline(id raft.ServerID, at raft.ServerAddress) (
	raft.AppendPipeline, error,
) {
	p, err := t.transport.AppendEntriesPipeline(id, at)
	if err != nil {
		return nil, err
	}
	return latePipeline{p, t.upTo}, nil
}

type latePipeline struct {
	raft.AppendPipeline
	upTo func(index uint64) uint64
}

// AppendEntries implements raft.AppendPipeline.
func (p latePipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (
	raft.AppendFuture, error,
) {
	args.LeaderCommitIndex = p.upTo(args.LeaderCommitIndex)
	return p.AppendPipeline.AppendEntries(args, resp)
}
