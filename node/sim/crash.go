package sim

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
)

// disturb lets a town's machines crash and its replicas take snapshots, until the faults are over.
func (t *town) disturb(meanMillis int64) {
	s := t.s
	s.after(s.dice.between(meanMillis/4, meanMillis*2), func() {
		if s.calm {
			return
		}
		switch s.dice.below(6) {
		case 0, 1:
			t.leader().keep()
		case 2:
			if !s.alone() {
				t.rebuild(1 - t.lead)
			}
		default:
			if t.up {
				t.crash()
			}
		}
		t.disturb(meanMillis)
	})
}

// crash ends the leading node. Its courier with all sessions is gone, and so are the answers that clients and
// peers wait for; of what it had proposed, the first few made it into the log.
func (t *town) crash() {
	s := t.s
	s.res.Crashes++
	survive := s.dice.below(len(t.inflight) + 1)
	s.note(t.name, "crash", "", int64(len(t.inflight)), int64(survive))
	for _, p := range t.inflight[:survive] {
		t.commit(proposal{raw: p.raw})
	}
	t.up, t.courier, t.inflight = false, nil, nil
	clear(t.then)
	clear(t.told)
	clear(t.recalling)
	clear(t.asking)
	clear(t.telling)
	clear(t.reported)
	t.officeAsked, t.asksRound = false, false
	s.net.Forget(t.id)
	if s.dice.chance(s.rollbacks) {
		t.rollBack()
	}
	s.after(s.dice.between(20, 1500), t.start)
}

// start begins a new life of the node, on either replica. A new leader first applies all that is committed.
func (t *town) start() {
	s := t.s
	crashed := t.lead
	if s.dice.chance(500) && !s.alone() {
		t.lead = 1 - t.lead
	}
	t.rebuild(crashed)
	s.note(t.name, "start", "", int64(t.lead), int64(t.leader().applied))
	for t.leader().applied < len(t.log) {
		t.apply(t.lead)
	}
	if !s.calm {
		t.skew = s.dice.between(-s.maxSkew(), s.maxSkew())
	}
	if t.stamp = 0; s.dice.chance(700) { // or else the circle itself must see that time goes forward only
		t.stamp = machine.ReadMeta(t.state()).At
	}
	t.nx = s.dice.nonce()
	t.courier = courier.New(t.id, t.nx, s.dice.next())
	t.up = true
	t.reopen()
	t.asNode("exchange.begin", exchange.Begin{Nx: t.nx, Apart: true}, nil)
}

// rebuild has a replica lose what it had in memory: it goes back to a snapshot of its own, to one that the
// other replica sends it, or replays the log from empty.
func (t *town) rebuild(which int) {
	s, r := t.s, t.replicas[which]
	var from snapshot
	switch other := t.replicas[1-which]; s.dice.below(8) {
	case 0:
		if s.alone() { // others go through all of it at the end
			from = r.origin
		} // or else from empty
	case 1, 2:
		from = r.origin
	case 3, 4:
		if s.alone() {
			other = r
		}
		other.keep()
		from = other.snapshots[len(other.snapshots)-1]
	default:
		from = r.origin
		if len(r.snapshots) > 0 {
			from = pick(&s.dice, r.snapshots)
		}
	}
	r.rebuild(from)
	s.note(t.name, "rebuild", "", int64(which), int64(from.applied))
	end := len(t.log)
	if which != t.lead {
		s.after(s.dice.between(1, 300), func() { t.catchUp(which, end) })
	}
}

// alone tells whether the circles of this run have one replica each, which takes half the time.
func (s *sim) alone() bool { return s.opt.Seed%4 != 0 && s.opt.Mutate != DropCommand }

// maxSkew is how far clocks go wrong, the same for a whole run.
func (s *sim) maxSkew() int64 { return [...]int64{0, 50, 2_000, 50_000}[s.opt.Seed/4%4] }
