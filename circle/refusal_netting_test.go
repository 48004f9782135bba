package circle_test

import (
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/letter"
)

// oweAbout has the stage's circle owe one other half an hour, and be owed it by a third.
func oweAbout(t *testing.T, s *stage) {
	t.Helper()
	s.md = newTown(t, "Midgley")
	s.md.found("Mo")
	earnOf(s.md, "Mo", 3, "office")
	for _, pair := range [][2]*town{{s.hb, s.md}, {s.md, s.hb}} {
		pair[0].must("operator", "exchange.meet", exchange.Meet{Card: pair[1].card()})
		pair[0].must("operator", "exchange.ally", exchange.Ally{
			Circle: string(pair[1].id), LimitMinutes: 600, ReviewOn: "2026-09-30",
		})
	}
	settle(t, s.hb, s.md)
	s.bh.must("Irene", "exchange.code", exchange.SetCode{Code: "IRENE222"})
	s.md.must("Mo", "exchange.pay", exchange.Pay{Circle: string(s.hb.id), Code: "ALICE222", Minutes: 30})
	settle(t, s.hb, s.md)
	s.hb.must("Farida", "exchange.pay", exchange.Pay{Circle: string(s.bh.id), Code: "IRENE222", Minutes: 30})
	settle(t, s.hb, s.bh)
}

// paperOf is a round of a hub that sets off what circles owe each other in turn.
func paperOf(t *testing.T, hub *town, number uint64, minutes int64, circles ...*town) letter.Signed {
	t.Helper()
	var owed []clearing.Obligation
	for i, c := range circles {
		owed = append(owed, clearing.Obligation{
			Debtor: string(c.id), Creditor: string(circles[(i+1)%len(circles)].id), Minutes: minutes,
		})
	}
	p, err := clearing.Solve(owed)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := clearing.Paper{Hub: hub.id, Number: number, Until: day, Proposal: p}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return letter.Signed{Bytes: raw, Sig: letter.ForRound.Sign(hub.key, raw)}
}

// outcomeOf is what became of a round.
func outcomeOf(t *testing.T, hub *town, paper letter.Signed, cleared bool, agreed ...*town) letter.Signed {
	t.Helper()
	p, err := clearing.DecodePaper(paper.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	o := clearing.Outcome{
		Hub: hub.id, Number: p.Number, Paper: clearing.HashOf(paper.Bytes), Cleared: cleared,
	}
	for _, id := range p.Circles() {
		for _, w := range agreed {
			if w.id == id {
				o.Consents = append(o.Consents, clearing.Consents(w.key, o.Paper))
			}
		}
	}
	raw, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return letter.Signed{Bytes: raw, Sig: letter.ForOutcome.Sign(hub.key, raw)}
}

func (s *stage) proposes(t *testing.T, paper letter.Signed) {
	t.Helper()
	by := machine.Caller{Actor: machine.PeerActor(string(s.td.id))}
	out := s.hb.send(s.hb.command(by, "netting.proposed", netting.Proposed{Paper: paper}))
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
}

// nettingCases are the kinds of a circle in rounds.
func nettingCases(t *testing.T, s *stage) map[string]kindCase {
	hub, other := machine.PeerActor(string(s.td.id)), machine.PeerActor(string(s.bh.id))
	loop := []*town{s.hb, s.bh, s.md}
	now, next := paperOf(t, s.td, 1, 30, loop...), paperOf(t, s.td, 2, 30, loop...)
	foreign := paperOf(t, s.bh, 3, 30, loop...)
	forged := letter.Signed{Bytes: now.Bytes, Sig: foreign.Sig}
	take := func(paper letter.Signed) netting.Proposed { return netting.Proposed{Paper: paper} }
	said := func(paper, outcome letter.Signed) netting.Decided {
		return netting.Decided{Paper: paper, Outcome: outcome}
	}
	all := outcomeOf(t, s.td, now, true, loop...)
	two := outcomeOf(t, s.td, now, true, s.bh, s.md)
	yes := netting.Answer{Number: 1, Yes: true}
	return map[string]kindCase{
		"netting.consent": {
			good: asked{by: "Farida", body: netting.Consent{When: netting.WhenAlways}},
			refused: []asked{
				{"Alice", "", netting.Consent{When: netting.WhenAlways}, "hat_missing"},
				{"Farida", "", netting.Consent{When: "sometimes"}, "malformed"},
			},
		},
		"netting.proposed": {good: asked{by: hub, body: take(now)}, refused: []asked{
			{"Farida", "", take(now), "not_allowed"},
			{other, "", take(now), "no_hub"},
			{hub, "", take(next), "round_open"},
			{hub, "", take(foreign), "bad_round"},
			{hub, "", take(forged), "bad_round"},
			{hub, "", take(letter.Signed{}), "bad_round"},
		}},
		"netting.answer": {good: asked{by: "Farida", body: yes}, refused: []asked{
			{"Alice", "", yes, "hat_missing"},
			{"Farida", "", netting.Answer{Number: 7, Yes: true}, "not_waiting"},
		}},
		"netting.decided": {good: asked{by: hub, body: said(now, all)}, refused: []asked{
			{"Farida", "", said(now, all), "not_allowed"},
			{other, "", said(now, all), "no_hub"},
			{hub, "", said(now, two), "bad_round"},
			{hub, "", said(next, all), "bad_round"},
			{hub, "", said(now, letter.Signed{Bytes: all.Bytes, Sig: two.Sig}), "bad_round"},
			{hub, "", said(foreign, all), "bad_round"},
		}},
	}
}

// nettingHubCases are the kinds of a hub of rounds.
func nettingHubCases(t *testing.T, s *stage) map[string]kindCase {
	bh := machine.PeerActor(string(s.bh.id))
	ours := paperOf(t, s.hb, 5, 30, s.bh, s.md, s.td)
	foreign := paperOf(t, s.bh, 5, 30, s.bh, s.md, s.td)
	say := func(paper letter.Signed) netting.Say { return netting.Say{Number: 5, Paper: paper} }
	states := func(positions ...netting.Position) netting.Say {
		return netting.Say{Number: 5, Stated: true, Positions: positions, Paper: ours}
	}
	wrong := say(ours)
	wrong.Consent = clearing.Consents(s.md.key, clearing.HashOf(ours.Bytes))
	open := netting.Open{GatherSeconds: 60, AnswerSeconds: 60}
	md := netting.Position{Circle: string(s.md.id), Minutes: 30}
	return map[string]kindCase{
		"netting.open": {good: asked{by: "Farida", body: open}, refused: []asked{
			{"Alice", "", open, "hat_missing"},
			{"Farida", "", netting.Open{GatherSeconds: 60}, "malformed"},
			{"Farida", "", netting.Open{GatherSeconds: 1 << 40, AnswerSeconds: 1}, "malformed"},
		}},
		"netting.say": {good: asked{by: bh, body: say(ours)}, refused: []asked{
			{"Farida", "", say(ours), "not_allowed"},
			{machine.PeerActor(strings.Repeat("x", 27)), "", say(ours), "unknown_circle"},
			{bh, "", say(foreign), "bad_round"},
			{bh, "", wrong, "bad_round"},
			{bh, "", states(md, md), "malformed"},
			{bh, "", states(netting.Position{Circle: "nobody", Minutes: 1}), "malformed"},
			{bh, "", states(netting.Position{Circle: string(s.md.id)}), "malformed"},
		}},
		"netting.step": {good: asked{by: "node", body: netting.Step{}}, refused: []asked{
			{"operator", "", netting.Step{}, "not_allowed"},
		}},
	}
}

// TestRoundForgotten: a circle that has forgotten that it agreed is held to its signature; one that was told
// both outcomes says so and keeps to the first.
func TestRoundForgotten(t *testing.T) {
	s := newStage(t)
	balance := func(w *town) int64 {
		a, _ := coin.ReadBooks(s.hb.kv).Account(coin.Book, coin.CirclePrefix+string(w.id))
		return a.Posted
	}
	if balance(s.bh) != 30 || balance(s.md) != -30 {
		t.Fatal(balance(s.bh), balance(s.md))
	}
	hub := machine.Caller{Actor: machine.PeerActor(string(s.td.id))}
	paper := paperOf(t, s.td, 2, 20, s.hb, s.bh, s.md)
	hear := func(cleared bool) string {
		out := s.hb.send(s.hb.command(hub, "netting.decided", netting.Decided{
			Paper: paper, Outcome: outcomeOf(t, s.td, paper, cleared, s.hb, s.bh, s.md),
		}))
		if out.Refusal != nil {
			return out.Refusal.Code
		}
		return ""
	}
	for range 2 {
		if why := hear(true); why != "" || balance(s.bh) != 10 || balance(s.md) != -10 {
			t.Errorf("%s: %d and %d", why, balance(s.bh), balance(s.md))
		}
	}
	if why := hear(false); why != "two_outcomes" || netting.SetOff(s.hb.kv, string(s.bh.id)) != -20 {
		t.Errorf("it forgets what it was told: %q", why)
	}
}

// TestRoundMoreThanOwed: a circle agrees to nothing that is not owed by its own books, not even one that
// agrees always; and to nothing at all if it takes no part.
func TestRoundMoreThanOwed(t *testing.T) {
	for when, minutes := range map[string]int64{netting.WhenAlways: 31, netting.WhenNever: 30} {
		s := newStage(t)
		hub := machine.Caller{Actor: machine.PeerActor(string(s.td.id))}
		s.hb.must("Farida", "netting.consent", netting.Consent{When: when})
		drop := paperOf(t, s.td, 1, 30, s.hb, s.bh, s.md)
		s.hb.send(s.hb.command(hub, "netting.decided", netting.Decided{
			Paper: drop, Outcome: outcomeOf(t, s.td, drop, false),
		}))
		s.proposes(t, paperOf(t, s.td, 2, minutes, s.hb, s.bh, s.md))
		if now, _ := netting.Current(s.hb.kv); now.Stage != netting.StageDeclined {
			t.Errorf("%s, %d minutes: %s", when, minutes, now.Stage)
		}
		if aside := netting.Aside(s.hb.kv); len(aside) != 0 {
			t.Errorf("%s, %d minutes: %+v is put aside", when, minutes, aside)
		}
	}
}

// TestRoundOfFormerHub: a circle that has named another hub hears from the former one what became of its
// round, and only then goes on with the new one, which is not asked about rounds that it never had.
func TestRoundOfFormerHub(t *testing.T) {
	s := newStage(t)
	paper := paperOf(t, s.td, 1, 30, s.hb, s.bh, s.md)
	s.hb.must("operator", "exchange.hub", exchange.SetHub{Circle: string(s.md.id)})
	s.hb.must("Farida", "netting.answer", netting.Answer{Number: 1, Yes: true})
	if ask, _ := netting.AskFor(s.hb.kv); ask.To != s.td.id || ask.Current != 1 {
		t.Errorf("%+v", ask)
	}
	hub := machine.Caller{Actor: machine.PeerActor(string(s.td.id))}
	out := s.hb.send(s.hb.command(hub, "netting.decided", netting.Decided{
		Paper: paper, Outcome: outcomeOf(t, s.td, paper, true, s.hb, s.bh, s.md),
	}))
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	if ask, _ := netting.AskFor(s.hb.kv); ask.To != s.md.id || ask.Current != 0 || len(ask.Known) != 0 {
		t.Errorf("%+v", ask)
	}
}
