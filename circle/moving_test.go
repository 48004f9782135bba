package circle_test

import (
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
)

// tell takes what moves of one circle have to tell to the other, as nodes do: often.
func tell(t *testing.T, from, to *town) {
	t.Helper()
	peer := machine.Caller{Actor: machine.PeerActor(string(from.id))}
	open := func(p machine.Private) ([]byte, bool) { return p.Data, true }
	for _, o := range moving.Outgoings(from.kv, open) {
		kind, body := "moving.answered", any(moving.Answered{
			ID: o.ID, Yes: o.Stage == moving.StageExpected, Code: o.Code, Origin: "https://bh.example",
		})
		switch o.Stage {
		case moving.StageAsked:
			kind, body = "moving.asked", moving.Asked{ID: o.ID, Name: text(o.Name), Words: text(o.Words)}
		case moving.StageLeft:
			kind, body = "moving.packet", moving.Packet{
				ID: o.ID, Link: o.Link, Was: o.Person, Proof: []byte("signed"),
			}
		default: // an answer
		}
		for range 2 { // said twice, for the first word may be lost
			if out := to.send(to.command(peer, kind, body)); out.Refusal != nil {
				t.Fatal(kind, out.Refusal)
			}
		}
		from.must("node", "moving.delivered", moving.Delivered{
			Circle: string(o.Circle), ID: o.ID, Stage: o.Stage,
		})
	}
}

func stageOf(t *testing.T, w *town, name string) moving.Mine {
	t.Helper()
	out, err := w.m.View(machine.Read{
		Reader: w.kv, Caller: machine.Caller{Actor: w.people[name]}, Now: w.now,
	}, "moving.mine", nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.(moving.Mine)
}

func arrivalsAt(t *testing.T, w *town) []moving.Arrival {
	t.Helper()
	out, err := w.m.View(machine.Read{
		Reader: w.kv, Caller: machine.Caller{Actor: "operator"}, Now: w.now,
	}, "moving.arrivals", nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.(moving.Arrivals).Arrivals
}

// accepted has Alice ask the other circle, and that circle say yes; it returns who she will be there.
func accepted(t *testing.T, hb, bh *town) string {
	t.Helper()
	hb.must("Alice", "moving.ask", moving.Ask{
		Circle: string(bh.id), Name: text("Alice"), Words: text("My aunt"),
	})
	tell(t, hb, bh)
	waiting := arrivalsAt(t, bh)[0]
	if waiting.Stage != "waiting" || waiting.Name != "Alice" || waiting.Words != "My aunt" {
		t.Fatalf("%+v", waiting)
	}
	bh.must("Orla", "moving.decide", moving.Decide{
		Circle: string(hb.id), ID: waiting.ID, Yes: true, Name: text("Alice"), Code: "ALYCE222",
	})
	tell(t, bh, hb)
	if got := stageOf(t, hb, "Alice"); got.Stage != "accepted" || got.Origin != "https://bh.example" {
		t.Fatalf("%+v", got)
	}
	return arrivalsAt(t, bh)[0].Person
}

// TestMove moves Alice with her coins to another circle: in parts, for the limit is in the way.
func TestMove(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	balance := func(w *town, account string) int64 {
		a, _ := coin.ReadBooks(w.kv).Account(coin.Book, account)
		return a.Posted
	}
	for range 4 { // 51 coins in all, and only ten may go
		hb.now += day
		earnOf(hb, "Alice", 12, "garden")
	}
	alice := hb.people["Alice"]
	had := balance(hb, alice)
	if had != 51*60 {
		t.Fatal(had)
	}
	there, link := accepted(t, hb, bh), secret("alice's first link there")
	enter := member.Enter{Link: link, Session: secret("alice there"), Until: bh.now + day}
	if out := bh.do("node", "member.enter", enter); out.Refusal == nil {
		t.Fatal("she enters before she has left")
	}
	hb.must("Alice", "moving.go", moving.Go{Link: link})
	settle(t, hb, bh)
	if got := stageOf(t, hb, "Alice"); got.Stage != "leaving" || got.Minutes != had-600 {
		t.Fatalf("%+v", got)
	}
	// Coins come back the other way, which makes room for the next part.
	moved := func() bool {
		p, _ := member.Find(hb.kv, alice)
		return p.Status == member.Moved
	}
	for part := 0; !moved(); part++ {
		if moving.Due(hb.kv, hb.now) || part > 10 {
			t.Fatal("there is no room for more, and it is due; or it never ends")
		}
		bh.now += day
		earnOf(bh, "Irene", 10, "tea")
		bh.must("Irene", "exchange.pay", exchange.Pay{Circle: string(hb.id), Code: "BEN22222", Minutes: 600})
		settle(t, hb, bh)
		for moving.Due(hb.kv, hb.now) {
			hb.must("node", "moving.step", moving.Step{})
			settle(t, hb, bh)
		}
	}
	if balance(hb, alice) != 0 || balance(bh, there) != had {
		t.Errorf("%d stayed, %d of %d came", balance(hb, alice), balance(bh, there), had)
	}
	if p, _ := member.Find(hb.kv, alice); p.Status != member.Moved || len(p.Hats) != 0 {
		t.Errorf("%+v", p)
	}
	if p, _ := member.Find(bh.kv, there); p.Status != member.Invited {
		t.Errorf("she is there before she is there: %+v", p)
	}
	if out := hb.do("Alice", "findable.withdraw", nil); out.Refusal == nil {
		t.Error("she acts where she does not live any more")
	}
	late := coin.Pay{To: alice, Minutes: 5, Activity: "tea"}
	if out := hb.do("Ben", "coin.pay", late); out.Refusal == nil || out.Refusal.Code != "person_moved" {
		t.Errorf("coins for her: %+v", out)
	}
	tell(t, hb, bh)
	keepsProof(t, bh, alice)
	enter.Until = bh.now + day
	bh.must("node", "member.enter", enter)
	if p, _ := member.Find(bh.kv, there); p.Status != member.Active {
		t.Errorf("%+v", p)
	}
	// She may still ask to be forgotten where she lived.
	hb.must("operator", "member.erase", member.Erase{Person: alice, How: "phone", On: "2026-01-02"})
}

// keepsProof wants a circle to keep, for the home that somebody left, what it signed when they did.
func keepsProof(t *testing.T, w *town, was string) {
	t.Helper()
	back := moving.Again(w.kv, func(p machine.Private) ([]byte, bool) { return p.Data, true })
	if len(back) != 1 || back[0].Person != was || string(back[0].Proof) != "signed" {
		t.Errorf("what the home signed is not kept for it: %+v", back)
	}
}

// TestMoveRefused: who is not taken stays, and may ask another circle.
func TestMoveRefused(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	ask := moving.Ask{Circle: string(bh.id), Name: text("Alice")}
	hb.must("Alice", "moving.ask", ask)
	tell(t, hb, bh)
	bh.must("Orla", "moving.decide", moving.Decide{Circle: string(hb.id), ID: arrivalsAt(t, bh)[0].ID})
	tell(t, bh, hb)
	if got := stageOf(t, hb, "Alice"); got.Stage != "refused" {
		t.Fatalf("%+v", got)
	}
	if out := hb.do("Alice", "moving.go", moving.Go{Link: secret("x")}); out.Refusal == nil {
		t.Error("she goes where she is not taken")
	}
	hb.must("Alice", "moving.ask", ask)
}

// TestMoveForwards: old links lead to where she lives now, by whichever way she comes.
func TestMoveForwards(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	alice := hb.people["Alice"]
	hb.must("operator", "member.link", member.Link{
		Person: alice, Link: secret("old link"), Until: hb.now + day,
	})
	accepted(t, hb, bh)
	hb.must("Alice", "moving.go", moving.Go{Link: secret("first link there")})
	settle(t, hb, bh)
	hb.must("node", "moving.step", moving.Step{})
	for kind, body := range map[string]any{
		"member.enter": member.Enter{
			Link: secret("old link"), Session: secret("again"), Until: hb.now + day,
		},
		"member.signin": member.OpenSession{
			Person: alice, Passkey: []byte("key"), Session: secret("again"), Until: hb.now + day,
		},
	} {
		out := hb.do("node", kind, body)
		if out.Refusal == nil || out.Refusal.Code != "person_moved" ||
			!strings.Contains(out.Refusal.Message, "https://bh.example") {
			t.Errorf("%s: %+v", kind, out.Refusal)
		}
	}
}

// TestMoveOwing: who spends more than they had while they are leaving stays until nothing is owed.
func TestMoveOwing(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	alice := hb.people["Alice"]
	hb.now += day
	earnOf(hb, "Alice", 12, "garden") // 15 coins, of which ten may go
	accepted(t, hb, bh)
	hb.must("Alice", "moving.go", moving.Go{Link: secret("first link there")})
	settle(t, hb, bh)
	hb.must("Alice", "coin.pay", coin.Pay{To: hb.people["Ben"], Minutes: 5*60 + 30, Activity: "a lift"})
	status := func() member.Status {
		hb.must("node", "moving.step", moving.Step{})
		settle(t, hb, bh)
		p, _ := member.Find(hb.kv, alice)
		return p.Status
	}
	if moving.Due(hb.kv, hb.now) || status() != member.Active || stageOf(t, hb, "Alice").Minutes != -30 {
		t.Errorf("she left owing: %+v", stageOf(t, hb, "Alice"))
	}
	hb.must("Ben", "coin.pay", coin.Pay{To: alice, Minutes: 30, Activity: "a meal"})
	if !moving.Due(hb.kv, hb.now) || status() != member.Moved {
		t.Error("she owes nothing, and stays")
	}
}

// TestMoveWaits: nobody leaves while coins of theirs are on the way.
func TestMoveWaits(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	accepted(t, hb, bh)
	hb.must("Alice", "coin.pay", coin.Pay{To: hb.people["Ben"], Minutes: 120, Activity: "a lift"})
	hb.must("Alice", "exchange.pay", exchange.Pay{Circle: string(bh.id), Code: "IRENE222", Minutes: 60})
	hb.must("Alice", "moving.go", moving.Go{Link: secret("first link there")})
	// With this one nothing is left.
	hb.must("Alice", "coin.pay", coin.Pay{To: hb.people["Ben"], Minutes: 60, Activity: "a lift"})
	hb.must("node", "moving.step", moving.Step{})
	if p, _ := member.Find(hb.kv, hb.people["Alice"]); p.Status != member.Active {
		t.Error("she left while a coin of hers is on the way")
	}
	settle(t, hb, bh)
}

// TestMoveForgotten: a circle that hears that somebody lives elsewhere, and has forgotten that they left,
// lets them go; but not while they owe.
func TestMoveForgotten(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	alice := hb.people["Alice"]
	accepted(t, hb, bh)
	hb.must("Alice", "coin.pay", coin.Pay{To: hb.people["Ben"], Minutes: 200, Activity: "a lift"})
	peer := machine.Caller{Actor: machine.PeerActor(string(bh.id))}
	home := moving.Arrived{ID: arrivalsAt(t, bh)[0].ID, Code: "ALYCE222"}
	for range 2 {
		if out := hb.send(hb.command(peer, "moving.arrived", home)); out.Refusal != nil {
			t.Fatal(out.Refusal)
		}
	}
	leaving := stageOf(t, hb, "Alice").Stage == "leaving"
	if p, _ := member.Find(hb.kv, alice); p.Status != member.Active || !leaving {
		t.Errorf("she left owing: %+v", p)
	}
	hb.must("Ben", "coin.pay", coin.Pay{To: alice, Minutes: 20, Activity: "a meal"})
	hb.must("node", "moving.step", moving.Step{})
	if p, _ := member.Find(hb.kv, alice); p.Status != member.Moved {
		t.Errorf("%+v", p)
	}
}

// TestMoveForgottenWholly: a circle that was put back to before somebody even asked lets them go on its own
// word that they left, and on nobody else's.
func TestMoveForgottenWholly(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	ben := hb.people["Ben"]
	peer := machine.Caller{Actor: machine.PeerActor(string(bh.id))}
	hear := func(a moving.Arrived) member.Person {
		t.Helper()
		if out := hb.send(hb.command(peer, "moving.arrived", a)); out.Refusal != nil {
			t.Fatal(out.Refusal)
		}
		settle(t, hb, bh)
		hb.must("node", "moving.step", moving.Step{})
		p, _ := member.Find(hb.kv, ben)
		return p
	}
	home := moving.Arrived{ID: strings.Repeat("7", 32), Code: "IRENE222", Origin: "https://bh.example"}
	if p := hear(home); p.Status != member.Active {
		t.Errorf("he left, and the circle never said so: %+v", p)
	}
	home.Person = "nobody"
	hear(home)
	home.Person = ben
	for range 2 {
		if p := hear(home); p.Status != member.Moved {
			t.Errorf("he is at home here still: %+v", p)
		}
	}
	open := func(p machine.Private) ([]byte, bool) { return p.Data, true }
	if out := moving.Again(hb.kv, open); len(out) != 0 {
		t.Errorf("told once more, though he is there already: %+v", out)
	}
}

// TestMoveOnForgotten: a circle that was put back to before somebody came hears first that they have moved
// on, by its own word, and then that they come. They come, are the same person, and leave again.
func TestMoveOnForgotten(t *testing.T) {
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	from := machine.Caller{Actor: machine.PeerActor(string(hb.id))}
	hear := func(kind string, body any) {
		t.Helper()
		if out := bh.send(bh.command(from, kind, body)); out.Refusal != nil {
			t.Fatal(out.Refusal)
		}
	}
	for i, forgotten := range []bool{false, true} {
		id := strings.Repeat(string(rune('7'+i)), 32)
		who := moving.PersonOf(string(hb.id), id)
		on := moving.Arrived{
			ID: strings.Repeat("9", 32), Code: "ALYCE222", Origin: "https://on.example", Person: who,
		}
		if forgotten {
			hear("moving.arrived", on)
		}
		hear("moving.asked", moving.Asked{ID: id, Name: text("Alice")})
		bh.must("Orla", "moving.decide", moving.Decide{
			Circle: string(hb.id), ID: id, Yes: true, Name: text("Alice"), Person: who,
			Code: "ALYCE33" + string(rune('2'+i)),
		})
		want := member.Invited
		if forgotten {
			want = member.Moved
		}
		if p, _ := member.Find(bh.kv, who); p.Status != want {
			t.Errorf("forgotten %v: %+v", forgotten, p)
		}
		hear("moving.packet", moving.Packet{ID: id, Link: secret("first link " + id)})
	}
}
