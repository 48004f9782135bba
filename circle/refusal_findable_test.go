package circle_test

import (
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// beFound has Alice show a card, and Farida take one back.
func beFound(s *stage) {
	s.hb.must("operator", "findable.sectors", findable.Sectors{Sectors: []findable.Sector{
		{Sector: "hx78", Lat: 5374000, Lng: -201000},
	}})
	s.hb.must("Alice", "findable.choose", findable.Choose{Card: aliceShows()})
	s.hb.must("Farida", "findable.choose", findable.Choose{Card: findable.Choice{Name: "Farida"}})
	s.hb.must("Farida", "findable.withdraw", findable.Withdraw{})
	s.hb.must("Alice", "findable.ask", findable.Ask{
		Circle: string(s.bh.id), Card: oneID, Words: text("Hello"),
	})
	by := machine.Caller{Actor: machine.PeerActor(string(s.bh.id))}
	asks := findable.Contact{ID: otherID, Card: shownNow(s.hb)[0].ID, Words: text("Hello, Alice")}
	if out := s.hb.send(s.hb.command(by, "findable.contact", asks)); out.Refusal != nil {
		s.hb.t.Fatal(out.Refusal)
	}
}

// Ids of cards and questions of another circle.
const (
	oneID   = "0123456789abcdef0123456789abcdef"
	otherID = "fedcba9876543210fedcba9876543210"
)

// askedBy finds what Alice asked.
func (s *stage) asked(t *testing.T) findable.Question {
	t.Helper()
	out, err := s.hb.m.View(machine.Read{
		Reader: s.hb.kv, Caller: machine.Caller{Actor: s.hb.people["Alice"]}, Now: s.hb.now,
	}, "findable.contacts", nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.(findable.Contacts).Asked[0]
}

// contactCases are the kinds by which people who were found are asked to be in touch.
func contactCases(t *testing.T, s *stage) map[string]kindCase {
	bh, peer := string(s.bh.id), machine.PeerActor(string(s.bh.id))
	alice, mine := shownNow(s.hb)[0], s.asked(t).ID
	long := text(strings.Repeat("a", 501))
	ask := func(circle, card string, words machine.Private) findable.Ask {
		return findable.Ask{Circle: circle, Card: card, Words: words}
	}
	answer := func(id string) findable.Answer {
		return findable.Answer{Circle: bh, ID: id, Yes: true, Words: text("01422 000000")}
	}
	contact := func(card string) findable.Contact {
		return findable.Contact{ID: oneID, Card: card, Words: text("Hello")}
	}
	reply := func(id string) findable.Reply { return findable.Reply{ID: id, Words: text("Sorry")} }
	refused := findable.Delivered{Circle: bh, ID: mine, Refused: strings.Repeat("a", 101)}
	given := func(id string) findable.Delivered { return findable.Delivered{Circle: bh, ID: id} }
	return map[string]kindCase{
		"findable.ask": {good: asked{by: "Alice", body: ask(bh, otherID, text("Hi"))}, refused: []asked{
			{"Alice", "", ask(bh, oneID, text("Hi")), "asked_already"},
			{"Alice", "", ask(bh, otherID, text(" ")), "words_missing"},
			{"Alice", "", ask(bh, otherID, long), "bad_text"},
			{"Alice", "", ask(bh, otherID, text("a\x00b")), "bad_text"},
			{"Alice", "", ask(bh, "x", text("Hi")), "malformed"},
			{"Alice", "", ask("x", oneID, text("Hi")), "malformed"},
			{"Alice", "", ask(string(newTown(t, "Nowhere").id), oneID, text("Hi")), "unknown_circle"},
			{"Alice", "", ask(string(s.hb.id), oneID, text("Hi")), "not_shown"},
			{"operator", "", ask(bh, otherID, text("Hi")), "not_a_member"},
		}},
		"findable.answer": {good: asked{by: "Alice", body: answer(otherID)}, refused: []asked{
			{"Alice", "", answer(oneID), "not_asked"},
			{"Alice", "", answer("x"), "malformed"},
			{"Ben", "", answer(otherID), "not_asked"},
			{"Alice", "", findable.Answer{Circle: bh, ID: otherID, Words: long}, "bad_text"},
		}},
		"findable.contact": {good: asked{by: peer, body: contact(alice.ID)}, refused: []asked{
			{peer, "", contact(otherID), "not_shown"},
			{peer, "", contact("x"), "malformed"},
			{peer, "", findable.Contact{ID: oneID, Card: alice.ID}, "words_missing"},
			{"Alice", "", contact(alice.ID), "not_allowed"},
		}},
		"findable.reply": {good: asked{by: peer, body: reply(mine)}, refused: []asked{
			{peer, "", reply(oneID), "not_asked"},
			{peer, "", reply("x"), "malformed"},
			{"Alice", "", reply(mine), "not_allowed"},
		}},
		"findable.delivered": {good: asked{by: "node", body: given(mine)}, refused: []asked{
			{"node", "", given(oneID), "not_asked"},
			{"node", "", given("x"), "malformed"},
			{"node", "", refused, "malformed"},
			{"operator", "", given(mine), "not_allowed"},
		}},
	}
}

func aliceShows() findable.Choice {
	return findable.Choice{
		Name: "Alice", Kinds: []string{"Companionship", "companionship "}, Sector: "HX7 8", Open: true,
		Times: []findable.Time{{Day: 1, From: 540, To: 720}},
	}
}

// shownNow is what the node would sign of the stage's cards.
func shownNow(w *town) []directory.Card {
	return findable.Cards(w.kv, 0, func(p machine.Private) ([]byte, bool) { return p.Data, !p.IsSealed() })
}

// findableCases are the kinds by which members show themselves.
func findableCases(t *testing.T, s *stage) map[string]kindCase {
	choice := func(change func(c *findable.Choice)) findable.Choose {
		c := aliceShows()
		change(&c)
		return findable.Choose{Card: c}
	}
	times := func(all ...findable.Time) findable.Choose {
		return choice(func(c *findable.Choice) { c.Times = all })
	}
	sectors := func(lat int32, names ...string) findable.Sectors {
		var all findable.Sectors
		for _, n := range names {
			all.Sectors = append(all.Sectors, findable.Sector{Sector: n, Lat: lat, Lng: 1})
		}
		return all
	}
	sealed := findable.Choose{Closed: machine.Private{Of: "x", Scheme: 9}}
	choose := asked{by: "Alice", body: findable.Choose{Card: aliceShows()}}
	all := takenBackCases(t, s)
	for kind, c := range map[string]kindCase{
		"findable.choose": {good: choose, refused: []asked{
			{"Alice", "", choice(func(c *findable.Choice) { c.Name = " " }), "name_missing"},
			{"Alice", "", choice(func(c *findable.Choice) { c.Name = strings.Repeat("a", 101) }), "bad_card"},
			{"Alice", "", choice(func(c *findable.Choice) { c.RatePence = -1 }), "bad_card"},
			{"Alice", "", choice(func(c *findable.Choice) { c.Sector = "HX7 8AB" }), "sector_unknown"},
			{"Alice", "", choice(func(c *findable.Choice) { c.Sector = "LS1 1" }), "sector_unknown"},
			{"Alice", "", times(findable.Time{Day: 8, From: 0, To: 30}), "bad_time"},
			{"Alice", "", times(findable.Time{Day: 1, From: 15, To: 30}), "bad_time"},
			{"Alice", "", times(findable.Time{Day: 1, From: 60, To: 30}), "bad_time"},
			{"Alice", "", times(make([]findable.Time, 61)...), "too_many"},
			{"Alice", "", sealed, "bad_text"},
			{"operator", "", findable.Choose{Card: aliceShows()}, "not_a_member"},
		}},
		"findable.withdraw": {good: asked{by: "Alice", body: findable.Withdraw{}}, refused: []asked{
			{"Farida", "", findable.Withdraw{}, "not_shown"},
			{"operator", "", findable.Withdraw{}, "not_a_member"},
		}},
		"findable.sectors": {good: asked{by: "operator", body: sectors(1, "OL14 5")}, refused: []asked{
			{"operator", "", sectors(1), "malformed"},
			{"operator", "", sectors(1, "OL14 5AB"), "malformed"},
			{"operator", "", sectors(9_000_001, "OL14 5"), "malformed"},
			{"operator", "", sectors(1, make([]string, 501)...), "malformed"},
			{"Alice", "", sectors(1, "OL14 5"), "hat_missing"},
		}},
	} {
		all[kind] = c
	}
	return all
}

// takenBackCases are those by which nodes renew cards and take them back.
func takenBackCases(t *testing.T, s *stage) map[string]kindCase {
	gone := shownNow(s.hb)[1]
	ack := func(by *town, change func(a *directory.Ack)) findable.Acknowledge {
		a := directory.Ack{Holder: by.id, Circle: s.hb.id, ID: gone.ID, Seq: gone.Seq}
		change(&a)
		signed, err := a.Sign(by.key)
		if err != nil {
			t.Fatal(err)
		}
		return findable.Acknowledge{Ack: signed}
	}
	as := func(*directory.Ack) {}
	forged := ack(s.bh, as)
	forged.Ack.Sig = make([]byte, 64)
	foreign, err := directory.Seal(s.bh.key, shownNow(s.hb)[0])
	if err != nil {
		t.Fatal(err)
	}
	return map[string]kindCase{
		"findable.renew": {good: asked{by: "node", body: findable.Renew{After: 9}}, refused: []asked{
			{"node", "", findable.Renew{Lost: []letter.Signed{{}}}, "malformed"},
			{"node", "", findable.Renew{Lost: []letter.Signed{foreign}}, "malformed"},
			{"node", "", findable.Renew{Lost: make([]letter.Signed, 201)}, "malformed"},
			{"operator", "", findable.Renew{}, "not_allowed"},
		}},
		"findable.acknowledge": {good: asked{by: "node", body: ack(s.bh, as)}, refused: []asked{
			{"node", "", findable.Acknowledge{}, "malformed"},
			{"node", "", forged, "malformed"},
			{"node", "", ack(newTown(t, "Nowhere"), as), "unknown_circle"},
			{"node", "", ack(s.bh, func(a *directory.Ack) { a.Circle = s.bh.id }), "malformed"},
			{"node", "", ack(s.bh, func(a *directory.Ack) { a.ID = "x" }), "not_asked"},
			{"node", "", ack(s.bh, func(a *directory.Ack) { a.Seq++ }), "not_asked"},
			{"operator", "", ack(s.bh, as), "not_allowed"},
		}},
	}
}
