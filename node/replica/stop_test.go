package replica

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
)

func TestUnknownKindStopsTheReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode("a")
		r := n.start(t)
		mustDo(t, r, 1)
		before := stands(t, r)
		c := command(t, 1)
		c.Kind = "later.thing"
		raw, err := c.Encode()
		must(t, err)
		r.raft.Apply(raw, 0) // as a leader of a newer version would log it
		synctest.Wait()
		if err := n.died(t); !errors.Is(err, machine.ErrStop) {
			t.Fatalf("fatal: %v", err)
		}
		if _, err := r.Do(t.Context(), command(t, 1)); !errors.Is(err, ErrStopped) ||
			errors.Is(err, ErrUnknown) {
			t.Errorf("do: %v", err)
		}
		if _, err := r.View(t.Context(), anna, "test.total", nil); !errors.Is(err, ErrStopped) {
			t.Errorf("view: %v", err)
		}
		if err := r.Snapshot(); !errors.Is(err, ErrStopped) {
			t.Errorf("snapshot: %v", err)
		}
		if s := r.Status(); s.State != "Shutdown" || !errors.Is(s.Err, machine.ErrStop) {
			t.Errorf("status: %+v", s)
		}
		must(t, r.Close())
		if got := machine.StateHash(n.state); got != before.state || n.state.applied >= r.raft.LastIndex() {
			t.Errorf("state %v at %d, want %v before %d",
				got, n.state.applied, before.state, r.raft.LastIndex())
		}
	})
}

func TestDiskErrorIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode("a")
		r := n.start(t)
		broken := errors.New("input/output error")
		n.log.set(broken, nil)
		_, err := r.Do(t.Context(), command(t, 1))
		if !errors.Is(err, ErrUnknown) || !errors.Is(err, broken) {
			t.Errorf("do: %v", err)
		}
		if err := n.died(t); !errors.Is(err, broken) {
			t.Errorf("fatal: %v", err)
		}
		must(t, r.Close())
	})
}

// A disk that hangs must not leave a leader that answers nobody, even if no client waits long.
func TestHangingDiskIsFatal(t *testing.T) {
	for _, patience := range []time.Duration{time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode("a")
			r := n.start(t)
			hang := make(chan struct{})
			n.log.set(nil, hang)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := r.Do(ctx, command(t, 1)); !errors.Is(err, ErrUnknown) {
				t.Errorf("do: %v", err)
			}
			err := n.died(t)
			took := time.Since(began)
			if !strings.Contains(err.Error(), "disk hangs") || took > 12*time.Second {
				t.Errorf("fatal after %v: %v", took, err)
			}
			close(hang)
			must(t, r.Close())
		})
	}
}

// Raft can refuse all writes for ever after a leadership transfer that went wrong. Nothing tells but that
// nothing is applied.
func TestStuckLeaderIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode("a")
		r := n.start(t)
		mustDo(t, r, 1)
		n.state.hang = make(chan struct{})
		_, err := r.Do(t.Context(), command(t, 1))
		if !errors.Is(err, ErrUnknown) || !strings.Contains(n.died(t).Error(), "nothing was applied") {
			t.Errorf("do: %v", err)
		}
		close(n.state.hang)
		must(t, r.Close())
	})
}

func TestNobodyLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode("a")
		r, err := Open(n.config(t)) // not bootstrapped
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := r.Do(ctx, command(t, 1)); !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknown) {
			t.Errorf("do: %v", err)
		}
		if err := r.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ready: %v", err)
		}
		must(t, r.Close())
		if _, err := r.Do(t.Context(), command(t, 1)); !errors.Is(err, ErrStopped) {
			t.Errorf("do after close: %v", err)
		}
		if err := r.Ready(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("ready after close: %v", err)
		}
		if err := r.Bootstrap(); !errors.Is(err, ErrStopped) {
			t.Errorf("bootstrap after close: %v", err)
		}
		must(t, r.Close())
	})
}

func TestCloseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode("a")
		r := n.start(t)
		hang := make(chan struct{})
		n.log.set(nil, hang)
		got := make(chan error)
		go func() {
			_, err := r.Do(t.Context(), command(t, 1))
			got <- err
		}()
		synctest.Wait()
		go func() {
			time.Sleep(time.Second)
			close(hang)
		}()
		must(t, r.Close())
		if err := <-got; !errors.Is(err, ErrUnknown) || !errors.Is(err, ErrStopped) {
			t.Errorf("do: %v", err)
		}
	})
}
