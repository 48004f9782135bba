package sim

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/courier"
)

const (
	roundsMillis = 200 // a circle asks the hub
	openMillis   = 500 // the hub begins a round, if none is open
	seconds      = 2   // that it waits
)

// roundsAbout tells whether circles set off what they owe each other in this run.
func (s *sim) roundsAbout() bool { return s.opt.Seed%6 == 2 && s.opt.Mutate == "" }

// startRounds has circles take part each in its own way, and the hub begin rounds.
func (s *sim) startRounds() {
	if !s.roundsAbout() {
		return
	}
	for _, t := range s.towns {
		when := [...]string{
			netting.WhenAlways, netting.WhenAlways, netting.WhenAlways, netting.WhenAlways, netting.WhenAsked,
			netting.WhenAsked, netting.WhenNever,
		}[s.dice.below(7)]
		s.after(s.dice.between(1, 500), func() {
			if t.up && when != netting.WhenAsked {
				t.propose(s.command(operator, "netting.consent", netting.Consent{When: when}), nil)
			}
		})
		s.every(roundsMillis, t.nextRound)
	}
	s.oweRound()
	s.every(roundsMillis, s.hub.stepRounds)
	s.every(openMillis, func() {
		if h := s.hub; h.up && !s.calm {
			h.propose(s.command(operator, "netting.open", netting.Open{
				GatherSeconds: s.dice.between(1, seconds), AnswerSeconds: s.dice.between(1, seconds),
			}), nil)
		}
	})
}

// oweRound has every circle owe the next, so that there is something to set off.
func (s *sim) oweRound() {
	for i, t := range s.towns {
		next := s.towns[(i+1)%len(s.towns)]
		for n := range min(len(t.people), len(next.codes)) {
			s.after(s.dice.between(100, 1_500), func() {
				if t.up {
					t.propose(s.command(machine.Caller{Actor: t.people[n]}, "exchange.pay", exchange.Pay{
						Circle: string(next.id), Code: next.codes[n], Minutes: s.dice.between(20, 120),
					}), nil)
				}
			})
		}
	}
}

func (t *town) stepRounds() {
	if t.up && exchange.Life(t.state()) == t.nx && netting.Due(t.state(), t.clock()) {
		t.asNode("netting.step", netting.Step{}, nil)
	}
}

// nextRound asks the hub what is next, does it and says what is to be said, as a node does; and the circle's
// people answer.
func (t *town) nextRound() {
	if !t.up || t.asksRound {
		return
	}
	now, _ := netting.Current(t.state())
	if now.Stage == netting.StageWaiting && t.s.dice.chance(300) {
		t.propose(t.s.command(operator, "netting.answer", netting.Answer{
			Number: now.Number, Yes: t.s.dice.chance(900),
		}), nil)
	}
	ask, ok := netting.AskFor(t.state())
	if !ok {
		return
	}
	life := t.nx
	over := func() { t.asksRound = t.asksRound && t.nx != life }
	t.asksRound = true
	t.ask(ask.To, ask, func(msg any) {
		news, ok := msg.(courier.RoundNews)
		if !ok {
			over()
			return
		}
		kind, body := netting.CommandFor(t.state(), news)
		if kind == "" {
			t.sayTo(news, over)
			return
		}
		hub := machine.Caller{Actor: machine.PeerActor(string(ask.To))}
		t.propose(t.s.command(hub, kind, body), func(out machine.Outcome) {
			if out.Refusal != nil && out.Refusal.Code != "round_open" {
				t.s.fail("rounds", "%s refuses %s of the hub: %v", t.name, kind, out.Refusal)
			}
			t.sayTo(news, over)
		})
	})
}

func (t *town) sayTo(news courier.RoundNews, over func()) {
	say, due := netting.SayTo(t.state(), t.key, news)
	if !due {
		over()
		return
	}
	t.ask(say.To, say, func(any) { over() })
}

// gotRound is the hub's: it tells a circle what is next, or hears what it has to say.
func (t *town) gotRound(from *town, msg any, reply func(msg any)) {
	switch m := msg.(type) {
	case courier.RoundAsk:
		reply(netting.Reply(t.state(), t.key, m))
	case courier.RoundSay:
		told := func(any) any { return courier.Told{} }
		t.fromPeer(from, "netting.say", netting.Heard(m), reply, told)
	default:
		t.gotMove(from, msg, reply)
	}
}

// roundsOn tells whether the hub has a round without an outcome, or a circle one that it has not heard of.
func (s *sim) roundsOn() bool {
	if netting.Unsettled(s.hub.state()) > 0 {
		return true
	}
	for _, t := range s.towns {
		ask, _ := netting.AskFor(t.state())
		_, open := netting.Current(t.state())
		if open || netting.Reply(s.hub.state(), s.hub.key, ask).Number != 0 {
			return true
		}
	}
	return false
}
