package circle_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

func (w *town) found(founder string) {
	w.start(founder)
	w.must(founder, "coin.policy", coin.SetPolicy{
		FloorMinutes: -300, WelcomeMinutes: 600, AutoGift: true, EarnDayMinutes: 720, ReviewOn: "2026-09-30",
		Decision: w.name + " coin policy",
	})
}

// start founds the circle without a coin policy.
func (w *town) start(founder string) {
	out := w.must("operator", "member.found", member.Found{
		Circle: string(w.id), Key: w.key.Public().(ed25519.PublicKey), Name: w.name, Place: w.name,
		Aim: "Neighbours giving and getting support on terms they choose", Founder: machine.Text("", founder),
	})
	w.people[founder] = out.Result.(member.Made).Person
	w.join(founder)
}

func (w *town) join(name string) {
	if _, ok := w.people[name]; !ok {
		out := w.must("operator", "member.invite", member.Invite{
			Name: machine.Text("", name), Link: machine.Hash(w.fresh2()), Until: w.now + 1e6,
		})
		w.people[name] = out.Result.(member.Made).Person
	}
	link := machine.Hash(w.fresh2())
	w.must("operator", "member.link", member.Link{Person: w.people[name], Link: link, Until: w.now + 1e6})
	w.must("node", "member.enter", member.Enter{
		Link: link, Session: machine.Hash(w.fresh2()), Until: w.now + 1e6,
	})
}

func (w *town) fresh2() [32]byte {
	a, b := w.fresh(), w.fresh()
	return [32]byte(append(a[:], b[:]...))
}

func (w *town) balances() map[string]int64 {
	names := map[string]string{}
	for name, id := range w.people {
		names[id] = name
	}
	out := map[string]int64{}
	coin.ReadBooks(w.kv).Accounts(coin.Book, func(a ledger.Account) bool {
		name := a.ID
		if n, ok := names[name]; ok {
			name = n
		}
		out[name] = a.Posted / 60
		return true
	})
	return out
}

func earnOf(w *town, who string, coins int64, activity string) {
	w.must("operator", "coin.earn", coin.Earn{
		Person: w.people[who], Minutes: coins * 60, Activity: activity, Place: w.name,
	})
}

// allied are two circles with their people, and an alliance in force.
func allied(t *testing.T) (hb, bh *town) {
	t.Helper()
	hb, bh = newTown(t, "Hebden Bridge"), newTown(t, "Blackshaw Head")
	hb.found("Farida")
	bh.found("Orla")
	for _, n := range []string{"Wendy", "Xavier", "Yvonne", "Ben", "Norah", "Alice", "Dev", "Stanley"} {
		hb.join(n)
	}
	for _, n := range []string{"Gill", "Hugo", "Moira", "Kitty", "Irene"} {
		bh.join(n)
	}
	hb.must("Farida", "exchange.meet", exchange.Meet{Card: bh.card()})
	bh.must("Orla", "exchange.meet", exchange.Meet{Card: hb.card()})
	bh.must("Orla", "exchange.ally", exchange.Ally{
		Circle: string(hb.id), LimitMinutes: 2400, ReviewOn: "2026-09-30", Decision: "BH-7",
	})
	settle(t, hb, bh)
	hb.must("Farida", "exchange.ally", exchange.Ally{
		Circle: string(bh.id), LimitMinutes: 2400, ReviewOn: "2026-09-30",
	})
	settle(t, hb, bh)
	return hb, bh
}

// playAtHome plays what happens inside the two circles.
func playAtHome(hb, bh *town) {
	earnOf(hb, "Wendy", 3, "community lunch")
	hb.must("Xavier", "coin.autogift", coin.AutoGift{To: "pool"})
	earnOf(hb, "Xavier", 4, "office")
	earnOf(hb, "Yvonne", 2, "peer group")
	earnOf(hb, "Ben", 6, "hub garden")
	hb.must("Ben", "coin.give", coin.Give{To: "pool", Minutes: 360, Picture: &coin.Picture{
		Data: []byte("\xff\xd8\xffgarden"), Alt: machine.Text("", "Beans in the hub garden"),
	}})
	hb.must("Farida", "coin.welcome", coin.Welcome{Person: hb.people["Norah"]})
	hb.must("Norah", "coin.pay", coin.Pay{To: hb.people["Alice"], Minutes: 120, Activity: "company"})
	hb.must("Norah", "coin.pay", coin.Pay{To: hb.people["Dev"], Minutes: 60, Activity: "a lift"})
	earnOf(hb, "Stanley", 2, "repair cafe teaching")
	hb.must("Farida", "coin.place", coin.AddPlace{Place: "repair-cafe", Name: "Repair cafe"})
	hb.must("Stanley", "coin.give", coin.Give{To: "place/repair-cafe", Minutes: 60})
	earnOf(hb, "Norah", 1, "telephone circle")

	for who, coins := range map[string]int64{"Gill": 3, "Hugo": 2, "Moira": 5} {
		bh.must(who, "coin.autogift", coin.AutoGift{To: "pool"})
		earnOf(bh, who, coins, "for the village")
	}
	bh.must("Orla", "coin.welcome", coin.Welcome{Person: bh.people["Kitty"]})
}

// TestCoinStory plays the coin story of two circles and compares every closing balance.
func TestCoinStory(t *testing.T) {
	hb, bh := allied(t)
	playAtHome(hb, bh)
	hb.must("Wendy", "exchange.code", exchange.SetCode{Code: "WENDY222"})
	bh.must("Irene", "exchange.code", exchange.SetCode{Code: "IRENE222"})
	bh.must("Kitty", "exchange.pay", exchange.Pay{
		Circle: string(hb.id), Code: "WENDY222", Minutes: 120, Activity: "visit",
	})
	settle(t, hb, bh)

	tooMuch := hb.do("Alice", "exchange.pay", exchange.Pay{
		Circle: string(bh.id), Code: "IRENE222", Minutes: 480,
	})
	if tooMuch.Refusal == nil || tooMuch.Refusal.Code != "floor_passed" {
		t.Fatalf("8 with 2 held, floor -5: %+v", tooMuch.Refusal)
	}
	pay := hb.command(machine.Caller{Actor: hb.people["Alice"]}, "exchange.pay",
		exchange.Pay{Circle: string(bh.id), Code: "IRENE222", Minutes: 60})
	first, again := hb.send(pay), hb.send(pay)
	if first.Refusal != nil || !again.Repeated || again.Result != first.Result {
		t.Fatalf("the same request twice: %+v, then %+v", first, again)
	}
	if got := view[coin.Mine](hb, "Alice", "coin.mine", nil); got.Held != 60 || got.Balance != 120 {
		t.Fatalf("while it waits Alice has %+v", got)
	}
	settle(t, hb, bh)

	wantHB := map[string]int64{
		"issuance": -18, "pool": 0, "place/repair-cafe": 1, "Wendy": 5, "Xavier": 0, "Yvonne": 2, "Ben": 0,
		"Norah": 8, "Alice": 1, "Dev": 1, "Stanley": 1, "circle/" + string(bh.id): -1,
	}
	wantBH := map[string]int64{
		"issuance": -10, "pool": 0, "Gill": 0, "Hugo": 0, "Moira": 0, "Kitty": 8, "Irene": 1,
		"circle/" + string(hb.id): 1,
	}
	compare(t, "Hebden Bridge", hb.balances(), wantHB)
	compare(t, "Blackshaw Head", bh.balances(), wantBH)
	lineage(t, hb)
	for _, w := range []*town{hb, bh} {
		report, err := ledger.Audit(coin.ReadBooks(w.kv))
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("%s: audit: %v %v", w.name, err, report.Findings)
		}
		replayEqual(t, w)
	}
}

func compare(t *testing.T, name string, got, want map[string]int64) {
	t.Helper()
	for account, coins := range want {
		if g, ok := got[account]; !ok || g != coins {
			t.Errorf("%s: %s has %d coins, want %d", name, account, g, coins)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: accounts %v, want %v", name, got, want)
	}
}

// lineage checks the way of the coin that Alice keeps: garden, gift to the pool, welcome, company, with
// Ben's picture.
func lineage(t *testing.T, hb *town) {
	t.Helper()
	j := view[coin.Journey](hb, "Alice", "coin.journey", nil)
	if len(j.Held) != 1 || j.Held[0].Minutes != 60 {
		t.Fatalf("Alice's coins: %+v", j.Held)
	}
	var way []string
	picture := false
	for _, s := range j.Held[0].Steps {
		way = append(way, s.Reason+":"+s.Activity)
		picture = picture || s.Picture
		if s.Who != "" && s.Who != "you" && s.Who != "the pool" {
			t.Errorf("step %+v names %q, who did not agree", s, s.Who)
		}
	}
	want := []string{"earn:hub garden", "gift:", "welcome:", "pay:company"}
	if !picture || len(way) != len(want) {
		t.Fatalf("way %v (picture %v), want %v", way, picture, want)
	}
	for i := range want {
		if way[i] != want[i] {
			t.Errorf("step %d is %s, want %s", i, way[i], want[i])
		}
	}
}

// replayEqual replays a town's log from empty, and a copy of the half-way state plus the rest.
func replayEqual(t tester, w *town) {
	t.Helper()
	whole, half := machine.NewMem(), machine.NewMem()
	for i, raw := range w.log {
		if _, err := w.m.Apply(whole, raw); err != nil {
			t.Fatal(err)
		}
		if i < len(w.log)/2 {
			continue
		}
		if i == len(w.log)/2 {
			machine.Copy(half, whole)
			continue
		}
		if _, err := w.m.Apply(half, raw); err != nil {
			t.Fatal(err)
		}
	}
	want := machine.StateHash(w.kv)
	if got := machine.StateHash(whole); got != want || machine.ReadMeta(whole) != machine.ReadMeta(w.kv) {
		t.Errorf("%s: the log replayed from empty gives another state", w.name)
	}
	if got := machine.StateHash(half); got != want {
		t.Errorf("%s: a snapshot and the rest of the log give another state", w.name)
	}
}
