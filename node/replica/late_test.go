package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A leader that sends entries before its own disk has them, and loses power before it has: with only one
// other that has them, they are lost. So nobody may have been answered, and the other may not have applied
// them.
func TestLeaderLosesPowerBeforeItsSync(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) { loseUnsynced(t, seed) })
	}
}

func loseUnsynced(t *testing.T, seed uint64) {
	c := newCluster(t, seed)
	defer func() {
		for _, n := range c.nodes {
			must(t, n.r.Close())
		}
	}()
	c.settle()
	lead := c.leader()
	mustDo(t, lead.r, 1)
	c.settle()
	has, hasNot := c.others(lead)
	c.setCut(hasNot, true)
	lead.log.set(nil, make(chan struct{})) // its syncs take for ever
	before := has.r.Status().Applied

	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	lost := command(t, 2)
	out, err := lead.r.Do(ctx, lost)
	if !errors.Is(err, ErrUnknown) {
		t.Errorf("answered: %+v, %v", out, err)
	}
	last, err := has.log.LastIndex()
	must(t, err)
	var sent raft.Log
	must(t, has.log.GetLog(last, &sent))
	if _, inside, err := openBundle(sent.Data); err != nil || len(inside) != 1 {
		t.Fatalf("the other has not got the entry, but %+v", sent)
	}
	if now := has.r.Status(); now.Applied != before || now.Commit >= last {
		t.Errorf("the other was told of a commit: %+v", now)
	}

	c.setCut(has, true)
	lead.log.cut()
	close(lead.log.hang)
	lead.log.set(nil, nil)
	c.kill(lead)
	c.open(lead)
	c.setCut(hasNot, false)
	for mustDo := 0; mustDo < 3; { // the two without the entry go on
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if _, err := lead.r.Do(ctx, command(t, 3)); err == nil {
			mustDo++
		}
		cancel()
	}
	c.setCut(has, false)
	c.settle()
	want := stands(t, lead.r)
	for _, n := range c.nodes {
		if got := stands(t, n.r); got != want {
			t.Errorf("%s stands at %+v, %s at %+v", n.id, got, lead.id, want)
		}
	}
}

// others returns the two that are not n.
func (c *cluster) others(n *node) (a, b *node) {
	for _, o := range c.nodes {
		switch {
		case o == n:
		case a == nil:
			a = o
		default:
			b = o
		}
	}
	return a, b
}

// Only a leader leaves syncs for later: what another replica says yes to, its disk has.
func TestOthersSyncBeforeTheySayYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.settle()
		lead := c.leader()
		mustDo(t, lead.r, 1)
		c.settle()
		slow, away := c.others(lead)
		c.setCut(away, true)
		hang := make(chan struct{})
		slow.log.set(nil, hang)
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if out, err := lead.r.Do(ctx, command(t, 2)); !errors.Is(err, ErrUnknown) {
			t.Errorf("answered while one disk of three has it: %+v, %v", out, err)
		}
		close(hang)
		slow.log.set(nil, nil)
		c.setCut(away, false)
		c.settle()
		for _, n := range c.nodes {
			must(t, n.r.Close())
		}
	})
}

// A change of the replicas, and what a new leader begins with, are synced at once, and so is all at others.
func TestWhatMayWait(t *testing.T) {
	s := newTimedStore(&countingLog{}, nil, nil)
	_, trans := raft.NewInmemTransport("a")
	s.leaveSyncs(trans)
	command := &raft.Log{Type: raft.LogCommand}
	if s.mayWait([]*raft.Log{command}) {
		t.Error("the sync of one that does not lead may wait")
	}
	s.late.leads.Store(true)
	if !s.mayWait([]*raft.Log{command}) {
		t.Error("the sync of a leader may not wait")
	}
	for _, kind := range []raft.LogType{raft.LogConfiguration, raft.LogNoop, raft.LogBarrier} {
		if s.mayWait([]*raft.Log{command, {Type: kind}}) {
			t.Errorf("the sync of a %v may wait", kind)
		}
	}
}
