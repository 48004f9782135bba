package sim

import "github.com/carecircle/carecircle/federation/memnet"

// drawFaults draws how bad this run's network is.
func (s *sim) drawFaults() memnet.Faults {
	d := &s.dice
	f := memnet.Faults{
		MinDelayMillis: 1, MaxDelayMillis: d.between(5, 300), TimeoutMillis: d.between(200, 1200),
		LossPermille: int(d.between(0, 200)), TwicePermille: int(d.between(0, 150)),
		StragglePermille: int(d.between(0, 80)), StraggleMillis: d.between(500, 5000),
	}
	if d.chance(150) { // a good network: what is found then is not the network's fault
		f.LossPermille, f.TwicePermille, f.StragglePermille = 0, 0, 0
	}
	return f
}

// startAll begins everybody's life and troubles.
func (s *sim) startAll(ticks int64) {
	mean := s.dice.between(400, 3_000) // of a town's troubles
	s.rollbacks = [...]int{0, 200, 400, 700}[s.dice.below(4)]
	if s.opt.Mutate != "" && !s.lawless() { // one fault at a time
		s.rollbacks = 0
	}
	for _, t := range s.all() {
		t.start()
		t.disturb(mean)
		s.every(workMillis, t.work)
		s.every(expireMillis, t.expire)
		s.every(officeMillis, t.askOffice)
	}
	s.startRounds()
	s.every(checkMillis, s.round)
	s.allyAll()
	for _, c := range s.clients {
		s.after(s.dice.between(1, 1000), c.act)
	}
	s.cutSome(s.dice.between(200, 3_000), ticks)
}

// cutSome cuts one line, one way, for a while, again and again.
func (s *sim) cutSome(meanMillis, ticks int64) {
	s.after(s.dice.between(meanMillis/2, meanMillis*3/2), func() {
		if s.calm {
			return
		}
		a, b := pick(&s.dice, s.all()), pick(&s.dice, s.all())
		if a != b {
			s.net.Cut(a.id, b.id)
			s.note(a.name, "cut", b.name, 0, 0)
			s.after(s.dice.between(100, ticks/3), func() { s.net.Mend(a.id, b.id) })
		}
		s.cutSome(meanMillis, ticks)
	})
}

// calmDown ends the faults: lines are mended, crashes end, and people begin nothing new.
func (s *sim) calmDown() {
	s.calm = true
	s.note("", "calm", "", 0, 0)
	s.net.SetFaults(memnet.Faults{MinDelayMillis: 1, MaxDelayMillis: 40, TimeoutMillis: 1000})
	for _, a := range s.all() {
		a.skew = 0
		for _, b := range s.all() {
			s.net.Mend(a.id, b.id)
		}
	}
}
