package replica

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// A program from before there were scrubs reads one as a command, and must stop, not skip it.
func TestOlderProgramStopsAtScrub(t *testing.T) {
	_, err := newMachine(t).Apply(machine.NewMem(), newScrub())
	if !errors.Is(err, machine.ErrStop) {
		t.Errorf("it goes on: %v", err)
	}
}

func TestScrubAlone(t *testing.T) {
	n := newNode("a")
	r := n.start(t)
	mustDo(t, r, 1)
	before := stands(t, r)
	var at []uint64
	for range sumsKept + 1 {
		index, err := r.Scrub(t.Context())
		must(t, err)
		at = append(at, index)
	}
	if stands(t, r) != before {
		t.Error("a scrub changes the state")
	}
	rows, sum, err := n.state.Sum()
	must(t, err)
	got, err := r.SumAt(t.Context(), at[sumsKept])
	if err != nil || got != (Sum{at[sumsKept], rows, sum}) {
		t.Errorf("%+v, %v; want %d rows, sum %x", got, err, rows, sum)
	}
	if _, err := r.SumAt(t.Context(), at[0]); !errors.Is(err, ErrNoSum) {
		t.Errorf("sums are kept for ever: %v", err)
	}
	must(t, r.Close())
	r = n.start(t)
	closeAfter(t, r)
	if _, err := r.SumAt(t.Context(), at[sumsKept]); !errors.Is(err, ErrNoSum) {
		t.Errorf("after a restart: %v", err)
	}
}

// Only the leader begins a scrub, and every replica sums up at the same entry whatever comes beside it.
func TestScrubBesideCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				if _, err := c.nodes[0].r.Do(ctx, command(t, 1)); err != nil && ctx.Err() == nil {
					t.Errorf("do: %v", err)
				}
			}
		}()
		for _, n := range c.nodes {
			must(t, n.r.Ready(t.Context()))
		}
		for range 20 {
			lead := c.leader()
			for _, n := range c.nodes {
				index, err := n.r.Scrub(t.Context())
				if n != lead {
					if !errors.Is(err, ErrNotLeader) {
						t.Errorf("%s does not lead, and scrubs: %v", n.id, err)
					}
					continue
				}
				must(t, err)
				if v := Judge(c.sums(index), clusterSize); len(v.Differ) > 0 || !v.Sure {
					t.Errorf("at entry %d: %+v", index, v)
				}
			}
		}
		stop()
		<-done
		for _, n := range c.nodes {
			must(t, n.r.Close())
		}
	})
}

// What raft is told, and why, stands in ARCHITECTURE.md: none of it is by chance.
func TestRaftSettings(t *testing.T) {
	c := Config{ID: "a", Several: true}.withQuietDefaults().raft(nil)
	if c.PreVoteDisabled || c.RestoreCommittedLogs || c.ShutdownOnRemove || !c.NoSnapshotRestoreOnStart {
		t.Errorf("%+v", c)
	}
	if c.TrailingLogs < 1000 || c.LeaderLeaseTimeout > c.HeartbeatTimeout || !c.BatchApplyCh {
		t.Errorf("%+v", c)
	}
	must(t, raft.ValidateConfig(c))
}

func TestJudge(t *testing.T) {
	x, y, z := Sum{9, 4, 1}, Sum{9, 4, 2}, Sum{9, 5, 1}
	for name, c := range map[string]struct {
		sums   map[string]Sum
		voters int
		sure   bool
		differ []string
	}{
		"nobody answers":    {nil, 3, false, nil},
		"alone":             {map[string]Sum{"a": x}, 1, true, nil},
		"all equal":         {map[string]Sum{"a": x, "b": x, "c": x}, 3, true, nil},
		"one in three":      {map[string]Sum{"a": x, "b": y, "c": x}, 3, true, []string{"b"}},
		"another sum":       {map[string]Sum{"a": z, "b": x, "c": x}, 3, true, []string{"a"}},
		"two, nobody sure":  {map[string]Sum{"a": x, "b": y}, 2, false, []string{"a", "b"}},
		"one of three away": {map[string]Sum{"a": x, "b": y}, 3, false, []string{"a", "b"}},
		"all three differ":  {map[string]Sum{"a": x, "b": y, "c": z}, 3, false, []string{"a", "b", "c"}},
		"two of five away":  {map[string]Sum{"a": x, "b": y, "c": x}, 5, false, []string{"a", "b", "c"}},
		"two in five": {
			map[string]Sum{"a": x, "b": y, "c": x, "d": z, "e": x}, 5, true, []string{"b", "d"},
		},
		"one who does not vote": {map[string]Sum{"a": x, "b": x, "c": y}, 2, true, []string{"c"}},
	} {
		v := Judge(c.sums, c.voters)
		if v.Sure != c.sure || !slices.Equal(v.Differ, c.differ) || v.Sure && v.Right != x {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
