package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	anyTCP  = "/ip4/127.0.0.1/tcp/0"
	anyQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

var transports = []struct{ name, listen string }{{"tcp", anyTCP}, {"quic", anyQUIC}}

// party is a host under test that echoes, counts what it handled and can be told whom to allow.
type party struct {
	*Host
	key     ed25519.PrivateKey
	handled atomic.Int64
	log     lockedBuffer

	mu      sync.Mutex
	refused map[string]bool
}

func (p *party) allow(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.refused[id]
}

func (p *party) refuse(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[id] = true
}

func (p *party) echo(_ context.Context, from string, request []byte) ([]byte, error) {
	p.handled.Add(1)
	return append([]byte(from+" "), request...), nil
}

// start runs a party; change, if not nil, alters its configuration first.
func start(t testing.TB, listen string, change func(*party, *Config)) *party {
	t.Helper()
	p := &party{refused: map[string]bool{}}
	p.key = must(NewKey())
	cfg := Config{
		Key: p.key, Listen: []string{listen}, Allow: p.allow, Handle: p.echo,
		Log: slog.New(slog.NewTextHandler(&p.log, nil)),
	}
	if change != nil {
		change(p, &cfg)
	}
	p.key = cfg.Key
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Host = h
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually waits until a condition holds, or fails the test.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAskBothWays(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, b := start(t, tr.listen, nil), start(t, tr.listen, nil)
			for _, size := range []int{0, 1, 300 << 10, defaultMessageBytes - 100} {
				request := bytes.Repeat([]byte("x"), size)
				for _, pair := range [][2]*party{{a, b}, {b, a}} {
					reply, err := pair[0].Ask(t.Context(), pair[1].Addrs(), request)
					if err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
					if want := pair[0].ID() + " " + string(request); string(reply) != want {
						t.Fatalf("%d bytes: reply of %d bytes, want %d", size, len(reply), len(want))
					}
				}
			}
			if got := a.Connected(); !slices.Equal(got, []string{b.ID()}) {
				t.Errorf("connected to %v, want %s", got, b.ID())
			}
			if got := must(PeerID(a.key.Public().(ed25519.PublicKey))); got != a.ID() {
				t.Errorf("PeerID %s, host says %s", got, a.ID())
			}
			for _, addr := range a.Addrs() {
				if !strings.HasSuffix(addr, "/p2p/"+a.ID()) || strings.Contains(addr, "/0/") {
					t.Errorf("address %s", addr)
				}
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			var now, most atomic.Int64
			a := start(t, tr.listen, nil)
			b := start(t, tr.listen, func(p *party, cfg *Config) {
				cfg.Handle = func(ctx context.Context, from string, request []byte) ([]byte, error) {
					n := now.Add(1)
					defer now.Add(-1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					return p.echo(ctx, from, request)
				}
			})
			var all sync.WaitGroup
			for i := range 200 {
				all.Go(func() {
					from, to := a, b
					if i%2 == 1 {
						from, to = b, a
					}
					want := fmt.Sprintf("%s request %d", from.ID(), i)
					reply, err := from.Ask(t.Context(), to.Addrs(), fmt.Appendf(nil, "request %d", i))
					if err != nil || string(reply) != want {
						t.Errorf("%d: %q, %v", i, reply, err)
					}
				})
			}
			all.Wait()
			if got := a.handled.Load() + b.handled.Load(); got != 200 {
				t.Errorf("handled %d, want 200", got)
			}
			if most.Load() > 2*defaultStreamsPerPeer {
				t.Errorf("%d at once from one peer", most.Load())
			}
			if len(a.slots.peers)+len(b.slots.peers) != 0 {
				t.Error("places are still taken")
			}
		})
	}
}

func TestReconnectAfterRestart(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, b := start(t, tr.listen, nil), start(t, tr.listen, nil)
			addrs := b.Addrs()
			if _, err := a.Ask(t.Context(), addrs, []byte("before")); err != nil {
				t.Fatal(err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := a.Ask(ctx, addrs, []byte("while down")); !errors.Is(err, ErrUnreachable) {
				t.Fatalf("while down: %v, want ErrUnreachable", err)
			}
			port, _, _ := strings.Cut(addrs[0], "/p2p/")
			again := start(t, port, func(_ *party, cfg *Config) { cfg.Key = b.key })
			if !slices.Equal(again.Addrs(), addrs) {
				t.Fatalf("came back as %v, was %v", again.Addrs(), addrs)
			}
			reply, err := a.Ask(t.Context(), addrs, []byte("after"))
			if err != nil || string(reply) != a.ID()+" after" {
				t.Fatalf("after: %q, %v", reply, err)
			}
		})
	}
}

func TestHandlerError(t *testing.T) {
	a := start(t, anyTCP, nil)
	b := start(t, anyTCP, func(_ *party, cfg *Config) {
		cfg.Handle = func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New("ledger shut")
		}
	})
	if _, err := a.Ask(t.Context(), b.Addrs(), nil); !errors.Is(err, ErrRefused) {
		t.Errorf("%v, want ErrRefused", err)
	}
	eventually(t, "the failure is in the log", func() bool {
		return strings.Contains(b.log.String(), "ledger shut")
	})
	if n := strings.Count(b.log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines, want 1", n)
	}
}

// A cancelled ask returns at once, and Close lets neither an ask nor a handler hang.
func TestCancelAndClose(t *testing.T) {
	a := start(t, anyTCP, nil)
	arrived := make(chan struct{}, 2)
	b := start(t, anyTCP, func(_ *party, cfg *Config) {
		cfg.Handle = func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			arrived <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := a.Ask(ctx, b.Addrs(), nil)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("cancelled: %v", err)
	}
	closed := make(chan error)
	go func() { <-arrived; closed <- a.Close() }()
	if _, err := a.Ask(t.Context(), b.Addrs(), nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed under way: %v, want ErrUnreachable", err)
	}
	if err := errors.Join(<-closed, b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > defaultTimeout/2 {
		t.Errorf("cancelling and closing took %s", took)
	}
	if _, err := a.Ask(t.Context(), b.Addrs(), nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("after Close: %v, want ErrUnreachable", err)
	}
}

// Close returns only when the last handler has: what a handler uses may be closed after it.
func TestCloseWaitsForHandlers(t *testing.T) {
	arrived, ending, let := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var returned atomic.Bool
	a := start(t, anyTCP, nil)
	b := start(t, anyTCP, func(_ *party, cfg *Config) {
		cfg.Handle = func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			close(arrived)
			<-ctx.Done()
			close(ending)
			<-let
			returned.Store(true)
			return nil, ctx.Err()
		}
	})
	asked := make(chan error)
	go func() { _, err := a.Ask(t.Context(), b.Addrs(), nil); asked <- err }()
	<-arrived
	closed := make(chan bool)
	go func() { _ = b.Close(); closed <- returned.Load() }()
	<-ending
	// The asker learns at once that its connection is gone, while Close still waits.
	if err := <-asked; !errors.Is(err, ErrUnreachable) {
		t.Errorf("asker: %v, want ErrUnreachable", err)
	}
	eventually(t, "all but the handler is closed", func() bool { return len(b.Connected()) == 0 })
	close(let)
	if !<-closed {
		t.Error("Close returned before the handler")
	}
}

func TestBadInput(t *testing.T) {
	a := start(t, anyTCP, nil)
	b := start(t, anyTCP, nil)
	for name, addrs := range map[string][]string{
		"none":      nil,
		"nonsense":  {"localhost:80"},
		"no id":     {"/ip4/127.0.0.1/tcp/1"},
		"two peers": {a.Addrs()[0], b.Addrs()[0]},
		"too many":  slices.Repeat(b.Addrs(), maxAddrs+1),
	} {
		if _, err := a.Ask(t.Context(), addrs, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := a.Ask(t.Context(), a.Addrs(), nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("asking oneself: %v, want ErrUnreachable", err)
	}
	taken, _, _ := strings.Cut(a.Addrs()[0], "/p2p/")
	for name, change := range map[string]func(*Config){
		"no key":         func(c *Config) { c.Key = nil },
		"damaged key":    func(c *Config) { c.Key = make([]byte, ed25519.PrivateKeySize) },
		"no allow":       func(c *Config) { c.Allow = nil },
		"no handle":      func(c *Config) { c.Handle = nil },
		"listen":         func(c *Config) { c.Listen = []string{"nonsense"} },
		"no transport":   func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0/ws"} },
		"one port taken": func(c *Config) { c.Listen = []string{anyQUIC, taken} },
		"many listens":   func(c *Config) { c.Listen = slices.Repeat([]string{anyTCP}, maxListen+1) },
		"message":        func(c *Config) { c.MaxMessageBytes = highestMessageBytes + 1 },
		"streams":        func(c *Config) { c.MaxStreamsPerPeer = -1 },
		"timeout":        func(c *Config) { c.Timeout = -1 },
	} {
		cfg := a.cfg
		change(&cfg)
		if h, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
			_ = h.Close()
		}
	}
	if _, err := PeerID(nil); err == nil {
		t.Error("PeerID of nothing: no error")
	}
}

// Two hosts in one process may share a registry; a host with none leaves the default one alone.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	shared := func(_ *party, cfg *Config) { cfg.Registerer = registry }
	a, b := start(t, anyTCP, shared), start(t, anyQUIC, shared)
	if _, err := a.Ask(t.Context(), b.Addrs(), nil); err != nil {
		t.Fatal(err)
	}
	gatherers := map[string]prometheus.Gatherer{"own": registry, "default": prometheus.DefaultGatherer}
	for name, gatherer := range gatherers {
		has := false
		for _, family := range must(gatherer.Gather()) {
			has = has || strings.HasPrefix(family.GetName(), "libp2p_")
		}
		if has != (name == "own") {
			t.Errorf("%s registry has libp2p's metrics: %t", name, has)
		}
	}
}
