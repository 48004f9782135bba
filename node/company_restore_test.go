package node_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/backup"
)

// A circle of three is backed up on one of them, lost, and restored on one machine, at an address the old
// ones know. They come back, and cannot get in with what happened after the backup. The circle grows again.
func TestRestoreOfSeveral(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long; it runs without the race detector")
	}
	keeps, own, _ := sealedTo(t)
	old := newCompanyKeeping(t, 3, keeps)
	alice := old.invite(1, "Alice")
	for i := range 3 {
		old.must(i, "coin.earn", coin.Earn{Person: alice, Minutes: 40, Activity: "garden"})
	}
	old.earned(1, alice) // it has all of it
	file := filepath.Join(t.TempDir(), "a"+backup.Suffix)
	m := backUp(t, old.nodes[1], file)
	old.must(2, "coin.earn", coin.Earn{Person: alice, Minutes: 30, Activity: "garden"})
	at := old.nodes[0].Config.Replica
	old.stopAll()

	r := restoring(file, own, filepath.Join(t.TempDir(), "new"))
	if done := restore(t, r); done.Config.Replica != nil {
		t.Errorf("the restored node is to listen where the lost one did: %+v", done.Config.Replica)
	}
	r.Dir = filepath.Join(t.TempDir(), "newer")
	r.Change = func(c *node.Config) {
		c.Replica = &node.ReplicaConfig{ID: "r2", Listen: at.Listen, Gossip: at.Gossip, Joined: true}
	}
	if c := *restore(t, r).Config.Replica; c.ID != replicas.First || c.Joined || c.Listen != at.Listen {
		t.Errorf("restored as %+v", c)
	}
	comeBack(t, old, alice) // and look for the first of them, where the restored circle now starts
	c := &company{t: t, config: replicaConfig}
	t.Cleanup(c.stopAll)
	c.add(r.Dir)
	if got := c.earned(0, alice); got != 120 {
		t.Errorf("%d minutes came back", got)
	}
	begun := look(t, c.nodes[0])
	if begun.meta.Position < m.Position+1 || len(begun.epochs) != 1 {
		t.Errorf("command %d, epochs %+v", begun.meta.Position, begun.epochs)
	}
	goOnApart(t, old, c, alice)
	for _, id := range []string{"r4", "r5"} {
		c.join(id)
	}
	c.must(2, "coin.earn", coin.Earn{Person: alice, Minutes: 7, Activity: "garden"})
	hashes := map[machine.Hash]bool{}
	for i := range 3 {
		if got := c.earned(i, alice); got != 132 {
			t.Errorf("grown back, replica %d reads %d minutes", i, got)
		}
		hashes[look(t, c.nodes[i]).hash] = true
	}
	if len(hashes) != 1 {
		t.Errorf("the states differ: %v", hashes)
	}
	c.stop(0)
	c.start(0) // with the note of the restore still there
	if got := c.earned(0, alice); got != 132 {
		t.Errorf("after another start %d minutes", got)
	}
}

// comeBack starts two of the machines that were thought lost: enough to go on among themselves.
func comeBack(t *testing.T, old *company, alice string) {
	t.Helper()
	var starting sync.WaitGroup
	for _, i := range []int{1, 2} {
		starting.Go(func() { old.start(i) })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if got := old.earned(1, alice); got != 150 {
		t.Errorf("among themselves they have %d minutes", got)
	}
}

// goOnApart has both circles go on, neither disturbed by the other. Then a machine of the old one starts
// alone, and is told why it cannot.
func goOnApart(t *testing.T, old, c *company, alice string) {
	t.Helper()
	before := c.nodes[0].Status().Replica
	c.must(0, "coin.earn", coin.Earn{Person: alice, Minutes: 5, Activity: "garden"})
	old.must(2, "coin.earn", coin.Earn{Person: alice, Minutes: 11, Activity: "garden"})
	after := c.nodes[0].Status().Replica
	if got := c.earned(0, alice); got != 125 || after.Term != before.Term || after.State != "Leader" {
		t.Errorf("the restored circle has %d minutes; it was %+v and is %+v", got, before, after)
	}
	for _, s := range old.nodes[1].Replicas(t.Context()) {
		if s.ID == replicas.First && s.Alive {
			t.Error("the restored circle answers a machine that is no part of it")
		}
	}
	if all := c.nodes[0].Replicas(t.Context()); len(all) != 1 {
		t.Errorf("the restored circle counts %+v", all)
	}
	old.stopAll()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	n, err := node.Open(ctx, old.dirs[1], node.Options{Fatal: func(error) {}})
	if err == nil {
		stop(t, n)
		t.Fatal("a replica of the timeline that was left serves people")
	}
	for _, says := range []string{
		"replica one with that host key", "timeline that was left", "join as a new",
	} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("nothing of %q in: %v", says, err)
		}
	}
}
