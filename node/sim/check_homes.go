package sim

import (
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
)

// checkHomes: nobody who moves is at home in two circles; but for a while after one of them was put back to
// an older copy.
func checkHomes(s *sim) {
	for _, t := range s.towns {
		_, here := moving.Standings(t.state())
		for _, a := range here {
			home := s.byID[a.Circle]
			there, _ := member.Find(t.state(), a.Person)
			if there.Status != member.Active || !t.up || !home.up {
				continue
			}
			s.enteredOnce(a.ID)
			away, _ := moving.Standings(home.state())
			leaving := false // with coins that a restore brought back
			for _, m := range away {
				if m.ID == a.ID {
					s.movers[a.ID] = m.Person // a restore may bring them back and have the move forgotten
					leaving = m.Stage == moving.StageLeaving
				}
			}
			was, _ := member.Find(home.state(), s.movers[a.ID])
			late := s.res.Restores == 0 || s.calmed()
			if was.Status == member.Active && !leaving && late {
				s.fail("homes", "%s is at home in %s and in %s", a.ID, t.name, home.name)
			}
		}
	}
}

// enteredOnce counts who has moved.
func (s *sim) enteredOnce(id string) {
	if !s.moved[id] {
		s.moved[id] = true
		s.res.Moves++
	}
}

// calmed tells whether the run is at rest.
func (s *sim) calmed() bool { return s.calm && s.unrest() == "" }
