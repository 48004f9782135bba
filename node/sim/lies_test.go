package sim_test

import (
	"testing"

	"github.com/carecircle/carecircle/node/sim"
)

// TestLies: one circle says what is not so, each way it can, signed by itself. What the others have among
// themselves stays right, and so do everyone's books.
func TestLies(t *testing.T) {
	var all sim.Result
	for seed := uint64(23); seed < 24*80; seed += 24 {
		res := sim.Run(sim.Options{Seed: seed})
		for _, v := range res.Violations {
			t.Errorf("seed %d: %s", seed, v)
		}
		all.Add(res)
	}
	for _, kind := range []string{
		"two letters for one place", "in a letter", "in a welcome", "in an answer",
	} {
		if all.Seen["lie "+kind] == 0 {
			t.Errorf("nobody lied %s", kind)
		}
		t.Logf("%s: %d", kind, all.Seen["lie "+kind])
	}
	stopped := all.Seen["pair stopped"]
	if all.Settled == 0 || stopped == 0 {
		t.Errorf("%d payments settled among the others, %d pairs stopped", all.Settled, stopped)
	}
	t.Logf("%d settled, %d pairs stopped", all.Settled, stopped)
}
