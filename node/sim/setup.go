package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

const (
	floorMinutes   = -300
	welcomeMinutes = 90
	linkMillis     = 1_000_000
	placeAccount   = "place/shed"
)

var operator = machine.Caller{Actor: machine.ActorOperator}

// foundAll founds the drawn number of circles and makes them known to each other. All of this is in the log
// before the faults begin.
func (s *sim) foundAll() {
	n := minCircles
	for n < maxCircles && s.dice.chance(450) {
		n++
	}
	for i := range n {
		t := s.newTown(i)
		s.towns = append(s.towns, t)
		s.byID[t.id] = t
	}
	for _, t := range s.towns {
		t.found()
	}
	for _, t := range s.towns {
		for _, other := range s.towns {
			if other != t {
				t.now(operator, "exchange.meet", exchange.Meet{Card: other.card()})
			}
		}
		for range s.dice.between(2, 4) {
			s.clients = append(s.clients, &client{s: s, town: t})
		}
	}
}

func (s *sim) newTown(i int) *town {
	seed := sha256.Sum256(fmt.Appendf(nil, "town %d of %d", i, s.opt.Seed))
	key := ed25519.NewKeyFromSeed(seed[:])
	t := &town{s: s, name: string(rune('A' + i)), key: key}
	t.id = letter.CircleIDOf(key.Public().(ed25519.PublicKey))
	for r := range t.replicas {
		t.replicas[r] = &replica{kv: newWatched()}
	}
	t.books = newBooks(t)
	return t
}

// now logs a command and applies it everywhere at once: only before the run begins.
func (t *town) now(by machine.Caller, kind string, body any) machine.Outcome {
	var got machine.Outcome
	c := t.s.command(by, kind, body)
	t.log = append(t.log, t.stamped(c))
	t.then = append(t.then, func(out machine.Outcome) { got = out })
	for i := range t.replicas {
		t.apply(i)
	}
	if got.Refusal != nil {
		t.s.fail("setup", "%s: %s: %s", t.name, kind, got.Refusal.Message)
	}
	return got
}

func (t *town) found() {
	d := &t.s.dice
	t.now(operator, "member.found", member.Found{
		Circle: string(t.id), Key: t.key.Public().(ed25519.PublicKey), Name: "Town " + t.name, Place: "Dale",
		Aim: "care", Founder: machine.Text("", "Founder"),
	})
	t.people = append(t.people, t.books.founder)
	t.enter(t.people[0])
	t.now(operator, "coin.policy", coin.SetPolicy{
		FloorMinutes: floorMinutes, WelcomeMinutes: welcomeMinutes, AutoGift: true,
		EarnDayMinutes: d.between(120, 600), ReviewOn: "2026-09-30",
	})
	t.now(operator, "coin.place", coin.AddPlace{Place: "shed", Name: "The shed"})
	for i := range d.between(2, 4) {
		out := t.now(operator, "member.invite", member.Invite{
			Name: machine.Text("", fmt.Sprintf("Person %d", i)), Link: d.hash(), Until: t.stamp + linkMillis,
		})
		if made, ok := out.Result.(member.Made); ok {
			t.people = append(t.people, made.Person)
			t.enter(made.Person)
		}
	}
	for _, p := range t.people {
		code := t.s.newCode()
		t.now(machine.Caller{Actor: p}, "exchange.code", exchange.SetCode{Code: code})
		t.codes = append(t.codes, code)
	}
}

func (t *town) enter(person string) {
	link := t.s.dice.hash()
	t.now(operator, "member.link", member.Link{Person: person, Link: link, Until: t.stamp + linkMillis})
	t.now(machine.Caller{Actor: machine.ActorNode}, "member.enter", member.Enter{
		Link: link, Session: t.s.dice.hash(), Until: t.stamp + linkMillis,
	})
}

func (s *sim) newCode() string {
	const signs = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	code := make([]byte, 8)
	for i := range code {
		code[i] = signs[s.dice.below(len(signs))]
	}
	return string(code)
}

func (t *town) card() []byte {
	raw, err := charter.Seal(t.key, charter.Card{
		Circle: t.id, Name: "Town " + t.name, Key: t.key.Public().(ed25519.PublicKey), Seq: 1,
		Hosts: []charter.Host{{Peer: "host-" + t.name, Until: 1 << 50}}, Addrs: []string{"/memory/" + t.name},
	})
	if err != nil {
		t.s.fail("setup", "%s: card: %v", t.name, err)
	}
	return raw
}

// allyAll has most pairs of circles ally, at times of their own, under whatever faults there are. Some first
// name terms that do not match, or agree to each other's at the same time; in the end both name the same.
func (s *sim) allyAll() {
	d := &s.dice
	for i, a := range s.towns {
		for _, b := range s.towns[i+1:] {
			if len(s.towns) > 2 && d.chance(150) {
				continue
			}
			limit, other := d.between(200, 2500), d.between(200, 2500)
			for d.chance(300) {
				from, to := a, b
				if d.chance(500) {
					from, to = b, a
				}
				s.ally(from, to, pick(d, []int64{limit, other}), d.between(0, 1200))
			}
			if d.chance(300) { // each offers one limit, and then agrees to the other's
				s.ally(a, b, limit, 0)
				s.ally(b, a, other, 0)
				s.ally(a, b, other, d.between(300, 1000))
				s.ally(b, a, limit, d.between(300, 1000))
			}
			s.ally(a, b, limit, d.between(0, 800))
			s.ally(b, a, limit, d.between(0, 1500))
		}
	}
}

func (s *sim) ally(from, to *town, limit, at int64) {
	s.after(at, func() {
		body := exchange.Ally{Circle: string(to.id), LimitMinutes: limit, ReviewOn: "2026-09-30"}
		s.request(from, s.command(operator, "exchange.ally", body), nil)
	})
}
