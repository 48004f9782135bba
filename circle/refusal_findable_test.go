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
