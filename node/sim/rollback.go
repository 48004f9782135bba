package sim

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// copyOf is a circle's log at some time, and what came of it.
type copyOf struct {
	log    [][]byte
	prints []uint64
	outs   []machine.Outcome
}

// rollBack puts a circle back to an older copy of all it had, as when all its machines are lost. What it did
// since is known only to its peers. Half the time nobody says so; else an operator has restored a backup, and
// a new epoch begins.
func (t *town) rollBack() {
	s := t.s
	end := len(t.log)
	n := end - s.dice.below(min(40, end-t.base)+1)
	if s.dice.chance(100) || s.calm {
		n = t.base + s.dice.below(end-t.base+1)
	}
	before := copyOf{log: t.log, prints: t.prints, outs: t.outs}
	if s.opt.Mutate == AnyBackup && t.left.log != nil && s.dice.chance(700) {
		s.mutated(t.name, "")
		t.log, t.prints, t.outs = t.left.log, t.left.prints, t.left.outs
		n = len(t.log)
	}
	if n < end {
		t.left = before
	}
	s.res.Restores++
	s.note(t.name, "restore", "", int64(end), int64(n))
	t.cutTo(n)
	t.restored = t == s.hub || s.dice.chance(500)
	s.forget(t)
}

// lateLoss has one circle lose all it had since some time, after everything is done: those who came since
// have to come once more, and those who left have to leave. Where there are rounds, the hub loses what it had
// as well, half the time.
func (s *sim) lateLoss() {
	t, before := pick(&s.dice, s.towns), s.rollbacks
	s.rollbacks = 1000
	t.crash()
	if s.roundsAbout() && s.dice.chance(500) {
		s.hub.crash()
	}
	s.rollbacks = before
}

// cutTo has the circle stand where it stood after so many log entries.
func (t *town) cutTo(n int) {
	t.log, t.prints = t.log[:n:n], t.prints[:min(n, len(t.prints)):min(n, len(t.prints))]
	t.outs = t.outs[:min(n, len(t.outs)):min(n, len(t.outs))]
	t.then = make([]func(machine.Outcome), n)
	t.books = newBooks(t)
	for i, out := range t.outs {
		t.books.follow(t.log[i], out)
	}
	for i, r := range t.replicas {
		if t.s.alone() && i != t.lead {
			continue
		}
		from := r.origin
		kept := r.snapshots[:0]
		for _, at := range r.snapshots {
			if at.applied <= n && !t.strange(at) {
				kept = append(kept, at)
				from = at
			}
		}
		r.snapshots = kept
		r.rebuild(from)
		for r.applied < n {
			t.apply(i)
		}
	}
}

// strange tells whether a snapshot is of another history than the log, as after an abandoned copy was put
// back.
func (t *town) strange(at snapshot) bool {
	return t.s.opt.Mutate == AnyBackup && at.applied > t.base
}

// forget tells the checkers what the circle cannot know any more. What both ends of a stream have forgotten
// never was.
func (s *sim) forget(t *town) {
	position := machine.ReadMeta(t.state()).Position
	for _, r := range s.asked {
		if r.town == t && (s.opt.Mutate == AnyBackup || r.answer.position > position || !r.got || r.reuse) {
			r.lost = true
		}
	}
	for k, was := range s.states.last {
		if k.payer == t.id {
			was[0] = known{}
		}
		if k.payee == t.id {
			was[1] = known{}
		}
		s.states.last[k] = was
		if was[0].state != payment.Settled && was[1].state != payment.Accepted {
			delete(s.states.made, k) // nobody is left who knows
		}
	}
	for _, other := range s.towns {
		if other == t {
			continue
		}
		s.shaken[pairOf(t, other)] = true
		s.unsign(t, other)
		s.unsign(other, t)
		delete(s.read.done, line{t.id, other.id})
		delete(s.read.done, line{other.id, t.id})
	}
}

// unsign forgets what was signed for places that neither end knows of.
func (s *sim) unsign(from, to *town) {
	known := max(from.peerState(to).Tail.Seq, to.peerState(from).Held.Seq)
	for at := range s.signed {
		if at.line == (line{from.id, to.id}) && at.seq > known {
			delete(s.signed, at)
		}
	}
}

// pair is two circles, in order of their names.
type pair struct{ a, b letter.CircleID }

func pairOf(a, b *town) pair {
	if a.name > b.name {
		a, b = b, a
	}
	return pair{a.id, b.id}
}

// settled tells whether two circles have found out all that there is to know after one of them was put back.
func (s *sim) settled(a, b *town) bool {
	p := pairOf(a, b)
	if !s.shaken[p] {
		return true
	}
	x, y := a.peerState(b), b.peerState(a)
	if x.Fresh && y.Fresh && x.Tail == y.Held && y.Tail == x.Held && a.leader().applied == len(a.log) &&
		b.leader().applied == len(b.log) {
		delete(s.shaken, p)
	}
	return !s.shaken[p]
}

// reopen begins the epoch that an operator opened with the restore.
func (t *town) reopen() {
	if !t.restored {
		return
	}
	t.restored = false
	t.epoch++
	at := machine.ReadMeta(t.state())
	t.asNode("timeline.open", timeline.Open{
		Epoch: t.epoch, FromPosition: at.Position, FromHead: at.Head, Backup: machine.ID{1}, At: 1,
	}, nil)
}
