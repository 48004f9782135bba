package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

// cluster is replicas in memory that a test cuts off, kills and brings back.
type cluster struct {
	t     *testing.T
	rnd   *rand.Rand
	mu    sync.Mutex
	nodes []*node
	side  map[string]int // replicas on different sides do not reach each other; 0: not cut off

	unknown atomic.Int64 // answers ErrUnknown
	lost    atomic.Int64 // log entries that were written and not synced when the power was cut
}

const clusterSize = 3

func newCluster(t *testing.T, seed uint64) *cluster { return newClusterOf(t, seed, clusterSize) }

func newClusterOf(t *testing.T, seed uint64, size int) *cluster {
	c := &cluster{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), side: map[string]int{}}
	var servers []raft.Server
	for i := range size {
		n := newMember(fmt.Sprint("r", i))
		c.nodes = append(c.nodes, n)
		servers = append(servers, raft.Server{ID: raft.ServerID(n.id), Address: raft.ServerAddress(n.id)})
	}
	for _, n := range c.nodes {
		conf := raft.DefaultConfig()
		conf.LocalID = raft.ServerID(n.id)
		_, trans := raft.NewInmemTransport(raft.ServerAddress(n.id))
		all := raft.Configuration{Servers: servers}
		must(t, raft.BootstrapCluster(conf, n.log, n.log, n.snaps, trans, all))
		c.open(n)
	}
	return c
}

func newMember(id string) *node {
	n := newNode(id)
	n.tune = func(conf *raft.Config) { // so that snapshots are taken and sent
		conf.SnapshotThreshold, conf.TrailingLogs, conf.SnapshotInterval = 40, 10, 2*time.Second
	}
	n.log.takes = 3 * time.Millisecond // so that leaders die with writes under way
	return n
}

func (c *cluster) open(n *node) {
	cfg := n.config(c.t)
	cfg.Several = true
	cfg.Forward = func(ctx context.Context, addr string, cmd machine.Command) (machine.Outcome, error) {
		to := c.reach(n.id, addr)
		if to == nil {
			return machine.Outcome{}, errors.New("no connection")
		}
		return to.Do(ctx, cmd)
	}
	cfg.AskIndex = func(ctx context.Context, addr string) (uint64, error) {
		to := c.reach(n.id, addr)
		if to == nil {
			return 0, errors.New("no connection")
		}
		return to.Index(ctx)
	}
	cfg.AskTerm = func(_ context.Context, addr string) (uint64, error) {
		to := c.reach(n.id, addr)
		if to == nil {
			return 0, errors.New("no connection")
		}
		return to.Term(), nil
	}
	r, err := Open(cfg)
	must(c.t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	n.r = r
	c.connect()
}

// connect wires the transports as c.side says.
func (c *cluster) connect() {
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			switch {
			case a == b || a.trans == nil || b.trans == nil:
			case c.side[a.id] != c.side[b.id] || a.r == nil || b.r == nil:
				a.trans.Disconnect(address(b.id, b.life))
			default:
				a.trans.Connect(address(b.id, b.life), b.trans)
			}
		}
	}
}

func (c *cluster) setCut(n *node, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.side[n.id] = 0
	if cut {
		c.side[n.id] = 1 + slices.Index(c.nodes, n)
	}
	c.connect()
}

func (c *cluster) reach(from, to string) *Replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.id == to && c.side[from] == c.side[to] {
			return n.r
		}
	}
	return nil
}

// kill cuts a replica's power: what its state had not synced is lost, and of what its log had not as much as
// happens.
func (c *cluster) kill(n *node) {
	c.mu.Lock()
	r := n.r
	n.r = nil
	c.connect()
	n.log.cut()
	c.mu.Unlock()
	must(c.t, r.Close())
	n.state.crash()
	c.lost.Add(int64(n.log.mend(c.t, c.rnd.IntN(2))))
	for len(n.fatal) > 0 {
		if err := <-n.fatal; !errors.Is(err, errPowerCut) {
			c.t.Errorf("fatal: %v", err)
		}
	}
}

func (c *cluster) leader() *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.r != nil && n.r.Status().State == "Leader" && c.side[n.id] == 0 {
			return n
		}
	}
	return c.nodes[c.rnd.IntN(len(c.nodes))]
}

// trouble hits the leader, mostly, one replica at a time.
func (c *cluster) trouble(rounds int) {
	for range rounds {
		<-time.After(time.Duration(500+c.rnd.IntN(2500)) * time.Millisecond)
		victim := c.leader()
		if c.rnd.IntN(4) == 0 {
			victim = c.nodes[c.rnd.IntN(len(c.nodes))]
		}
		away := time.Duration(c.rnd.IntN(8000)) * time.Millisecond
		switch c.rnd.IntN(3) {
		case 0:
			c.setCut(victim, true)
			<-time.After(away)
			c.setCut(victim, false)
		case 1:
			c.kill(victim)
			<-time.After(away)
			c.open(victim)
		default: // cut off first, so that it dies with entries nobody else has
			c.setCut(victim, true)
			<-time.After(away / 4)
			c.kill(victim)
			c.setCut(victim, false)
			<-time.After(away / 4)
			c.open(victim)
		}
	}
}

// client asks for commands at any replica, each again and again until it is answered.
func (c *cluster) client(rnd *rand.Rand, done <-chan struct{}, say func(machine.ID, machine.Outcome)) {
	for {
		cmd := command(c.t, 1)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(rnd.IntN(400)) * time.Millisecond):
			}
			c.mu.Lock()
			r := c.nodes[rnd.IntN(len(c.nodes))].r
			c.mu.Unlock()
			if r == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(),
				time.Duration(1+rnd.IntN(15))*time.Second)
			out, err := r.Do(ctx, cmd)
			cancel()
			if err == nil {
				say(cmd.ID, out)
				break
			}
			if errors.Is(err, ErrUnknown) {
				c.unknown.Add(1)
			}
			known := errors.Is(err, ErrUnknown) || errors.Is(err, ErrNotLeader) || errors.Is(err, ErrStopped)
			if !known {
				c.t.Errorf("do: %v", err)
			}
		}
	}
}

// settle waits until all replicas stand at the same index.
func (c *cluster) settle() {
	for range 600 {
		<-time.After(100 * time.Millisecond)
		first := c.nodes[0].r.Status()
		same := first.Leader != "" && first.Applied == first.Commit
		for _, n := range c.nodes {
			s := n.r.Status()
			same = same && s.Applied == first.Applied && s.Commit == first.Commit
		}
		if same {
			return
		}
	}
	for _, n := range c.nodes {
		c.t.Errorf("does not settle: %+v", n.r.Status())
	}
}

// sums asks every replica that runs for its sum at a scrub's log entry; who has none has no say.
func (c *cluster) sums(index uint64) map[string]Sum {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := map[string]Sum{}
	for _, n := range c.nodes {
		if n.r == nil {
			continue
		}
		s, err := n.r.SumAt(ctx, index)
		if err == nil {
			all[n.id] = s
		} else if !errors.Is(err, ErrNoSum) {
			c.t.Errorf("sum of %s at %d: %v", n.id, index, err)
		}
	}
	return all
}

// Whatever happens to leaders: no command that was answered is lost, none is done twice, and in the end all
// replicas hold the same.
func TestLeadersCutOffAndKilled(t *testing.T) {
	seeds, rounds := uint64(10), 25
	if testing.Short() {
		seeds, rounds = 3, 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runTrouble(t, seed, rounds) })
		})
	}
}

func runTrouble(t *testing.T, seed uint64, rounds int) {
	c := newCluster(t, seed)
	var mu sync.Mutex
	acknowledged := map[machine.ID]machine.Outcome{}
	var clients sync.WaitGroup
	done := make(chan struct{})
	for i := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 1+i))
		clients.Go(func() {
			c.client(rnd, done, func(id machine.ID, out machine.Outcome) {
				mu.Lock()
				defer mu.Unlock()
				acknowledged[id] = out
			})
		})
	}
	c.trouble(rounds)
	close(done)
	clients.Wait()
	c.settle()

	want := stands(t, c.nodes[0].r)
	did := map[machine.ID]int{}
	for _, a := range listed(t, c.nodes[0].r) {
		did[a.ID]++
	}
	for id, times := range did {
		if times != 1 {
			t.Errorf("command %v was done %d times", id, times)
		}
	}
	for id, out := range acknowledged {
		if did[id] != 1 || out.Refusal != nil {
			t.Errorf("command %v was acknowledged (%+v) and done %d times", id, out, did[id])
		}
	}
	installed, repeated := 0, 0
	for _, out := range acknowledged {
		if out.Repeated {
			repeated++
		}
	}
	for _, n := range c.nodes {
		if got := stands(t, n.r); got != want {
			t.Errorf("replica %s stands at %+v, %s at %+v", n.id, got, c.nodes[0].id, want)
		}
		installed += n.state.restores
		select {
		case err := <-n.fatal:
			t.Errorf("fatal on %s: %v", n.id, err)
		default:
		}
	}
	t.Logf("%d acknowledged, %d of them by a later try, %d done, %d answers unknown, %d snapshots restored",
		len(acknowledged), repeated, len(did), c.unknown.Load(), installed)
	if len(acknowledged) < 10*rounds || c.unknown.Load() == 0 || installed == 0 {
		t.Error("too little happened")
	}
	for _, n := range c.nodes {
		must(t, n.r.Close())
	}
}

// A replica that does not lead says so, or passes commands on.
func TestFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		for _, n := range c.nodes {
			must(t, n.r.Ready(t.Context()))
		}
		leader := c.leader()
		for _, n := range c.nodes {
			if n == leader {
				continue
			}
			out := mustDo(t, n.r, 3)
			if s := n.r.Status(); s.Leader != leader.id || out.Result == nil {
				t.Errorf("%+v, %+v", s, out)
			}
			n.r.cfg.Forward = nil
			_, err := n.r.Do(t.Context(), command(t, 1))
			if !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknown) {
				t.Errorf("without forwarding: %v", err)
			}
		}
		c.settle()
		for _, n := range c.nodes {
			if got := len(listed(t, n.r)); got != clusterSize-1 {
				t.Errorf("%s did %d commands", n.id, got)
			}
			must(t, n.r.Close())
		}
		cfg := leader.config(t)
		if _, err := Open(cfg); err == nil {
			t.Error("a circle of three opened with the timeouts of one")
		}
	})
}

// Cut off with entries that never commit, a leader must not say they were done, and must say so in time.
func TestCutOffLeaderDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		for _, n := range c.nodes {
			must(t, n.r.Ready(t.Context()))
		}
		old := c.leader()
		old.r.cfg.Forward = nil
		c.setCut(old, true)
		cmd := command(t, 1)
		began := time.Now()
		_, err := old.r.Do(t.Context(), cmd)
		if took := time.Since(began); !errors.Is(err, ErrUnknown) || took > doLimit {
			t.Errorf("after %v: %v", took, err)
		}
		fresh := c.leader()
		out, err := fresh.r.Do(t.Context(), cmd)
		if err != nil || out.Repeated {
			t.Errorf("%+v, %v", out, err)
		}
		c.setCut(old, false)
		c.settle()
		if got := stands(t, old.r); got != stands(t, fresh.r) || len(listed(t, old.r)) != 1 {
			t.Errorf("%+v", got)
		}
		for _, n := range c.nodes {
			must(t, n.r.Close())
		}
	})
}
