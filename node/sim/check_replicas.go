package sim

import "github.com/carecircle/carecircle/circle/machine"

// comparePrints: after the same log entry all replicas are the same, every row of them, and so is one that
// was rebuilt.
func (s *sim) comparePrints(t *town, which, i int) {
	r := t.replicas[which]
	if i < len(t.prints) && t.prints[i] != r.kv.print {
		s.fail("replicas", "%s: replica %d differs after entry %d", t.name, which, i)
	}
	if i == len(t.prints) {
		t.prints = append(t.prints, r.kv.print)
	}
}

// checkReplicas: at rest, the state and where it stands are equal by the circle's own measure.
func checkReplicas(s *sim) {
	for _, t := range s.towns {
		a, b := t.replicas[0], t.replicas[1]
		if a.applied != b.applied || machine.ReadMeta(a.kv) != machine.ReadMeta(b.kv) ||
			machine.StateHash(a.kv) != machine.StateHash(b.kv) {
			s.fail("replicas", "%s: the replicas stand at %d and %d and differ", t.name, a.applied, b.applied)
		}
	}
}

// checkReplay: the log, replayed from empty, gives the state that runs.
func checkReplay(s *sim, t *town) {
	fresh := newWatched()
	for i, raw := range t.log {
		fresh.wrote = fresh.wrote[:0]
		if _, err := s.machine.Apply(fresh, raw); err != nil {
			s.fail("replay", "%s: entry %d: %v", t.name, i, err)
			return
		}
		if fresh.print != t.prints[i] {
			s.fail("replay", "%s: replaying entry %d gives another state", t.name, i)
			return
		}
	}
	if machine.ReadMeta(fresh) != machine.ReadMeta(t.state()) ||
		machine.StateHash(fresh) != machine.StateHash(t.state()) {
		s.fail("replay", "%s: the replayed log gives another state than the one running", t.name)
	}
}
