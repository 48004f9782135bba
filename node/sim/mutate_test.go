package sim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/node/sim"
)

// TestMutations breaks one thing on purpose and wants it noticed: by a checker, or by the circles, which ward
// it off without harm.
func TestMutations(t *testing.T) {
	const seeds = 24
	for _, c := range []struct {
		name     string
		checkers string // of which each must find something in one run at least; none: no run is harmed
	}{
		{sim.DropCommand, "replicas"},
		{sim.DropAccepts, "liveness replay letters payments"},
		{sim.FalseAck, "liveness letters"},
		{sim.ReplayBatch, ""},
		{sim.ReplayLetters, ""},
		{sim.SkipLetters, ""},
		{sim.Tamper, ""},
		{sim.FalseWelcome, ""},
		{sim.Fork, "frozen"},
		{sim.ForkAlone, "frozen letters"},
		{sim.FalseAccept, "mirrors letters payments"},
		{sim.FalseReject, "mirrors letters payments"},
		{sim.ForgeRow, "sums audit auditor replay"},
		{sim.ForgeLimit, "audit alliances replay"},
		{sim.ForgePayment, "mirrors replay"},
		{sim.ForgeCommand, "auditor replay"},
		{sim.ForgetAnswers, "answers auditor"},
		{sim.RefusalWrites, "refusal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var found []string
			var sum sim.Result
			runs, caught := 0, 0
			for n := range uint64(seeds) {
				r := sim.Run(sim.Options{Seed: 1000 + n, Mutate: c.name})
				if r.Mutated == 0 {
					continue
				}
				runs++
				sum.Add(r)
				if len(r.Violations) > 0 {
					caught++
				}
				for _, v := range r.Violations {
					checker, _, _ := strings.Cut(v, ":")
					found = append(found, checker)
				}
			}
			slices.Sort(found)
			found = slices.Compact(found)
			t.Logf("done in %d runs, caught in %d by %v; refused: %d", runs, caught, found, sum.Repelled)
			switch wanted := strings.Fields(c.checkers); {
			case runs < seeds/4:
				t.Errorf("it could be done in %d of %d runs only", runs, seeds)
			case len(wanted) == 0 && caught > 0:
				t.Errorf("%d runs were harmed, found by %v", caught, found)
			case c.name == sim.ReplayBatch && sum.Repelled == 0:
				t.Error("no batch of an old session was refused")
			case c.name == sim.Tamper && sum.Seen["exchange.receive malformed"] == 0:
				t.Error("no changed letter was refused")
			case len(wanted) > 0 && caught < (runs+1)/2:
				t.Errorf("%d of %d runs went unnoticed", runs-caught, runs)
			default:
				for _, w := range wanted {
					if !slices.Contains(found, w) {
						t.Errorf("%s never found anything", w)
					}
				}
			}
		})
	}
}

// TestRulesOff switches the rules between circles off, one by one: without any of them a checker of the books
// notices soon. The rarer ones take thousands of seeds, and begin shortly before the first that notices, as
// "carecircle sim --mutate all" finds it.
func TestRulesOff(t *testing.T) {
	const seeds = 600
	first := map[string]uint64{"verdict-not-passed": 2090, "hub-overwrites": 6350, "ask-before-hearing": 3320}
	for _, name := range sim.RulesOff() {
		t.Run(name, func(t *testing.T) {
			for n := range uint64(seeds) {
				r := sim.Run(sim.Options{Seed: first[name] + n + 1, Mutate: name})
				if len(r.Violations) > 0 {
					t.Logf("seed %d: %s", r.Seed, r.Violations[0])
					return
				}
			}
			t.Errorf("nobody noticed in %d histories", seeds)
		})
	}
}
