package p2p

import (
	"sync"
	"testing"
	"time"
)

// Questions one after the other go over one stream; of those asked at once, few streams are kept. A kept one
// that the other side has lost costs nothing but a new one.
func TestStreamsKept(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, b := start(t, tr.listen, nil), start(t, tr.listen, nil)
			ask := func() {
				t.Helper()
				reply, err := a.Ask(t.Context(), b.Addrs(), []byte("x"))
				if err != nil || string(reply) != a.ID()+" x" {
					t.Errorf("%q, %v", reply, err)
				}
			}
			for range 5 {
				ask()
			}
			if n := streams(a, b.net.ID()); n != 1 {
				t.Errorf("%d streams for 5 questions in turn", n)
			}
			var all sync.WaitGroup
			for range 12 {
				all.Go(ask)
			}
			all.Wait()
			eventually(t, "few are kept", func() bool { return streams(a, b.net.ID()) <= idleStreams })
			b.Drop(a.ID())
			ask()
			if got := b.handled.Load(); got != 18 {
				t.Errorf("%d of 18 questions handled", got)
			}
		})
	}
}

// A stream that rested for long is ended, at both ends.
func TestStreamsRested(t *testing.T) {
	a, b := start(t, anyTCP, nil), start(t, anyTCP, nil)
	must(a.Ask(t.Context(), b.Addrs(), nil))
	a.idle.mu.Lock()
	for at := range a.idle.kept {
		for i := range a.idle.kept[at] {
			a.idle.kept[at][i].since = time.Now().Add(-2 * idleKept)
		}
		a.idle.sweep(at)
	}
	left := len(a.idle.kept)
	a.idle.mu.Unlock()
	if left != 0 {
		t.Errorf("%d are kept", left)
	}
	eventually(t, "no stream is left", func() bool {
		return streams(a, b.net.ID())+streams(b, a.net.ID()) == 0
	})
	must(a.Ask(t.Context(), b.Addrs(), nil))
}
