package gossip

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Memberlist's Shutdown does not wait for a probe that is under way, which ends by itself.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

// circle is a set of replicas "1", "2", ... in a cloud.
type circle struct {
	t     *testing.T
	cloud *cloud
	log   lockedBuffer

	mu    sync.Mutex
	alone bool                         // no seeds
	hosts map[string]ed25519.PublicKey // of those that are allowed
	all   map[string]*Gossip
}

func newCircle(t *testing.T) *circle {
	return &circle{
		t: t, cloud: newCloud(), hosts: map[string]ed25519.PublicKey{}, all: map[string]*Gossip{},
	}
}

// newBubble is for a synctest bubble, which must not end before the last stream has run out of time.
func newBubble(t *testing.T) *circle {
	t.Cleanup(func() { <-time.After(4 * streamTimeout) })
	return newCircle(t)
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

func (c *circle) allowed(id string, host ed25519.PublicKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return host.Equal(c.hosts[id])
}

func (c *circle) seeds() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alone {
		return nil
	}
	return []string{at("1")}
}

func (c *circle) allow(id string, host ed25519.PublicKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts[id] = host
}

func at(id string) string { return fmt.Sprintf("10.0.0.%s:7946", id) }

// start runs a replica whose one seed is the replica 1.
func (c *circle) start(id string, change func(*Config)) *Gossip {
	c.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	c.allow(id, public)
	cfg := Config{
		ID: id, Host: private, Circle: "hebden", Seed: make([]byte, 32),
		Bind: netip.MustParseAddrPort(at(id)), Addrs: []string{"tcp of " + id},
		Allowed: c.allowed, Seeds: c.seeds,
		Log: slog.New(slog.NewTextHandler(&c.log, nil)), transport: c.cloud.port(at(id)),
	}
	if change != nil {
		change(&cfg)
	}
	g, err := Start(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.all[id] = g
	c.t.Cleanup(func() {
		if err := g.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return g
}

func (c *circle) startAll(n int) {
	for i := range n {
		c.start(fmt.Sprint(i+1), nil)
	}
}

// living lists who is alive for one replica.
func living(g *Gossip) string {
	var ids []string
	for _, p := range g.Peers() {
		if p.Alive {
			ids = append(ids, p.ID)
		}
	}
	return strings.Join(ids, " ")
}

// within waits in a bubble's time until a condition holds; it gives how long that took.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for tick := time.NewTicker(100 * time.Millisecond); !holds(); <-tick.C {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
	return time.Since(began)
}

func (c *circle) whole() bool {
	for _, g := range c.all {
		if n := len(strings.Fields(living(g))); n != len(c.all)-1 {
			return false
		}
	}
	return true
}

func TestConvergence(t *testing.T) {
	for _, n := range []int{3, 5} {
		synctest.Test(t, func(t *testing.T) {
			c := newBubble(t)
			c.startAll(n)
			took := within(t, 2*time.Minute, "all see all", c.whole)
			t.Logf("%d replicas see each other after %s", n, took)
			for id, g := range c.all {
				for _, p := range g.Peers() {
					if want := []string{"tcp of " + p.ID}; p.ID == id || !slices.Equal(p.Addrs, want) {
						t.Errorf("%s knows %+v", id, p)
					}
				}
			}
		})
	}
}

// One in five packets lost makes nobody look dead for long.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBubble(t)
		var n int
		c.cloud.lose(func(string, string) bool { n++; return n%5 == 0 })
		c.startAll(3)
		within(t, time.Minute, "all see all", c.whole)
	})
}

func TestFailureIsSeen(t *testing.T) {
	for _, n := range []int{3, 5} {
		synctest.Test(t, func(t *testing.T) {
			c := newBubble(t)
			c.startAll(n)
			within(t, 2*time.Minute, "all see all", c.whole)
			drain(c.all["1"])
			c.cloud.lose(func(from, to string) bool { return from == at("2") || to == at("2") })
			died := time.Now()
			took := within(t, 30*time.Second, "2 is seen to have died", func() bool {
				both := living(c.all["1"]) + living(c.all["3"])
				return !strings.Contains(both, "2")
			})
			t.Logf("among %d a failure is seen after %s", n, took)
			select {
			case <-c.all["1"].Changed():
			default:
				t.Error("Changed said nothing")
			}
			dead := c.all["1"].Peers()[0]
			if dead.ID != "2" || dead.Since.Before(died) || len(dead.Addrs) != 1 ||
				!slices.Equal(c.all["1"].Addrs("2"), dead.Addrs) {
				t.Errorf("what is kept of the dead: %+v", dead)
			}
		})
	}
}

func drain(g *Gossip) {
	select {
	case <-g.Changed():
	default:
	}
}

// Two sides that were apart for an hour find each other again, though nobody restarts.
func TestIsolationHeals(t *testing.T) {
	for _, seeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newBubble(t)
			c.startAll(5)
			within(t, 2*time.Minute, "all see all", c.whole)
			c.mu.Lock()
			c.alone = !seeds
			c.mu.Unlock()
			side := func(addr string) bool { return addr <= at("2") }
			c.cloud.lose(func(from, to string) bool { return side(from) != side(to) })
			time.Sleep(time.Hour)
			if a, b := living(c.all["1"]), living(c.all["5"]); a != "2" || b != "3 4" {
				t.Fatalf("apart: 1 sees %q, 5 sees %q", a, b)
			}
			c.cloud.lose(nil)
			took := within(t, 2*time.Minute, "all see all again", c.whole)
			t.Logf("whole again after %s", took)
		})
	}
}

// The first seed is not there yet when the others start.
func TestSeedsComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBubble(t)
		c.start("2", nil)
		c.start("3", nil)
		time.Sleep(10 * time.Minute)
		if got := living(c.all["2"]); got != "" {
			t.Fatalf("sees %q", got)
		}
		c.start("1", nil)
		within(t, 2*time.Minute, "all see all", c.whole)
	})
}

func TestUpdateAndGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBubble(t)
		c.startAll(3)
		within(t, 2*time.Minute, "all see all", c.whole)
		moved := []string{"tcp elsewhere", "/ip4/192.0.2.1/tcp/1/p2p/12D3KooW"}
		if err := c.all["2"].Update(moved); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, "the new addresses are known", func() bool {
			return slices.Equal(c.all["1"].Addrs("2"), moved) && slices.Equal(c.all["3"].Addrs("2"), moved)
		})
		if err := c.all["2"].Update([]string{strings.Repeat("x", 500)}); err == nil {
			t.Error("addresses that do not fit were taken")
		}
		if err := c.all["2"].Update(make([]string, maxAddrs+1)); err == nil {
			t.Error("too many addresses were taken")
		}
		if err := c.all["2"].Close(); err != nil {
			t.Fatal(err)
		}
		within(t, 2*time.Second, "the goodbye is heard", func() bool {
			return living(c.all["1"]) == "3" && living(c.all["3"]) == "1"
		})
		if err := c.all["2"].Update(moved); err == nil {
			t.Error("updated after Close")
		}
		if got := c.all["1"].Addrs("2"); !slices.Equal(got, moved) {
			t.Errorf("addresses after the goodbye: %v", got)
		}
	})
}

// A replica that comes back at another place is found there at once.
func TestRestartElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBubble(t)
		c.startAll(3)
		within(t, 2*time.Minute, "all see all", c.whole)
		old := c.all["2"]
		c.cloud.lose(func(from, to string) bool { return from == at("2") || to == at("2") })
		c.start("2", func(cfg *Config) {
			cfg.Host, cfg.Addrs = old.cfg.Host, []string{"new"}
			cfg.Bind, cfg.transport = netip.MustParseAddrPort(at("22")), c.cloud.port(at("22"))
		})
		c.allow("2", old.cfg.Host.Public().(ed25519.PublicKey))
		within(t, 5*time.Second, "the new place is known", func() bool {
			c.all["1"].Recheck()
			return slices.Equal(c.all["1"].Addrs("2"), []string{"new"})
		})
		time.Sleep(time.Minute) // the old one is found dead meanwhile
		if got := living(c.all["1"]); got != "2 3" {
			t.Errorf("alive: %q", got)
		}
	})
}

var unbelieved = regexp.MustCompile("card is not believed|is not one of this circle's")

// forged is what a replica of that configuration would tell of itself.
func forged(cfg Config, name string) []byte {
	g := &Gossip{cfg: cfg}
	if err := g.sign(name, []string{"forged"}); err != nil {
		panic(err)
	}
	return g.meta
}

func TestForgedCards(t *testing.T) {
	_, thief, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(cfg Config, name string) []byte{
		"own key":   func(cfg Config, name string) []byte { cfg.Host = thief; return forged(cfg, name) },
		"nonsense":  func(Config, string) []byte { return []byte("me") },
		"another's": func(cfg Config, _ string) []byte { return forged(cfg, "another") },
		"other circle": func(cfg Config, name string) []byte {
			cfg.Circle = "todmorden"
			return forged(cfg, name)
		},
		"signature": func(cfg Config, name string) []byte {
			meta := forged(cfg, name)
			meta[0] ^= 1
			return meta
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newBubble(t)
				c.startAll(2)
				g := c.start("3", func(cfg *Config) { cfg.Log = slog.New(slog.DiscardHandler) })
				within(t, 2*time.Minute, "all see all", c.whole)
				meta := forge(g.cfg, g.mine.Name)
				g.mu.Lock()
				g.meta = meta
				g.mu.Unlock()
				if err := g.list.UpdateNode(updateTimeout); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if got := c.all["1"].Addrs("3"); !slices.Equal(got, []string{"tcp of 3"}) {
					t.Errorf("believed %v", got)
				}
				if n := len(unbelieved.FindAllString(c.log.String(), -1)); n != 2 {
					t.Errorf("%d warnings by two replicas, want one each:\n%s", n, c.log.String())
				}
			})
		})
	}
}

// Who is not of the circle is not listed, until it is, and no longer than it is.
func TestAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBubble(t)
		c.startAll(2)
		three := c.start("3", nil)
		key := three.cfg.Host.Public().(ed25519.PublicKey)
		c.allow("3", nil)
		time.Sleep(time.Minute)
		if got := living(c.all["1"]); got != "2" {
			t.Fatalf("before: %q", got)
		}
		c.allow("3", key)
		c.all["1"].Recheck()
		if got := living(c.all["1"]); got != "2 3" {
			t.Errorf("allowed: %q", got)
		}
		c.allow("3", nil)
		if got := living(c.all["1"]); got != "2" || c.all["1"].Addrs("3") != nil {
			t.Errorf("struck off: %q", got)
		}
	})
}

func TestStrangersKeptOut(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"other label": func(cfg *Config) { cfg.Circle = "todmorden" },
		"other key":   func(cfg *Config) { cfg.Seed = bytes.Repeat([]byte{1}, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newBubble(t)
				c.startAll(2)
				c.start("3", change)
				time.Sleep(2 * time.Minute)
				if a, b := living(c.all["1"]), living(c.all["3"]); a != "2" || b != "" {
					t.Errorf("1 sees %q, 3 sees %q", a, b)
				}
				if n := len(c.all["1"].living); n != 2 {
					t.Errorf("%d nodes got in, want 2", n)
				}
			})
		})
	}
}

func TestStartRefuses(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := Config{
		ID: "1", Host: key, Circle: "hebden", Seed: make([]byte, 32),
		Bind:    netip.MustParseAddrPort("127.0.0.1:0"),
		Allowed: func(string, ed25519.PublicKey) bool { return true }, Seeds: func() []string { return nil },
		Log: slog.New(slog.DiscardHandler),
	}
	for name, change := range map[string]func(*Config){
		"no id":         func(c *Config) { c.ID = "" },
		"no host":       func(c *Config) { c.Host = nil },
		"no circle":     func(c *Config) { c.Circle = "" },
		"long circle":   func(c *Config) { c.Circle = strings.Repeat("x", 256) },
		"no seed":       func(c *Config) { c.Seed = nil },
		"no bind":       func(c *Config) { c.Bind = netip.AddrPort{} },
		"no advertise":  func(c *Config) { c.Bind = netip.MustParseAddrPort("0.0.0.0:0") },
		"no allowed":    func(c *Config) { c.Allowed = nil },
		"many addrs":    func(c *Config) { c.Addrs = make([]string, maxAddrs+1) },
		"taken address": func(c *Config) { c.Bind = netip.MustParseAddrPort("192.0.2.1:1") },
	} {
		cfg := good
		change(&cfg)
		if g, err := Start(cfg); err == nil {
			t.Errorf("%s: started", name)
			_ = g.Close()
		}
	}
}

// Three on the loopback, with real sockets.
func TestLoopback(t *testing.T) {
	c := newCircle(t)
	var seed string
	real := func(cfg *Config) {
		cfg.Bind, cfg.transport = netip.MustParseAddrPort("127.0.0.1:0"), nil
		cfg.Seeds = func() []string { return []string{seed} }
		cfg.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	seed = c.start("1", func(cfg *Config) { real(cfg); cfg.Seeds = func() []string { return nil } }).Addr()
	c.start("2", real)
	c.start("3", real)
	for !c.whole() {
		select {
		case <-c.all["1"].Changed():
		case <-c.all["2"].Changed():
		case <-c.all["3"].Changed():
		case <-t.Context().Done():
			t.Fatal("they never met")
		}
	}
	if err := c.all["2"].Close(); err != nil {
		t.Fatal(err)
	}
	for living(c.all["1"]) != "3" {
		<-c.all["1"].Changed()
	}
}
