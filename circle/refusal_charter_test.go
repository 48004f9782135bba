package circle_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

// inviting is the secret of an invitation of the stage's circle, a hub.
var inviting = bytes.Repeat([]byte{7}, charter.SecretBytes)

// aboutToJoin has the stage's circle invite one, and another go by it as its hub.
func aboutToJoin(s *stage) {
	s.hb.must("node", "joining.card", joining.Card{Card: s.hb.card()})
	s.hb.must("operator", "joining.invite", joining.Invite{
		Secret: sha256.Sum256(inviting), For: "Midgley", Days: 14,
	})
	s.bh.must("operator", "exchange.hub", exchange.SetHub{Circle: string(s.hb.id)})
}

func signedCharter(t *testing.T, hub *town, seq uint64, entries ...charter.Entry) letter.Signed {
	t.Helper()
	signed, err := charter.Charter{Hub: hub.id, Seq: seq, At: 1, Circles: entries}.Sign(hub.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// charterCases are the kinds of a federation.
func charterCases(t *testing.T, s *stage) map[string]kindCase {
	bh, md := machine.PeerActor(string(s.bh.id)), machine.PeerActor(string(s.md.id))
	hb := machine.PeerActor(string(s.hb.id))
	ask := joining.Ask{Card: s.md.card(), Secret: inviting}
	signed := signedCharter(t, s.hb, 4)
	forged := letter.Signed{Bytes: signed.Bytes, Sig: signedCharter(t, s.bh, 4).Sig}
	return map[string]kindCase{
		"joining.ask": {good: asked{by: md, body: ask}, refused: []asked{
			{"Farida", "", ask, "not_allowed"},
			{bh, "", ask, "malformed"},
			{md, "", joining.Ask{Card: s.md.card(), Secret: make([]byte, 16)}, "bad_invitation"},
			{md, "", joining.Ask{Card: s.md.card(), Secret: []byte("short")}, "bad_invitation"},
			{md, "", joining.Ask{Card: []byte("no card"), Secret: inviting}, "bad_invitation"},
		}},
		"joining.card": {good: asked{by: "node", body: joining.Card{Card: s.hb.cardOf(2)}}, refused: []asked{
			{"operator", "", joining.Card{Card: s.hb.cardOf(2)}, "not_allowed"},
			{"node", "", joining.Card{Card: s.bh.card()}, "malformed"},
			{"node", "", joining.Card{Card: []byte("no card")}, "bad_card"},
			{md, "", joining.Card{Card: s.md.card()}, "not_in_charter"},
		}},
		"joining.show": {good: asked{by: bh, body: joining.Show{Charter: signed}}, refused: []asked{
			{"Farida", "", joining.Show{Charter: signed}, "not_allowed"},
			{bh, "", joining.Show{Charter: forged}, "malformed"},
			{bh, "", joining.Show{Charter: signedCharter(t, s.bh, 4)}, "malformed"},
			{bh, "", joining.Show{Charter: signed, Cards: [][]byte{[]byte("no card")}}, "bad_card"},
		}},
		"joining.join": {
			at:   s.bh,
			good: asked{by: "operator", body: joining.Join{Card: s.hb.card(), Secret: inviting}},
			refused: []asked{
				{"operator", "", joining.Join{Card: s.bh.card(), Secret: inviting}, "own_card"},
				{"operator", "", joining.Join{Card: s.hb.card()}, "bad_invitation"},
				{"node", "", joining.Join{Card: s.hb.card(), Secret: inviting}, "hat_missing"},
			},
		},
		"joining.answered": {good: asked{by: "node", body: joining.Answered{}}, refused: []asked{
			{"operator", "", joining.Answered{}, "not_allowed"},
			{"node", "", joining.Answered{Why: "\x00"}, "bad_text"},
		}},
		"joining.take": {
			at: s.bh, good: asked{by: hb, body: joining.Take{Charter: signed}},
			refused: []asked{
				{"operator", "", joining.Take{Charter: signed}, "not_allowed"},
				{hb, "", joining.Take{Charter: forged}, "malformed"},
				{hb, "", joining.Take{Charter: signedCharter(t, s.bh, 4)}, "malformed"},
				{hb, "", joining.Take{Cards: [][]byte{s.md.card()}}, "malformed"},
				{hb, "", joining.Take{Charter: signed, Cards: [][]byte{[]byte("no card")}}, "bad_card"},
				{hb, "", joining.Take{Charter: signed, Cards: make([][]byte, 17)}, "malformed"},
			},
		},
	}
}

// inviteCases are what a hub decides.
func inviteCases(s *stage) map[string]kindCase {
	invite := func(secret, whom string, days uint32) joining.Invite {
		i := joining.Invite{For: whom, Days: days}
		if secret != "" {
			i.Secret = sha256.Sum256([]byte(secret))
		}
		return i
	}
	set := func(id letter.CircleID, status string) joining.Set {
		return joining.Set{Circle: string(id), Status: status}
	}
	return map[string]kindCase{
		"joining.invite": {good: asked{by: "Farida", body: invite("x", "Todmorden", 14)}, refused: []asked{
			{"Alice", "", invite("x", "Todmorden", 14), "hat_missing"},
			{"Farida", "", invite("", "Todmorden", 14), "link_missing"},
			{"Farida", "", invite("x", "", 14), "bad_text"},
			{"Farida", "", invite("x", "Todmorden", 0), "bad_time"},
			{"Farida", "", invite("x", "Todmorden", 91), "bad_time"},
			{"Farida", "", invite(string(inviting), "Todmorden", 14), "link_taken"},
		}},
		"joining.set": {good: asked{by: "Farida", body: set(s.hb.id, "paused")}, refused: []asked{
			{"Alice", "", set(s.hb.id, "paused"), "hat_missing"},
			{"Farida", "", set(s.hb.id, "asleep"), "bad_status"},
			{"Farida", "", set(s.bh.id, "paused"), "unknown_circle"},
			{"Farida", "", set(s.hb.id, "closed"), "is_the_hub"},
		}},
	}
}

// TestCharterOfAnother: a charter counts by its number and its hub's key, whoever gives it; circles that are
// not in it stay unknown, and one that has left is known by it. Who is in a federation joins no other.
func TestCharterOfAnother(t *testing.T) {
	s := newStage(t)
	at := func(w *town, status charter.Status, changed uint64) charter.Entry {
		return charter.Entry{Circle: w.id, Status: status, Card: 1, Changed: changed}
	}
	sorted := func(entries ...charter.Entry) []charter.Entry {
		for i := range entries {
			for j := range i {
				if entries[i].Circle < entries[j].Circle {
					entries[i], entries[j] = entries[j], entries[i]
				}
			}
		}
		return entries
	}
	by := machine.Caller{Actor: machine.PeerActor(string(s.hb.id))}
	take := func(b joining.Take) {
		t.Helper()
		if out := s.bh.send(s.bh.command(by, "joining.take", b)); out.Refusal != nil {
			t.Fatal(out.Refusal)
		}
	}
	knows := func(w *town) bool {
		_, ok := exchange.KeyOf(s.bh.kv, w.id)
		return ok
	}
	newer := signedCharter(t, s.hb, 5, sorted(at(s.hb, charter.Giving, 1), at(s.bh, charter.Founding, 2),
		at(s.td, charter.Closed, 3))...)
	take(joining.Take{Charter: newer, Cards: [][]byte{s.md.card(), s.td.card()}, Through: 5})
	if knows(s.md) || knows(s.td) {
		t.Error("a circle is known that the charter does not list, or lists as closed")
	}
	if closed := joining.Closed(s.bh.kv); len(closed) != 1 || closed[0] != s.td.id {
		t.Errorf("closed are %q", closed)
	}
	take(joining.Take{Charter: signedCharter(t, s.hb, 4, sorted(at(s.md, charter.Giving, 1))...)})
	f := view[joining.Federation](s.bh, "operator", "joining.federation", nil)
	if f.Seq != 5 || f.State != "in" || len(f.Circles) != 3 {
		t.Errorf("an older charter counts: %+v", f)
	}
	for _, w := range []*town{s.td, s.hb} {
		out := s.bh.do("operator", "joining.join", joining.Join{Card: w.card(), Secret: inviting})
		again := w == s.hb
		if again != (out.Refusal == nil) || !again && out.Refusal.Code != "joined_already" {
			t.Errorf("%s: %+v", w.name, out.Refusal)
		}
	}
}
