package circle_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// TestErasedInOlderLog erases somebody from a circle whose log holds their words in clear: the answer says
// so, no view shows them any more, nobody can reach them, and the book is what it was.
func TestErasedInOlderLog(t *testing.T) {
	p := newPrivate(t)
	hb, una := p.hb, p.hb.people["CANARY-UNA"]
	before := machine.Read{Reader: hb.kv, Caller: machine.Caller{Actor: machine.ActorOperator}, Now: hb.now}
	sum := total(t, hb, before)
	out := hb.must("Farida", "member.erase", member.Erase{Person: una, How: "letter", On: "2026-02-01"})
	if !out.Result.(member.Erased).InClear {
		t.Error("the answer does not say that the log holds words in clear")
	}
	if now := total(t, hb, before); now != sum {
		t.Errorf("the accounts were %s and are %s", sum, now)
	}
	for _, q := range p.queries() {
		if q.view == "member.file" && strings.Contains(q.words, "una") {
			continue
		}
		for _, r := range p.readers {
			rd := machine.Read{
				Reader: hb.kv, Caller: machine.Caller{Actor: r.actor, OnBehalfOf: r.behalf}, Now: hb.now,
			}
			noWords(t, hb, q, r, rd)
		}
	}
	refused(t, hb, "Ben", "coin.give", coin.Give{To: una, Minutes: 10}, "person_left")
	refused(t, hb, una, "exchange.code", exchange.SetCode{Code: "UNAUNA33"}, "not_a_member")
	refused(t, hb, "operator", "coin.earn", coin.Earn{Person: una, Minutes: 10, Activity: "x"}, "person_left")
}

// total returns the balance of every account.
func total(t *testing.T, w *town, rd machine.Read) string {
	t.Helper()
	got, err := w.m.View(rd, "coin.overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, a := range got.(coin.Overview).Accounts {
		b.WriteString(a.Account + " " + coin.Coins(a.Minutes) + "; ")
	}
	return b.String()
}

// noWords asks one view as one reader: nothing that Una wrote, and nothing that was written about her, shows.
func noWords(t *testing.T, w *town, q query, r reader, rd machine.Read) {
	t.Helper()
	answer, err := w.m.View(rd, q.view, q.set)
	if err != nil {
		return
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{
		"CANARY-UNA", "CANARY-PAYNOTE", "CANARY-GIFT", "CANARY-DEVICE", "CANARY-STORED", "CANARY-EVIDENCE",
		"CANARY-ABROADNOTE", "CANARY-FROZEN", // why an act was undone is the words of whom it had gone to
	} {
		if strings.Contains(string(raw), word) {
			t.Errorf("%s %s shows %s of who was erased to %s", q.view, q.words, word, r.name)
		}
	}
}

// refused does a command and wants it refused with a code.
func refused(t *testing.T, w *town, by, kind string, body any, code string) {
	t.Helper()
	if out := w.do(by, kind, body); out.Refusal == nil || out.Refusal.Code != code {
		t.Errorf("%s by %s: %+v, want %s", kind, by, out.Refusal, code)
	}
}
