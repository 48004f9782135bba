package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/letter"
)

// owing is a circle that owes one other a coin, and is owed one by its hub, which proposes to set off half.
func owing(t testing.TB) *site {
	hb, bh, td := newTown(t, "Hebden Bridge"), newTown(t, "Blackshaw Head"), newTown(t, "Todmorden")
	for _, w := range []*town{hb, bh, td} {
		w.ago(2)
	}
	hb.found("Farida")
	bh.found("Orla")
	td.found("Tariq")
	for _, w := range []*town{hb, bh, td} {
		w.join("Wendy", true)
		w.earn("Wendy", 120, "garden", "")
	}
	ally(hb, bh, "Farida", "Orla", 600)
	ally(hb, td, "Farida", "Tariq", 600)
	for _, way := range []struct {
		from, to *town
		code     string
	}{{hb, bh, "WENDYBH2"}, {td, hb, "WENDYHB2"}} {
		way.to.must("Wendy", "exchange.code", exchange.SetCode{Code: way.code})
		way.from.must("Wendy", "exchange.pay", exchange.Pay{
			Circle: string(way.to.id()), Code: way.code, Minutes: 60,
		})
		settle(way.from, way.to)
	}
	hb.must("operator", "exchange.hub", exchange.SetHub{Circle: string(td.id())})
	for i := range 2 {
		hb.ago(1 - i)
		p, err := clearing.Solve([]clearing.Obligation{
			{Debtor: string(hb.id()), Creditor: string(bh.id()), Minutes: 60},
			{Debtor: string(bh.id()), Creditor: string(td.id()), Minutes: 30},
			{Debtor: string(td.id()), Creditor: string(hb.id()), Minutes: 60},
		})
		if err != nil {
			t.Fatal(err)
		}
		number := uint64(hb.Now().UnixMilli())
		raw, err := clearing.Paper{
			Hub: td.id(), Number: number, Until: hb.Now().Add(7 * 24 * time.Hour).UnixMilli(), Proposal: p,
		}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		by := machine.PeerActor(string(td.id()))
		paper := letter.Signed{Bytes: raw, Sig: letter.ForRound.Sign(td.key, raw)}
		hb.must(by, "netting.proposed", netting.Proposed{Paper: paper})
		if i == 1 {
			break
		}
		dropped, err := clearing.Outcome{
			Hub: td.id(), Number: number, Paper: clearing.HashOf(raw),
		}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		hb.must(by, "netting.decided", netting.Decided{
			Paper:   paper,
			Outcome: letter.Signed{Bytes: dropped, Sig: letter.ForOutcome.Sign(td.key, dropped)},
		})
	}
	return serve(hb)
}

// TestRounds has the Secretary agree to a round, and say when the circle takes part; others only look.
func TestRounds(t *testing.T) {
	s := owing(t)
	wendy, farida := s.signedIn("Wendy"), s.signedIn("Farida")
	wendy.get("/circle/setoff").says(t, http.StatusOK, "Waits for your answer", "Came to nothing",
		"we owe 1 coin", "we owe 0.5 coins", "they owe us 1 coin", "Between 3 circles, 2.5 coins are owed")
	if body := wendy.get("/circle/setoff").body; strings.Contains(body, `name="round"`) ||
		strings.Contains(body, `name="when"`) {
		t.Error("anybody may answer")
	}
	form := with(farida.form("/circle/setoff", `name="round"`), "answer", "yes")
	farida.post("/circle/setoff", form).leads(t, "/circle/setoff?done=decided")
	farida.post("/circle/setoff", form).leads(t, "/circle/setoff?done=decided")
	farida.get("/circle/setoff").says(t, http.StatusOK, "We agreed; waits for the others")
	form = with(farida.form("/circle/setoff", `name="when"`), "when", "sometimes")
	farida.post("/circle/setoff", form).says(t, http.StatusUnprocessableEntity, "Choose one of ask, always")
	form = with(form, "when", "always")
	farida.post("/circle/setoff", form).leads(t, "/circle/setoff?done=round-when")
}

// TestRoundsLooked looks over the page of rounds, on every size of screen.
func TestRoundsLooked(t *testing.T) {
	s := owing(t)
	farida := s.tab(t)
	farida.signIn(t, "Farida")
	for _, size := range [][2]int64{{390, 844}, {1280, 900}, {320, 640}} {
		farida.size(t, size[0], size[1])
		farida.open(t, "/circle/setoff")
		farida.check(t, "/circle/setoff", size[0])
	}
}
