package sim

import (
	"crypto/ed25519"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

const replicas = 2

// town is one circle: an ideal log, two replicas that apply it, and the node of the one that leads.
type town struct {
	s      *sim
	name   string
	key    ed25519.PrivateKey
	id     letter.CircleID
	people []string // person ids; the first founded the circle
	codes  []string // receiving codes ever chosen

	log      [][]byte
	prints   []uint64 // the state's fingerprint after each log entry, as first seen
	replicas [replicas]*replica
	lead     int
	books    *books // the auditor's
	seen     seen

	up       bool
	skew     int64 // of the leading node's clock, milliseconds
	stamp    int64 // of the newest command proposed
	inflight []proposal
	then     []func(machine.Outcome) // by log entry: who waits for its outcome
	nx       courier.Nonce
	courier  *courier.Courier
	told     map[uint64]func(msg any) // by request: who waits for its answer

	recalling map[letter.CircleID]bool
	asking    map[payment.TID]bool
	telling   map[string]telling         // of moves
	asksRound bool                       // what is next
	toldIn    map[string]courier.Nonce   // in which life of the other circle
	reported  map[letter.CircleID]uint64 // the hub's epoch in which it took our report about them

	officeAsked bool
	base        int    // log entries before the run
	left        copyOf // of the time before the last restore
	restored    bool   // by an operator, who opens a new epoch
	epoch       uint64
	outs        []machine.Outcome // by log entry, for the auditor to go back
}

// proposal is a command on its way into the log.
type proposal struct {
	raw  []byte
	then func(machine.Outcome)
}

func (t *town) leader() *replica { return t.replicas[t.lead] }

// state is what the leading replica has applied.
func (t *town) state() machine.Reader { return t.leader().kv }

// clock is what the leading node's clock says.
func (t *town) clock() int64 { return clockStart + t.s.now + t.skew }

// stamped returns a command's bytes with the leader's time in it, never earlier than the one before.
func (t *town) stamped(c machine.Command) []byte {
	t.stamp = max(t.stamp, t.clock())
	c.At = t.stamp
	raw, err := c.Encode()
	if err != nil {
		t.s.fail("setup", "a command cannot be encoded: %v", err)
	}
	return raw
}

// propose has a command logged; then is called with its outcome unless the node crashes first.
func (t *town) propose(c machine.Command, then func(machine.Outcome)) {
	t.inflight = append(t.inflight, proposal{raw: t.stamped(c), then: then})
	delay := t.s.dice.between(1, 12)
	if !t.s.calm && t.s.dice.chance(20) {
		delay += t.s.dice.between(50, 800) // a slow disk, or an election
	}
	t.s.after(delay, func() {
		if len(t.inflight) > 0 {
			t.commit(t.inflight[0])
			t.inflight = t.inflight[1:]
		}
	})
}

// commit puts a command at the end of the log, and has the replicas apply it a little later, each in its
// own time.
func (t *town) commit(p proposal) {
	t.log, t.then = append(t.log, p.raw), append(t.then, p.then)
	end := len(t.log)
	for i := range t.replicas {
		if t.s.alone() && i != t.lead {
			continue
		}
		lag := t.s.dice.between(0, 6)
		if i != t.lead {
			lag = t.s.dice.between(0, 400)
		}
		t.s.after(lag, func() { t.catchUp(i, end) })
	}
}

// catchUp applies the log on one replica up to an entry.
func (t *town) catchUp(which, end int) {
	r := t.replicas[which]
	if !t.up && which == t.lead {
		return // it applies all there is when it starts
	}
	end = min(end, len(t.log)) // it may have been put back
	if r.applied >= end {
		return
	}
	for r.applied < end {
		t.apply(which)
	}
	if which == t.lead {
		t.work()
	}
}

// apply applies the next log entry on one replica, and looks at what that did.
func (t *town) apply(which int) {
	r, s := t.replicas[which], t.s
	i := r.applied
	r.applied++
	if s.skips(t, which, t.log[i]) {
		s.comparePrints(t, which, i)
		return
	}
	r.kv.wrote = r.kv.wrote[:0]
	out, err := s.machine.Apply(r.kv, t.log[i])
	if err != nil {
		s.fail("replicas", "%s: replica %d stopped at entry %d: %v", t.name, which, i, err)
		return
	}
	s.afterApply(t, r, out)
	if out.Refusal != nil && r.kv.changed() {
		s.fail("refusal", "%s: entry %d (%s) was refused (%s) and changed the state", t.name, i, out.Kind,
			out.Refusal.Code)
	}
	s.comparePrints(t, which, i)
	if which != t.lead {
		return
	}
	s.note(t.name, "applied", out.Kind+" "+codeOf(out), int64(i), int64(out.Position))
	if t.books.judged == i {
		t.outs = append(t.outs[:i], out)
		s.res.Seen[out.Kind+" "+codeOf(out)]++
		if out.Refusal != nil {
			s.res.Refused++
		}
		t.books.follow(t.log[i], out)
	}
	if then := t.then[i]; then != nil {
		t.then[i] = nil
		then(out)
	}
}

func codeOf(out machine.Outcome) string {
	if out.Refusal == nil {
		return "done"
	}
	return out.Refusal.Code
}
