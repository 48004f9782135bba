package circle_test

import (
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
)

// aboutToMove has Norah accepted by another circle, and somebody of it wait to move here.
func aboutToMove(s *stage) {
	peer := machine.Caller{Actor: machine.PeerActor(string(s.bh.id))}
	send := func(kind string, body any) {
		if out := s.hb.send(s.hb.command(peer, kind, body)); out.Refusal != nil {
			s.hb.t.Fatal(out.Refusal)
		}
	}
	s.hb.must("Norah", "moving.ask", moving.Ask{Circle: string(s.bh.id), Name: text("Norah")})
	send("moving.answered", moving.Answered{ID: s.moveOf("Norah"), Yes: true, Code: "NORAH222"})
	s.hb.must("Alice", "moving.ask", moving.Ask{Circle: string(s.bh.id), Name: text("Alice")})
	send("moving.asked", moving.Asked{ID: oneID, Name: text("Irene"), Words: text("My niece is here")})
	send("moving.asked", moving.Asked{ID: otherID, Name: text("Kitty")})
	s.hb.must("operator", "moving.decide", moving.Decide{
		Circle: string(s.bh.id), ID: otherID, Yes: true, Name: text("Kitty"), Code: "KITTY222",
	})
}

// moveOf is the id of a person's move.
func (s *stage) moveOf(name string) string {
	open := func(p machine.Private) ([]byte, bool) { return p.Data, true }
	for _, o := range moving.Outgoings(s.hb.kv, open) {
		if o.Name == name {
			return o.ID
		}
	}
	return ""
}

func movingCases(_ *testing.T, s *stage) map[string]kindCase {
	bh, link := string(s.bh.id), secret("first link there")
	ask := func(circle, name string) moving.Ask { return moving.Ask{Circle: circle, Name: text(name)} }
	decide := func(id, name, code string) moving.Decide {
		return moving.Decide{Circle: bh, ID: id, Yes: true, Name: text(name), Code: code}
	}
	long := ask(bh, "Ben")
	long.Words = text(strings.Repeat("a", 501))
	alice := s.moveOf("Alice")
	given := func(id string, stage moving.Stage) moving.Delivered {
		return moving.Delivered{Circle: bh, ID: id, Stage: stage}
	}
	none := strings.Repeat("7", 32)
	irene := decide(oneID, "Irene", "IRENE333")
	somebodyElse := irene
	somebodyElse.Person = moving.PersonOf(bh, otherID)
	return map[string]kindCase{
		"moving.ask": {good: asked{by: "Ben", body: ask(bh, "Ben")}, refused: []asked{
			{"Alice", "", ask(bh, "Alice"), "moving_already"},
			{"Ben", "", ask(bh, ""), "name_missing"},
			{"Ben", "", long, "bad_text"},
			{"Ben", "", ask("x", "Ben"), "malformed"},
			{"Ben", "", ask(string(s.hb.id), "Ben"), "unknown_circle"},
			{"operator", "", ask(bh, "Ben"), "not_a_member"},
		}},
		"moving.cancel": {good: asked{by: "Alice", body: moving.Cancel{}}, refused: []asked{
			{"Ben", "", moving.Cancel{}, "not_moving"},
		}},
		"moving.go": {good: asked{by: "Norah", body: moving.Go{Link: link}}, refused: []asked{
			{"Alice", "", moving.Go{Link: link}, "not_accepted"},
			{"Norah", "", moving.Go{}, "malformed"},
		}},
		"moving.decide": {good: asked{by: "Farida", body: irene}, refused: []asked{
			{"Farida", "", decide(otherID, "Kitty", "KITTY333"), "not_waiting"},
			{"Farida", "", decide(oneID, "", "IRENE333"), "name_missing"},
			{"Farida", "", decide(oneID, "Irene", "x"), "bad_code"},
			{"Farida", "", decide(oneID, "Irene", "ALICE222"), "code_taken"},
			{"Farida", "", decide("x", "Irene", "IRENE333"), "malformed"},
			{"Farida", "", somebodyElse, "malformed"},
			{"Alice", "", irene, "hat_missing"},
		}},
		"moving.step": {good: asked{by: "node", body: moving.Step{}}, refused: []asked{
			{"operator", "", moving.Step{}, "not_allowed"},
		}},
		"moving.delivered": {good: asked{by: "node", body: given(alice, moving.StageAsked)}, refused: []asked{
			{"node", "", given(alice, moving.StageLeft), "not_asked"},
			{"node", "", given(none, moving.StageExpected), "not_asked"},
			{"node", "", given("x", moving.StageAsked), "malformed"},
			{"operator", "", given(alice, moving.StageAsked), "not_allowed"},
		}},
	}
}

// movingPeerCases are the kinds by which other circles tell of moves.
func movingPeerCases(s *stage) map[string]kindCase {
	peer, alice, none := machine.PeerActor(string(s.bh.id)), s.moveOf("Alice"), strings.Repeat("7", 32)
	link, long := secret("first link there"), strings.Repeat("w", 65)
	answer := func(id, code string) moving.Answered { return moving.Answered{ID: id, Yes: true, Code: code} }
	packet := func(id string) moving.Packet { return moving.Packet{ID: id, Link: link} }
	home := func(id, code string) moving.Arrived { return moving.Arrived{ID: id, Code: code} }
	una := moving.Asked{ID: none, Name: text("Una")}
	return map[string]kindCase{
		"moving.asked": {good: asked{by: peer, body: una}, refused: []asked{
			{peer, "", moving.Asked{ID: "x", Name: text("Una")}, "malformed"},
			{peer, "", moving.Asked{ID: none}, "name_missing"},
			{"Alice", "", una, "not_allowed"},
		}},
		"moving.answered": {good: asked{by: peer, body: answer(alice, "ALICE333")}, refused: []asked{
			{peer, "", answer(none, "ALICE333"), "not_asked"},
			{peer, "", answer(alice, "x"), "bad_code"},
			{machine.PeerActor(string(s.td.id)), "", answer(alice, "ALICE333"), "not_asked"},
			{"Alice", "", answer(alice, "ALICE333"), "not_allowed"},
		}},
		"moving.packet": {good: asked{by: peer, body: packet(otherID)}, refused: []asked{
			{peer, "", packet(oneID), "not_expected"},
			{peer, "", packet(none), "not_expected"},
			{peer, "", moving.Packet{ID: otherID}, "malformed"},
			{peer, "", moving.Packet{ID: otherID, Link: link, Was: long}, "malformed"},
			{peer, "", moving.Packet{ID: otherID, Link: link, Proof: make([]byte, 65)}, "malformed"},
			{"Alice", "", packet(otherID), "not_allowed"},
		}},
		"moving.arrived": {good: asked{by: peer, body: home(alice, "ALICE333")}, refused: []asked{
			{peer, "", home("x", "ALICE333"), "malformed"},
			{peer, "", home(alice, "x"), "bad_code"},
			{peer, "", moving.Arrived{ID: none, Code: "ALICE333", Person: long}, "malformed"},
			{"Alice", "", home(alice, "ALICE333"), "not_allowed"},
		}},
	}
}
