package node_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node"
)

// Every replica says of every other where it stands, and goes on saying it of one that is away.
func TestStatusOfReplicas(t *testing.T) {
	c := newCompany(t, 3)
	alice := c.invite(0, "Alice")
	at := func(i int, id string) node.Standing {
		for _, s := range c.nodes[i].Status().Replicas {
			if s.ID == id {
				return s
			}
		}
		return node.Standing{}
	}
	for i := range 3 {
		c.until("all are heard of", func() bool {
			all := c.nodes[i].Status().Replicas
			return len(all) == 3 && !slices.ContainsFunc(all, func(s node.Standing) bool {
				return !s.Alive || s.Status != "voting" || s.Applied == 0 || s.Rules != machine.NewestRules
			})
		})
	}
	c.stop(2)
	for range 40 {
		c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 1, Activity: "garden"})
	}
	c.until("one is away and behind", func() bool {
		s := at(0, "r3")
		return !s.Alive && s.LagEntries >= 40 && s.Applied > 0
	})
	answer := httptest.NewRecorder()
	c.nodes[0].Metrics().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, row := range []string{
		`carecircle_replica_alive{replica="one"} 1`, `carecircle_replica_alive{replica="r3"} 0`,
		"carecircle_replicas_voting 3", "carecircle_replicas_voting_alive 2",
		`carecircle_replica_lag_entries{replica="r3"} `,
	} {
		if !strings.Contains(answer.Body.String(), row) {
			t.Errorf("the metrics do not say %s", row)
		}
	}
	out := c.do(0, "rules.activate", machine.Activate{Version: 1})
	if out.Refusal == nil || out.Refusal.Code != "replica_away" {
		t.Errorf("rules are switched while nobody knows what one replica runs: %+v", out)
	}
	c.start(2)
	c.until("it has caught up", func() bool { s := at(0, "r3"); return s.Alive && s.LagEntries == 0 })
	c.must(0, "rules.activate", machine.Activate{Version: 1})
}
