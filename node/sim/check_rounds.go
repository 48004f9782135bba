package sim

import (
	"slices"

	"github.com/carecircle/carecircle/circle/netting"
)

// checkRounds: no round is cleared at one circle and dropped at another, whatever was put back to an older
// copy; and at rest those that are cleared at one are cleared at all in it.
func checkRounds(s *sim) {
	if !s.roundsAbout() {
		return
	}
	calm := s.calmed()
	for _, t := range s.towns {
		for _, r := range netting.Outcomes(t.state()) {
			before, known := s.outcomes[r.Hash]
			if known && before.cleared != r.Cleared && (calm || before.restores == s.res.Restores) {
				s.fail("rounds", "round %d is cleared or dropped: at %s otherwise than at %s", r.Number,
					t.name, before.at)
			}
			if !known && r.Cleared {
				s.res.Rounds++
			}
			s.outcomes[r.Hash] = outcomeSeen{cleared: r.Cleared, at: t.name, restores: s.res.Restores}
			for _, id := range r.Circles {
				if calm && r.Cleared && !clearedAt(s.byID[id], r.Number) {
					s.fail("rounds", "at rest round %d is cleared at %s and not at %s", r.Number, t.name,
						s.byID[id].name)
				}
			}
		}
	}
}

func clearedAt(t *town, number uint64) bool {
	return slices.ContainsFunc(netting.Outcomes(t.state()), func(o netting.Over) bool {
		return o.Number == number && o.Cleared
	})
}

// outcomeSeen is what became of a round, where it was seen last.
type outcomeSeen struct {
	cleared  bool
	at       string
	restores int
}
