package peers

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/carecircle/carecircle/federation/p2p"
)

func refuseLetters(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("no letters here")
}

// The same TLS, identities and uses, over libp2p's streams on the loopback.
func TestOverLibp2p(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		w := newTown(t)
		var all []*Mesh
		for _, id := range []string{"a", "b", "c"} {
			host := must(p2p.New(p2p.Config{
				Key: must(p2p.NewKey()), Listen: []string{listen}, Allow: func(string) bool { return true },
				Handle: refuseLetters,
			}))
			t.Cleanup(func() {
				if err := host.Close(); err != nil {
					t.Error(err)
				}
			})
			all = append(all, w.start(id, func(cfg *Config) {
				cfg.Listeners, cfg.Dial = []net.Listener{must(host.Listen())}, host.Dial
				w.mu.Lock()
				defer w.mu.Unlock()
				w.addrs[id] = host.Addrs()[0]
			}))
		}
		var calls sync.WaitGroup
		for _, from := range all {
			for _, to := range all {
				if to == from {
					continue // a host does not dial itself
				}
				for range 50 {
					calls.Go(func() {
						body := bytes.Repeat([]byte("x"), 20<<10)
						got, err := from.Call(t.Context(), to.cfg.ID, "echo", body)
						if err != nil || string(got) != from.cfg.ID+" "+string(body) {
							t.Errorf("%s to %s: %d bytes, %v", from.cfg.ID, to.cfg.ID, len(got), err)
						}
					})
				}
			}
		}
		calls.Wait()
		_, dial := all[0].Raft()
		stream := must(dial(t.Context(), "b"))
		w.setGone("a")
		all[1].Recheck()
		if _, err := stream.Read(make([]byte, 1)); err == nil {
			t.Error("a raft stream outlives its replica's membership")
		}
		// Sent or not: the caller's side may not have noticed yet that its line was cut.
		var broken *TransportError
		if _, err := all[0].Call(t.Context(), "b", "echo", nil); !errors.As(err, &broken) {
			t.Errorf("a call by who is struck off: %v, want a transport error", err)
		}
		echo(t, all[2], "b")
	}
}
