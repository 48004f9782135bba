package replica

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// Do has the circle do a command and returns what came of it. A refusal is an Outcome; one that no state
// could accept is not even logged. An error says that there is no outcome: ErrUnknown asks for another try
// with the same id, ErrNotLeader alone says that nothing was proposed. Do waits at most ten seconds.
//
// The time in c is overwritten: a later command never gets an earlier one.
func (r *Replica) Do(ctx context.Context, c machine.Command) (machine.Outcome, error) {
	c.At = r.stamps.next(r.cfg.Now().UnixMilli())
	raw, err := r.cfg.Machine.Ready(c) // stamped, for that is what must be readable in the log
	if err != nil {
		return machine.Outcome{Kind: c.Kind, Refusal: machine.AsError(err)}, nil
	}
	if r.cfg.Machine.NeedsVersion(c.Kind) {
		err := r.Read(func(state machine.Reader) error { return r.cfg.Machine.InForce(state, c.Kind) })
		var refusal *machine.Error
		if errors.As(err, &refusal) {
			return machine.Outcome{Kind: c.Kind, Refusal: refusal}, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, doLimit)
	defer cancel()
	out, err := r.await(ctx, raw, &c)
	if err != nil {
		return machine.Outcome{}, fmt.Errorf("do %s: %w", c.Kind, err)
	}
	return out, nil
}

// Ready returns once the circle has a leader and this replica has applied everything that was answered
// before.
func (r *Replica) Ready(ctx context.Context) error {
	if err := r.Fresh(ctx); err != nil {
		return fmt.Errorf("replica %s is not ready (%s): %w", r.cfg.ID, r.raft.State(), err)
	}
	return nil
}

// otherLeader returns the id of the replica that leads, empty if it is this one or none is known.
func (r *Replica) otherLeader() string {
	_, id := r.raft.LeaderWithID()
	if string(id) == r.cfg.ID {
		return ""
	}
	return string(id)
}

// await proposes bytes until they have been applied here, or on the leader, and returns the outcome. The
// same bytes may well be logged twice: the machine answers the command once.
//
// Raft's futures are not waited for: some are never answered when raft stops, and nothing can be done
// about a goroutine that waits for one. The state machine itself wakes who waits for the bytes it applied.
func (r *Replica) await(ctx context.Context, raw []byte, c *machine.Command) (machine.Outcome, error) {
	answer := r.waiting.add(raw)
	defer r.waiting.remove(raw, answer)
	a := attempt{r: r, ctx: ctx, raw: raw, command: c, answer: answer}
	out, err := a.run()
	select {
	case out = <-answer: // it came in the last moment
		return out, nil
	default:
		return out, err
	}
}

// attempt is one command on its way.
type attempt struct {
	r         *Replica
	ctx       context.Context
	raw       []byte
	command   *machine.Command // nil for a mark, which is not forwarded
	answer    <-chan machine.Outcome
	proposals int
}

func (a *attempt) run() (machine.Outcome, error) {
	for a.proposals < maxProposals {
		changed := a.r.pulse.changed()
		var out *machine.Outcome
		var err error
		if a.r.raft.State() == raft.Leader {
			out, err = a.propose(changed)
		} else if leader := a.r.otherLeader(); leader != "" {
			out, err = a.forward(changed, leader)
		} else {
			out, err = a.wait(changed, leaderPoll)
		}
		if err != nil {
			return machine.Outcome{}, err
		}
		if out != nil {
			return *out, nil
		}
	}
	return machine.Outcome{}, a.giveUp(fmt.Errorf("proposed %d times without an answer", a.proposals))
}

// propose has the bytes proposed and waits: for the answer, another leader, or the time to try again.
func (a *attempt) propose(changed <-chan struct{}) (*machine.Outcome, error) {
	term, again := a.r.raft.CurrentTerm(), time.Now().Add(proposeAgain)
	if err := a.hand(); err != nil {
		return nil, a.giveUp(err)
	}
	a.proposals++
	out, err := a.wait(changed, time.Until(again))
	for out == nil && err == nil && a.r.leads(term) && time.Now().Before(again) {
		changed = a.r.pulse.changed() // what turned is that this replica leads: it was not told before
		out, err = a.wait(changed, time.Until(again))
	}
	if out == nil {
		if quiet := a.r.pulse.quiet(); quiet >= stuckAfter {
			a.r.fail(fmt.Errorf("leading, yet nothing was applied for %v: the disk hangs, or raft is stuck"+
				" in a leadership transfer; start again", quiet.Round(time.Second)))
		}
	}
	return out, err
}

func (r *Replica) leads(term uint64) bool {
	return r.raft.State() == raft.Leader && r.raft.CurrentTerm() == term
}

// hand gives a mark to raft at once, and a command to the proposer, which bundles it with others.
func (a *attempt) hand() error {
	if a.command == nil {
		a.r.handToRaft(a.raw)
		return nil
	}
	return a.r.proposer.add(a.raw)
}

// handToRaft proposes an entry. It may wait while raft is busy.
func (r *Replica) handToRaft(entry []byte) {
	r.pulse.proposed()
	r.raft.Apply(entry, proposeAgain)
}

// forward asks the leader.
func (a *attempt) forward(changed <-chan struct{}, leader string) (*machine.Outcome, error) {
	if a.command == nil || a.r.cfg.Forward == nil {
		return nil, a.giveUp(fmt.Errorf("%w: %s does", ErrNotLeader, leader))
	}
	out, err := a.r.cfg.Forward(a.ctx, leader, *a.command)
	if err == nil {
		return &out, nil
	}
	if !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknown) {
		a.proposals++ // it may have been proposed there
	}
	return a.wait(changed, leaderPoll)
}

// wait returns the answer, or nil once it is time to look again.
func (a *attempt) wait(changed <-chan struct{}, d time.Duration) (*machine.Outcome, error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case out := <-a.answer:
		return &out, nil
	case <-changed:
		return nil, nil
	case <-t.C:
		return nil, nil
	case <-a.ctx.Done():
		return nil, a.giveUp(fmt.Errorf("no answer in time: %w", a.ctx.Err()))
	case <-a.r.stopped:
		return nil, a.giveUp(a.r.cause)
	}
}

// giveUp says whether anything may come of the command yet.
func (a *attempt) giveUp(cause error) error {
	switch {
	case a.proposals > 0:
		return fmt.Errorf("%w (%w)", ErrUnknown, cause)
	case errors.Is(cause, ErrNotLeader), errors.Is(cause, ErrStopped), errors.Is(cause, errBusy):
		return cause
	default:
		return fmt.Errorf("%w and none is found: nothing was proposed, try again (%w)", ErrNotLeader, cause)
	}
}

// newMark makes a log entry that says nothing to the machine: who proposes one and sees it applied knows
// that everything before it is. Its first byte begins no command. Raft's own barriers would do, but for
// their futures, and they have an index that the state never hears of.
func newMark() []byte {
	mark := make([]byte, 1+markBytes)
	_, _ = rand.Read(mark[1:]) // cannot fail
	return mark
}

func isMark(data []byte) bool { return len(data) > 0 && data[0] == markByte }

// stamps gives out ledger times, Unix milliseconds, that never go back.
type stamps struct {
	mu   sync.Mutex
	last int64
}

func (s *stamps) next(now int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, now)
	return s.last
}

// raise notes a time that was applied.
func (s *stamps) raise(at int64) { s.next(at) }

// waiting is who waits for which bytes to be applied. Two may wait for the same.
type waiting struct {
	seed maphash.Seed
	mu   sync.Mutex
	by   map[uint64][]waiter // by a hash of the bytes
}

type waiter struct {
	raw    []byte
	answer chan machine.Outcome
}

func (w *waiting) init() { w.seed, w.by = maphash.MakeSeed(), map[uint64][]waiter{} }

func (w *waiting) add(raw []byte) <-chan machine.Outcome {
	key := maphash.Bytes(w.seed, raw)
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan machine.Outcome, 1)
	w.by[key] = append(w.by[key], waiter{raw: raw, answer: ch})
	return ch
}

func (w *waiting) remove(raw []byte, ch <-chan machine.Outcome) {
	key := maphash.Bytes(w.seed, raw)
	w.mu.Lock()
	defer w.mu.Unlock()
	left := slices.DeleteFunc(w.by[key], func(x waiter) bool { return x.answer == ch })
	if len(left) == 0 {
		delete(w.by, key)
		return
	}
	w.by[key] = left
}

func (w *waiting) tell(raw []byte, out machine.Outcome) {
	key := maphash.Bytes(w.seed, raw)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.by[key] {
		if !bytes.Equal(x.raw, raw) {
			continue
		}
		select {
		case x.answer <- out:
		default: // it was told the first time, and has not gone yet
		}
	}
}

// pulse is whether the replica gets on: when leadership turned, and since when proposals went unanswered.
type pulse struct {
	mu         sync.Mutex
	turned     chan struct{} // closed at the next change of leadership
	unanswered time.Time     // zero: nothing proposed since something was last applied
}

func (p *pulse) init() { p.turned = make(chan struct{}) }

// changed returns a channel that is closed when this replica next wins or loses leadership.
func (p *pulse) changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turned
}

func (p *pulse) turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.turned)
	p.turned = make(chan struct{})
	p.unanswered = time.Time{}
}

func (p *pulse) proposed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unanswered.IsZero() {
		p.unanswered = time.Now()
	}
}

func (p *pulse) applied() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unanswered = time.Time{}
}

func (p *pulse) quiet() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unanswered.IsZero() {
		return 0
	}
	return time.Since(p.unanswered)
}
