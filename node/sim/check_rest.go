package sim

import (
	"fmt"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

const questionsLooked = 1000

// atRest: nobody waits for anything, and everything written has been read. Where something is wrong already
// there may never be rest.
func (s *sim) atRest() bool { return len(s.res.Violations) > 0 || s.unrest() == "" }

// unrest says what is not at rest yet; empty when all is.
func (s *sim) unrest() string {
	if s.open > 0 && s.liar == nil { // whoever pays a liar may never be answered
		return fmt.Sprintf("%d requests have no answer", s.open)
	}
	for _, t := range s.all() {
		if !t.up || len(t.inflight) > 0 {
			return t.name + " is busy"
		}
		for i, r := range t.replicas {
			if r.applied < len(t.log) && (i == t.lead || !s.alone()) {
				return fmt.Sprintf("%s: replica %d is at %d of %d", t.name, i, r.applied, len(t.log))
			}
		}
		for _, p := range t.courier.Status() {
			if !s.honest(t.id, p.Peer) {
				continue
			}
			if !p.Connected || p.Held != p.Tail || p.LastError != "" {
				return fmt.Sprintf("%s to %s: %+v", t.name, s.byID[p.Peer].name, p)
			}
		}
		for _, p := range t.peers() {
			held := s.byID[p.Circle].peerState(t).Held
			if held != p.Tail && s.honest(t.id, p.Circle) {
				return fmt.Sprintf("%d of %d letters from %s are held", held.Seq, p.Tail.Seq, t.name)
			}
		}
	}
	if s.roundsAbout() && s.roundsOn() {
		return "a round has no outcome everywhere"
	}
	for _, t := range s.towns {
		if s.movesAbout() && t.movesOn() {
			return t.name + " has something to tell of moves"
		}
		open := 0
		t.payments(func(p payment.Payment) {
			if p.Open() && s.honest(t.id, p.Peer) {
				open++
			}
		})
		for _, q := range exchange.Questions(t.state(), questionsLooked) {
			if l, err := letter.Decode(q.Proof.Bytes); err != nil || s.honest(l.From, l.To) {
				return t.name + " has a question to the hub"
			}
		}
		if open > 0 {
			return fmt.Sprintf("%s: %d payments are not decided", t.name, open)
		}
	}
	return ""
}
