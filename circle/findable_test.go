package circle_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

// TestShown follows what one member shows: chosen, changed, renewed, taken back, and acknowledged.
func TestShown(t *testing.T) {
	s := newStage(t)
	hb := s.hb
	all := shownNow(hb)
	if len(all) != 2 || all[0].Gone || !all[1].Gone || all[0].Seq != 1 || all[1].Seq != 3 {
		t.Fatalf("%+v", all)
	}
	alice := all[0]
	if alice.Name != "Alice" || alice.At.Lat != 5374000 || len(alice.Kinds) != 1 || !alice.Hours.Has(18) ||
		alice.Hours.Has(24) {
		t.Errorf("%+v", alice)
	}
	changed := aliceShows()
	changed.Words = "Tea"
	hb.must("Alice", "findable.choose", findable.Choose{Card: changed})
	again := shownNow(hb)[1]
	if again.ID != alice.ID || again.Seq != 4 || again.Words != "Tea" {
		t.Errorf("%+v", again)
	}
	if findable.Due(hb.kv, hb.now) {
		t.Error("due at once")
	}
	hb.now += 40 * day
	if !findable.Due(hb.kv, hb.now) {
		t.Error("never due")
	}
	hb.must("node", "findable.renew", findable.Renew{})
	if again = shownNow(hb)[1]; again.Seq != 5 || again.Until < hb.now+50*day || findable.Due(hb.kv, hb.now) {
		t.Errorf("%+v", again)
	}
	hb.must("Alice", "findable.withdraw", findable.Withdraw{})
	gone := shownNow(hb)[1]
	if !gone.Gone || gone.Seq != 6 || gone.ID != alice.ID || gone.Name != "" {
		t.Errorf("%+v", gone)
	}
	open := findable.Recalls(hb.kv)
	ack, err := directory.Ack{Holder: s.bh.id, Circle: hb.id, ID: gone.ID, Seq: gone.Seq}.Sign(s.bh.key)
	if err != nil {
		t.Fatal(err)
	}
	hb.must("node", "findable.acknowledge", findable.Acknowledge{Ack: ack})
	if left := findable.Recalls(hb.kv); len(left) != len(open)-1 {
		t.Errorf("%d of %d are still to be answered", len(left), len(open))
	}
	out, err := hb.m.View(machine.Read{
		Reader: hb.kv, Caller: machine.Caller{Actor: hb.people["Alice"]}, Now: hb.now,
	}, "findable.mine", nil)
	mine, ok := out.(findable.Mine)
	if err != nil || !ok || mine.Shown || len(mine.Taken) != 1 || len(mine.Taken[0].Holders) != 3 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, h := range mine.Taken[0].Holders {
		if (h.Gone != 0) != (h.Circle == string(s.bh.id)) {
			t.Errorf("%+v", h)
		}
	}
	hb.now += 200 * day
	hb.must("node", "findable.renew", findable.Renew{})
	if len(shownNow(hb)) != 0 {
		t.Errorf("still there: %+v", shownNow(hb))
	}
}

// TestShownErased: the card of somebody who left and was erased is taken back by the node.
func TestShownErased(t *testing.T) {
	s := newStage(t)
	s.hb.must("Alice", "member.erase", member.Erase{Person: s.hb.people["Alice"]})
	if !findable.Due(s.hb.kv, s.hb.now) {
		t.Fatal("not due")
	}
	s.hb.must("node", "findable.renew", findable.Renew{})
	for _, c := range shownNow(s.hb) {
		if !c.Gone {
			t.Errorf("%+v", c)
		}
	}
	if findable.Due(s.hb.kv, s.hb.now) {
		t.Error("due again")
	}
}

// TestShownForgotten: a circle that was put back to an older copy puts its cards behind those that others
// have, and takes back what it had taken back.
func TestShownForgotten(t *testing.T) {
	s := newStage(t)
	alice := shownNow(s.hb)[0]
	gone, err := directory.Seal(s.hb.key, directory.Card{
		Circle: alice.Circle, ID: alice.ID, Seq: 9, Until: alice.Until, Gone: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	alice.Gone, alice.ID, alice.Seq = false, "later", 8
	unknown, err := directory.Seal(s.hb.key, alice)
	if err != nil {
		t.Fatal(err)
	}
	s.hb.must("node", "findable.renew", findable.Renew{After: 9, Lost: []letter.Signed{gone, unknown}})
	for _, c := range shownNow(s.hb) {
		if c.Seq <= 9 || !c.Gone {
			t.Errorf("%+v", c)
		}
	}
	if n := len(shownNow(s.hb)); n != 3 {
		t.Errorf("%d cards", n)
	}
}
