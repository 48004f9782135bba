package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// raw is a bare libp2p host that speaks the protocol badly, as a hostile or broken peer would.
func raw(t *testing.T) host.Host {
	t.Helper()
	cfg := must(Config{
		Key:    must(NewKey()),
		Allow:  func(string) bool { return true },
		Handle: func(context.Context, string, []byte) ([]byte, error) { return nil, nil },
	}.complete())
	h, err := newLibp2p(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// open connects a raw host to a party and opens a letters stream.
func open(t *testing.T, from host.Host, to *party) network.Stream {
	t.Helper()
	var addrs []ma.Multiaddr
	for _, a := range to.Addrs() {
		addrs = append(addrs, must(ma.NewMultiaddr(a)))
	}
	infos := must(peer.AddrInfosFromP2pAddrs(addrs...))
	if err := from.Connect(t.Context(), infos[0]); err != nil {
		t.Fatal(err)
	}
	s, err := from.NewStream(t.Context(), infos[0].ID, letters)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s
}

// A host that may not be spoken with gets in neither way, and no handler hears of it.
func TestStrangerRefused(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, stranger := start(t, tr.listen, nil), start(t, tr.listen, nil)
			a.refuse(stranger.ID())
			if _, err := a.Ask(t.Context(), stranger.Addrs(), []byte("out")); !errors.Is(err, ErrRefused) {
				t.Errorf("asking a stranger: %v, want ErrRefused", err)
			}
			_, err := stranger.Ask(t.Context(), a.Addrs(), []byte("in"))
			if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrUnreachable) {
				t.Errorf("asked by a stranger: %v", err)
			}
			if a.handled.Load()+stranger.handled.Load() != 0 {
				t.Error("a refused request was handled")
			}
			eventually(t, "no connection is left", func() bool {
				return len(a.Connected())+len(stranger.Connected()) == 0
			})
		})
	}
}

// The gate alone must hold, whatever Ask and serve check beside it.
func TestGate(t *testing.T) {
	nobody := Config{Allow: func(string) bool { return false }}
	g := gate{nobody.Allow, nobody.letIn}
	id := must(peer.Decode(must(PeerID(must(NewKey()).Public().(ed25519.PublicKey)))))
	if g.InterceptPeerDial(id) || g.InterceptAddrDial(id, nil) ||
		g.InterceptSecured(network.DirInbound, id, nil) || g.InterceptSecured(network.DirOutbound, id, nil) {
		t.Fatal("a refused peer passed")
	}
}

func TestTooLarge(t *testing.T) {
	small := func(_ *party, cfg *Config) { cfg.MaxMessageBytes = 1000 }
	a, b := start(t, anyTCP, nil), start(t, anyTCP, small)
	for name, c := range map[string]struct {
		from, to *party
		bytes    int
	}{
		"over the asker's limit":    {b, a, 1001},
		"over the other's limit":    {a, b, 1001},
		"reply over other's limit":  {a, b, 990}, // the echo puts the sender's id in front
		"reply over asker's limit":  {b, a, 990},
		"far over the other's size": {a, b, 500 << 10},
	} {
		_, err := c.from.Ask(t.Context(), c.to.Addrs(), make([]byte, c.bytes))
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
}

func TestOversizedFrameReset(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a := start(t, tr.listen, nil)
			s := open(t, raw(t), a)
			defer s.Close()
			if _, err := s.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Read(make([]byte, 1))
			var reset *network.StreamError
			if !errors.As(err, &reset) || !reset.Remote || reset.ErrorCode != resetTooLarge {
				t.Fatalf("got %v, want a reset with %#x", err, resetTooLarge)
			}
			if a.handled.Load() != 0 {
				t.Error("handled")
			}
		})
	}
}

// A peer that stops in the middle, or never reads its reply, holds a place for Timeout and no
// longer, and nobody else waits for it.
func TestSlowPeerReleased(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			const timeout = 600 * time.Millisecond
			a := start(t, tr.listen, func(_ *party, cfg *Config) { cfg.Timeout = timeout })
			b := start(t, tr.listen, nil)
			slow := raw(t)
			began := time.Now()
			half := open(t, slow, a)
			if _, err := half.Write([]byte{0, 0, 0, 100, 'h', 'a', 'l', 'f'}); err != nil {
				t.Fatal(err)
			}
			deaf := open(t, slow, a)
			if err := writeFrame(deaf, make([]byte, defaultMessageBytes-100)); err != nil {
				t.Fatal(err)
			}
			if err := deaf.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Ask(t.Context(), a.Addrs(), []byte("meanwhile")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took >= timeout {
				t.Fatalf("the others waited: %s", took)
			}
			var reset *network.StreamError
			if _, err := half.Read(make([]byte, 1)); !errors.As(err, &reset) || !reset.Remote {
				t.Fatalf("half a frame: %v, want a reset by the other side", err)
			}
			if took := time.Since(began); took < timeout || took > 5*timeout {
				t.Errorf("released after %s, want about %s", took, timeout)
			}
			eventually(t, "no stream is left", func() bool { return streams(a, slow.ID()) == 0 })
			if n := strings.Count(a.log.String(), "request not answered"); n != 2 {
				t.Errorf("%d log lines, want 2:\n%s", n, a.log.String())
			}
		})
	}
}

// streams counts the letters streams between a party and a peer.
func streams(a *party, id peer.ID) (n int) {
	for _, c := range a.net.Network().ConnsToPeer(id) {
		for _, s := range c.GetStreams() {
			if s.Protocol() == letters {
				n++
			}
		}
	}
	return n
}

// A peer that ignores the limit is cut off at twice MaxStreamsPerPeer, and others go on.
func TestStreamLimitPerPeer(t *testing.T) {
	const perPeer = 2
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	a := start(t, anyTCP, func(p *party, cfg *Config) {
		cfg.MaxStreamsPerPeer = perPeer
		cfg.Handle = func(ctx context.Context, from string, request []byte) ([]byte, error) {
			p.handled.Add(1)
			if string(request) == "hold" {
				<-hold
			}
			return request, nil
		}
	})
	greedy, b := raw(t), start(t, anyTCP, nil)
	for range 2 * perPeer {
		s := open(t, greedy, a)
		if err := errors.Join(writeFrame(s, []byte("hold")), s.CloseWrite()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the allowed number is at work", func() bool { return a.handled.Load() == 2*perPeer })
	s := open(t, greedy, a)
	// The reset may overtake the write; what counts is what the read says.
	_ = errors.Join(writeFrame(s, []byte("hold")), s.CloseWrite())
	var reset *network.StreamError
	if _, err := s.Read(make([]byte, 1)); !errors.As(err, &reset) ||
		reset.ErrorCode != network.StreamResourceLimitExceeded {
		t.Fatalf("one too many: %v, want a reset for want of room", err)
	}
	if _, err := b.Ask(t.Context(), a.Addrs(), []byte("go on")); err != nil {
		t.Fatal(err)
	}
	if got := a.handled.Load(); got != 2*perPeer+1 {
		t.Errorf("handled %d", got)
	}
}

func TestDrop(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, b := start(t, tr.listen, nil), start(t, tr.listen, nil)
			if _, err := b.Ask(t.Context(), a.Addrs(), nil); err != nil {
				t.Fatal(err)
			}
			a.refuse(b.ID())
			// The open connection is of no use to a peer that is refused, even before it is closed.
			if _, err := b.Ask(t.Context(), a.Addrs(), nil); !errors.Is(err, ErrRefused) {
				t.Errorf("before Drop: %v, want ErrRefused", err)
			}
			if _, err := a.Ask(t.Context(), b.Addrs(), nil); !errors.Is(err, ErrRefused) {
				t.Errorf("asking before Drop: %v, want ErrRefused", err)
			}
			a.Drop(b.ID())
			a.Drop("no peer id")
			eventually(t, "both see the connection closed", func() bool {
				return len(a.Connected())+len(b.Connected()) == 0
			})
			if _, err := b.Ask(t.Context(), a.Addrs(), nil); err == nil {
				t.Error("a dropped peer was answered")
			}
			if a.handled.Load() != 1 || b.handled.Load() != 0 {
				t.Errorf("handled %d and %d, want 1 and 0", a.handled.Load(), b.handled.Load())
			}
		})
	}
}

// A connection that slipped in between the handshake's check and Drop is closed when it shows up.
func TestDroppedDuringHandshake(t *testing.T) {
	var asked atomic.Int64
	a := start(t, anyTCP, func(_ *party, cfg *Config) {
		// Yes to InterceptSecured and InterceptUpgraded, no from then on.
		cfg.Allow = func(string) bool { return asked.Add(1) <= 2 }
	})
	b := start(t, anyTCP, nil)
	if _, err := b.Ask(t.Context(), a.Addrs(), nil); err == nil || a.handled.Load() != 0 {
		t.Errorf("answered: %v", err)
	}
	eventually(t, "the connection is closed", func() bool {
		return asked.Load() > 2 && len(a.Connected())+len(b.Connected()) == 0
	})
}

// Whoever answers at an address must prove the id that was asked for.
func TestClaimedIDMustMatch(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, b := start(t, tr.listen, nil), start(t, tr.listen, nil)
			other := must(PeerID(must(NewKey()).Public().(ed25519.PublicKey)))
			addr := strings.Replace(b.Addrs()[0], b.ID(), other, 1)
			if _, err := a.Ask(t.Context(), []string{addr}, nil); !errors.Is(err, ErrUnreachable) {
				t.Errorf("%v, want ErrUnreachable", err)
			}
			if b.handled.Load() != 0 || slices.Contains(a.Connected(), other) {
				t.Error("the wrong peer was taken for the right one")
			}
		})
	}
}
