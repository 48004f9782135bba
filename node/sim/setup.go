package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

const (
	floorMinutes   = -300
	welcomeMinutes = 90
	linkMillis     = 1_000_000
	placeAccount   = "place/shed"
)

var operator = machine.Caller{Actor: machine.ActorOperator}

// foundAll founds the drawn number of circles and makes them known to each other. All of this is in the log
// before the faults begin, and the same for many runs.
func (s *sim) foundAll() {
	n := minCircles
	if s.roundsAbout() || s.liesAbout() {
		n++ // a round loop has three; and two are honest
	}
	for n < maxCircles && s.dice.chance(250) {
		n++
	}
	w := worldOf(s, n, s.dice.below(variants))
	w.mu.Lock()
	for _, from := range w.towns {
		s.towns = append(s.towns, from.copyFor(s))
	}
	s.hub = w.hub.copyFor(s)
	w.mu.Unlock()
	for _, t := range s.all() {
		s.byID[t.id] = t
	}
	if s.liesAbout() {
		s.liar = pick(&s.dice, s.towns)
	}
	for _, t := range s.all() {
		t.books = newBooks(t)
		for i, out := range t.outs {
			t.books.follow(t.log[i], out)
		}
	}
	for _, t := range s.towns {
		for range s.dice.between(1, 2) {
			s.clients = append(s.clients, &client{s: s, town: t})
		}
	}
}

const (
	variants   = 3
	worldSeeds = 1 << 63 // so that no run draws the ids of its own past
)

// worlds are the circles of runs before anything happens in them.
var worlds sync.Map // of *world by number of circles and variant

type world struct {
	once  sync.Once
	mu    sync.Mutex // copying touches what is copied
	towns []*town
	hub   *town
}

func worldOf(s *sim, circles, variant int) *world {
	made, _ := worlds.LoadOrStore([2]int{circles, variant}, &world{})
	w := made.(*world)
	w.once.Do(func() { w.found(s, circles, uint64(variant)) })
	return w
}

// found makes the circles in a run of its own, in which nothing else happens.
func (w *world) found(of *sim, circles int, variant uint64) {
	s := newSim(Options{Seed: worldSeeds + variant}, of.machine, of.notary)
	for i := range circles {
		t := s.newTown(i)
		s.towns = append(s.towns, t)
		s.byID[t.id] = t
	}
	s.hub = s.newTown(maxCircles)
	s.byID[s.hub.id] = s.hub
	for _, t := range s.all() {
		t.found()
	}
	for _, t := range s.towns {
		s.hub.now(operator, "exchange.meet", exchange.Meet{Card: t.card()})
		t.now(operator, "exchange.meet", exchange.Meet{Card: s.hub.card()})
		t.now(operator, "exchange.hub", exchange.SetHub{Circle: string(s.hub.id)})
		for _, other := range s.towns {
			if other != t {
				t.now(operator, "exchange.meet", exchange.Meet{Card: other.card()})
			}
		}
	}
	s.hub.now(operator, "hub.open", hub.Open{})
	if variant > 0 {
		s.alliedAlready()
	}
	w.towns, w.hub = s.towns, s.hub
	of.res.Violations = append(of.res.Violations, s.res.Violations...)
}

// alliedAlready has every two circles in alliance before the run.
func (s *sim) alliedAlready() {
	for i, a := range s.towns {
		for _, b := range s.towns[i+1:] {
			limit := s.dice.between(200, 1500)
			for _, way := range [][2]*town{{a, b}, {b, a}} {
				way[0].now(operator, "exchange.ally", exchange.Ally{
					Circle: string(way[1].id), LimitMinutes: limit, ReviewOn: "2026-09-30",
				})
				s.handOver(way[0], way[1])
			}
		}
	}
}

// handOver brings a circle's letters to another.
func (s *sim) handOver(from, to *town) {
	by := machine.Caller{Actor: machine.PeerActor(string(from.id))}
	nonce := s.dice.nonce()
	to.now(by, "exchange.session", exchange.Session{Nx: nonce, Ny: nonce})
	batch := exchange.Receive{Nx: nonce, Ny: nonce}
	for _, raw := range exchange.Outbox(from.state(), to.id, 1, 1<<40) {
		batch.Records = append(batch.Records, s.sign(from, raw))
	}
	to.now(by, "exchange.receive", batch)
}

// copyFor is the town in another run.
func (t *town) copyFor(s *sim) *town {
	c := s.newTown(0)
	c.name, c.key, c.id, c.stamp = t.name, t.key, t.id, t.stamp
	c.people, c.codes = slices.Clone(t.people), slices.Clone(t.codes)
	n := len(t.log)
	c.log, c.prints, c.outs, c.base = t.log[:n:n], t.prints[:n:n], t.outs[:n:n], n
	c.then = make([]func(machine.Outcome), n)
	for i, r := range t.replicas {
		at := snapshot{state: r.kv.Copy(), print: r.kv.print, applied: r.applied}
		c.replicas[i].rebuild(at)
		c.replicas[i].origin = at
	}
	return c
}

func (s *sim) newTown(i int) *town {
	seed := sha256.Sum256(fmt.Appendf(nil, "town %d of %d", i, s.opt.Seed))
	key := ed25519.NewKeyFromSeed(seed[:])
	t := &town{
		s: s, name: string(rune('A' + i)), key: key, told: map[uint64]func(any){},
		recalling: map[letter.CircleID]bool{}, asking: map[payment.TID]bool{},
		telling:  map[string]telling{},
		toldIn:   map[string]courier.Nonce{},
		reported: map[letter.CircleID]uint64{},
	}
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
