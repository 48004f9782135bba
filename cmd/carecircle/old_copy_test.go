package main

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestOldCopyComesBack puts a circle's directory back to what it was some payments ago, without telling
// anybody. Its node takes its own letters back from the other circle and does again what they say: every
// payment is there, on both sides, and new ones go on behind them.
func TestOldCopyComesBack(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 1))
	both := twoAllies(t, 6)
	pay := func() []*payment {
		all := plan(t, both, 24, dice)
		for _, p := range all {
			var err error
			if p.told, err = untilAnswered(t.Context(), both[p.from].people[p.payer].client, p.id,
				p.body); err != nil {
				t.Fatal(err)
			}
		}
		waitSettled(t, both)
		return all
	}
	all := pay()
	north := both[0]
	copied := north.copied(t)
	all = append(all, pay()...)
	north.putBack(t, copied)
	waitSettled(t, both)
	checkPayments(t, both, all)
	checkBalances(t, both)
	all = append(all, pay()...)
	checkPayments(t, both, all)
	checkBalances(t, both)
	checkLogs(t, both)
	north.kill()
	if shown := call(t, "log", "show", "--data", north.dir, "--limit", "1000"); !strings.Contains(shown,
		"exchange.recall") {
		t.Errorf("nothing was taken back:\n%s", shown)
	}
}
