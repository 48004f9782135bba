package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What one replica has answered, every replica reads, whoever leads meanwhile.
func TestFreshReadsSeeWhatWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var clients sync.WaitGroup
		var answered atomic.Uint64 // the highest count that a client was told
		var reads, refused atomic.Int64
		done := make(chan struct{})
		at := func(rnd *rand.Rand) *Replica {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.nodes[rnd.IntN(clusterSize)].r
		}
		for i := range uint64(4) {
			rnd := rand.New(rand.NewPCG(9, i))
			clients.Go(func() {
				for !closed(done) {
					<-time.After(time.Duration(rnd.IntN(100)) * time.Millisecond)
					r := at(rnd)
					if r == nil {
						continue
					}
					if i == 0 {
						if out, err := r.Do(t.Context(), command(t, 1)); err == nil {
							raise(&answered, out.Result.(total).Count)
						}
						continue
					}
					want := answered.Load()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					err := r.Fresh(ctx)
					cancel()
					if err != nil {
						refused.Add(1)
						continue
					}
					if got, err := r.View(t.Context(), anna, "test.total", nil); err == nil {
						reads.Add(1)
						if got.(total).Count < want {
							t.Errorf("read %d where %d was answered", got.(total).Count, want)
						}
					}
				}
			})
		}
		c.trouble(20)
		close(done)
		clients.Wait()
		t.Logf("%d reads, %d not up to date for certain, %d done", reads.Load(), refused.Load(),
			answered.Load())
		if reads.Load() < 500 || refused.Load() == 0 || answered.Load() < 50 {
			t.Error("too little happened")
		}
		for _, n := range c.nodes {
			must(t, n.r.Close())
		}
	})
}

// A leader that is cut off must not vouch for its state, not even while its lease runs.
func TestCutOffLeaderDoesNotVouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		for _, n := range c.nodes {
			must(t, n.r.Ready(t.Context()))
		}
		old := c.leader()
		mustDo(t, old.r, 1)
		if _, err := old.r.Index(t.Context()); err != nil {
			t.Errorf("connected: %v", err)
		}
		c.setCut(old, true)
		if _, err := old.r.Index(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("cut off: %v", err)
		}
		for _, n := range c.nodes {
			must(t, n.r.Close())
		}
	})
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func raise(v *atomic.Uint64, to uint64) {
	for old := v.Load(); to > old && !v.CompareAndSwap(old, to); old = v.Load() {
	}
}
