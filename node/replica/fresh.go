package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const verifyLimit = 2 * time.Second // the longest a leader waits for the others to say that it leads

// Fresh returns once this replica has applied everything that was answered before the call, by whichever
// replica: what is read after it is linearizable. It asks the leader, who asks a majority whether it still
// leads; many callers share one asking. It waits for as long as ctx lets it. On error the state may still be
// read, as one that may be out of date.
func (r *Replica) Fresh(ctx context.Context) error {
	var last error
	for {
		changed := r.pulse.changed()
		index, err := r.index(ctx)
		if err == nil {
			return r.reach(ctx, index)
		}
		last = err
		again := time.NewTimer(leaderPoll)
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("read at replica %s: it is not known whether its state is up to date: %w (%w)",
				r.cfg.ID, last, ctx.Err())
		case <-r.stopped:
			return r.cause
		}
		again.Stop()
	}
}

// Index is Fresh's question as the leader answers it: the index of a log entry in its state, at or after all
// that was answered before the call. It returns ErrNotLeader on any other replica.
func (r *Replica) Index(ctx context.Context) (uint64, error) {
	if r.raft.State() != raft.Leader {
		return 0, ErrNotLeader
	}
	if err := r.lead(ctx); err != nil {
		return 0, err
	}
	return r.verifier.ask(ctx, r)
}

func (r *Replica) index(ctx context.Context) (uint64, error) {
	if r.raft.State() == raft.Leader {
		return r.Index(ctx)
	}
	leader := r.otherLeader()
	if leader == "" || r.cfg.AskIndex == nil {
		return 0, ErrNotLeader
	}
	return r.cfg.AskIndex(ctx, leader)
}

// lead makes sure that this leader knows how far the log was committed under the leaders before it: only an
// entry of its own term that was applied tells it.
func (r *Replica) lead(ctx context.Context) error {
	select {
	case r.leading <- struct{}{}: // one mark a term is enough
		defer func() { <-r.leading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	term := r.raft.CurrentTerm()
	if r.led.Load() == term {
		return nil
	}
	if _, err := r.await(ctx, newMark(), nil); err != nil {
		return err
	}
	if r.leads(term) {
		r.led.Store(term)
	}
	return nil
}

// reach waits until the state holds everything up to a log index.
func (r *Replica) reach(ctx context.Context, index uint64) error {
	for {
		progress := r.progress.next()
		if r.applied.Load() >= index {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("read at replica %s: it lags behind the others: %w", r.cfg.ID, ctx.Err())
		case <-r.stopped:
			return r.cause
		}
	}
}

// progress wakes who waits for entries to be applied.
type progress struct {
	mu   sync.Mutex
	wait chan struct{} // nil while nobody waits
}

func (p *progress) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait == nil {
		p.wait = make(chan struct{})
	}
	return p.wait
}

func (p *progress) made() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait != nil {
		close(p.wait)
		p.wait = nil
	}
}

// verifier finds out whether this replica still leads. A round under way may have begun before a caller's
// writes were answered elsewhere, so who comes during one waits for the next, together with the others.
//
// Raft's own VerifyLeader counts answers to heartbeats that were sent before it was asked: after a pause of
// the process those may be seconds old.
type verifier struct {
	mu       sync.Mutex
	underWay bool
	next     *round // not begun; nil while nobody waits
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

func (v *verifier) ask(ctx context.Context, r *Replica) (uint64, error) {
	v.mu.Lock()
	if v.next == nil {
		v.next = &round{done: make(chan struct{})}
	}
	mine := v.next
	if !v.underWay {
		v.underWay = true
		go v.run(r)
	}
	v.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.stopped:
		return 0, r.cause
	}
}

// run does rounds until nobody waits for one.
func (v *verifier) run(r *Replica) {
	for {
		v.mu.Lock()
		mine := v.next
		v.next = nil
		v.underWay = mine != nil
		v.mu.Unlock()
		if mine == nil {
			return
		}
		mine.index, mine.err = r.confirm()
		close(mine.done)
	}
}

// confirm asks the other voters for their term. If with this one a majority is still in the term this
// replica leads, then nobody had been elected after it when it began to ask, and all that was answered until
// then is in its state.
func (r *Replica) confirm() (uint64, error) {
	term, index := r.raft.CurrentTerm(), r.applied.Load() // what is answered is applied before
	voters, others := 0, []string{}
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) != r.cfg.ID {
			others = append(others, string(s.ID))
		}
	}
	need := voters/2 + 1 - (voters - len(others)) // beside this one
	if need > 0 && r.cfg.AskTerm == nil {
		return 0, fmt.Errorf("%w for certain: the others cannot be asked", ErrNotLeader)
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyLimit)
	defer cancel()
	answers := make(chan error, len(others))
	for _, id := range others {
		go func() { answers <- r.inTerm(ctx, id, term) }()
	}
	var last error
	for range others {
		if need <= 0 {
			break
		}
		if err := <-answers; err != nil {
			last = err
			continue
		}
		need--
	}
	if need > 0 {
		return 0, fmt.Errorf("%w for certain: no majority says so: %w", ErrNotLeader, last)
	}
	if !r.leads(term) {
		return 0, ErrNotLeader
	}
	return index, nil
}

func (r *Replica) inTerm(ctx context.Context, id string, term uint64) error {
	theirs, err := r.cfg.AskTerm(ctx, id)
	if err == nil && theirs != term {
		err = fmt.Errorf("%s is in term %d, not %d", id, theirs, term)
	}
	return err
}

// Term returns the term this replica is in: what a leader asks of the others.
func (r *Replica) Term() uint64 { return r.raft.CurrentTerm() }
