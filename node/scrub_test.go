package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/store"
)

// scrub has one of the replicas start a scrub, and returns what it learns of it.
func (c *company) scrub(i int) node.Scrub {
	c.t.Helper()
	began, err := c.nodes[i].StartScrub(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	var s node.Scrub
	c.until("scrubbed", func() bool {
		if found := c.nodes[i].Status().Scrub; found != nil {
			s = *found
		}
		return s.Began == began
	})
	return s
}

// died waits until a replica has stopped by itself.
func (c *company) died(i int) error {
	c.t.Helper()
	select {
	case err := <-c.fatal[i]:
		return err
	case <-time.After(time.Minute):
		c.t.Fatalf("replica %d goes on", i)
		return nil
	}
}

// Replicas that hold the same are whole; one with a row that no other has stops, says why, and begins anew.
func TestScrubFindsWhoDiffers(t *testing.T) {
	c := newCompany(t, 3)
	alice := c.invite(1, "Alice")
	c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 60, Activity: "garden"})
	for i := range 3 {
		s := c.scrub(i)
		if s.Result != node.ScrubWhole || len(s.Replicas) != 3 || s.Replicas[0].Sum != s.Replicas[2].Sum ||
			s.Replicas[1].Rows == 0 || s.Replicas[1].Disk != "whole" {
			t.Errorf("asked at replica %d: %+v", i, s)
		}
	}
	for planted, id := range []string{"one", "r2"} { // one of them may lead
		c.stop(planted)
		if err := node.PlantRow(c.dirs[planted]); err != nil {
			t.Fatal(err)
		}
		c.start(planted)
		other := (planted + 1) % 3
		s := c.scrub(other)
		if s.Result != node.ScrubDamaged || !strings.HasPrefix(s.Says, id+" differs") {
			t.Errorf("one row in one replica: %+v", s)
		}
		if err := c.died(planted); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("it ends with %v", err)
		}
		c.stop(planted)
		c.start(planted)
		c.counts(id)
		c.must(other, "coin.earn", coin.Earn{Person: alice, Minutes: 30, Activity: "garden"})
		if got, want := c.earned(planted, alice), int64(90+30*planted); got != want {
			t.Errorf("healed it reads %d minutes, want %d", got, want)
		}
		if s := c.scrub(planted); s.Result != node.ScrubWhole {
			t.Errorf("healed: %+v", s)
		}
	}
	for i := range 3 {
		for len(c.fatal[i]) > 0 {
			t.Errorf("replica %d: %v", i, <-c.fatal[i])
		}
		raw, err := os.ReadFile(filepath.Join(c.dirs[i], "scrubs.jsonl"))
		if n := strings.Count(string(raw), "\n"); err != nil || n < 5 {
			t.Errorf("replica %d noted %d scrubs: %v", i, n, err)
		}
	}
}

// Of two that differ nobody knows which is wrong: neither stops. With one away, nobody vouches for it.
func TestScrubOfTwo(t *testing.T) {
	c := newCompany(t, 2)
	if s := c.scrub(0); s.Result != node.ScrubWhole {
		t.Errorf("two: %+v", s)
	}
	c.stop(1)
	if err := node.PlantRow(c.dirs[1]); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	if s := c.scrub(0); s.Result != node.ScrubUnsure || !strings.Contains(s.Says, "no majority") {
		t.Errorf("two that differ: %+v", s)
	}
	if c.nodes[0].Alive() != nil || c.nodes[1].Alive() != nil {
		t.Error("one stopped")
	}
}

// A circle's only replica reads its disk as well. Damage stops it, and the next start says what to do.
func TestScrubFindsDamagedDisk(t *testing.T) {
	c := &company{t: t}
	c.add(makeNode(t))
	if s := c.scrub(0); s.Result != node.ScrubWhole || len(s.Replicas) != 1 {
		t.Errorf("alone: %+v", s)
	}
	logs, err := filepath.Glob(filepath.Join(c.dirs[0], "log", "*.seg*"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	f, err := os.OpenFile(logs[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 900); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s := c.scrub(0); s.Result != node.ScrubDamaged || s.Replicas[0].Disk != "damaged" {
		t.Errorf("a damaged log: %+v", s)
	}
	if err := c.died(0); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("it ends with %v", err)
	}
	c.stop(0)
	_, err = node.Open(t.Context(), c.dirs[0], node.Options{Fatal: func(error) {}})
	if err == nil || !strings.Contains(err.Error(), "restore a backup into an empty one") {
		t.Errorf("the next start: %v", err)
	}
}
