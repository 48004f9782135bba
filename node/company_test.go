package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/backup"
)

// freeAddr returns a loopback address that nobody listens on. Its port is below those that the kernel gives
// to whoever asks for any: one of these might be taken again before the node listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(10_000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

func replicaConfig(t *testing.T) node.Config {
	return node.Config{
		HTTP: "127.0.0.1:0", Letters: []string{"/ip4/127.0.0.1/tcp/0"},
		Replica: &node.ReplicaConfig{ID: replicas.First, Listen: freeAddr(t), Gossip: freeAddr(t)},
	}
}

// company is one circle on several machines, all of them in this process.
type company struct {
	t      *testing.T
	config func(t *testing.T) node.Config
	nodes  []*node.Node
	dirs   []string
	fatal  []chan error
	drawn  byte
	log    logged // of all of them
}

func newCompany(t *testing.T, size int) *company {
	t.Helper()
	return companyOf(t, size, replicaConfig)
}

// newCompanyKeeping is a company whose machines all make backups.
func newCompanyKeeping(t *testing.T, size int, keeps *backup.Config) *company {
	t.Helper()
	return companyOf(t, size, func(t *testing.T) node.Config {
		cfg := replicaConfig(t)
		cfg.Backup = keeps
		return cfg
	})
}

func companyOf(t *testing.T, size int, config func(t *testing.T) node.Config) *company {
	t.Helper()
	c := &company{t: t, config: config}
	cfg := config(t)
	cfg.Name, cfg.Place, cfg.Aim, cfg.Founder = "Hebden Bridge", "Hebden Bridge", "care", "Farida"
	dir := filepath.Join(t.TempDir(), "one")
	if err := node.Init(dir, cfg); err != nil {
		t.Fatal(err)
	}
	c.add(dir)
	for i := 1; i < size; i++ {
		c.join(fmt.Sprint("r", i+1))
	}
	t.Cleanup(c.stopAll)
	return c
}

func (c *company) stopAll() {
	for i := range c.nodes {
		c.stop(i)
	}
}

func (c *company) add(dir string) {
	c.dirs = append(c.dirs, dir)
	c.nodes = append(c.nodes, nil)
	c.fatal = append(c.fatal, nil)
	c.start(len(c.nodes) - 1)
}

// join has another machine join, and waits until it counts.
func (c *company) join(id string) {
	c.t.Helper()
	invitation, err := c.nodes[0].InviteReplica(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	dir := filepath.Join(c.t.TempDir(), id)
	cfg, err := node.Join(c.t.Context(), dir, invitation, c.config(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	if cfg.Replica.ID != id || cfg.Name != "Hebden Bridge" {
		c.t.Errorf("joined as %+v", cfg)
	}
	c.add(dir)
	c.counts(id)
}

// counts waits until a replica counts.
func (c *company) counts(id string) {
	c.t.Helper()
	c.until("replica "+id+" counts", func() bool {
		for _, s := range c.nodes[0].Replicas(c.t.Context()) {
			if s.ID == id && s.Alive && s.Status == replicas.Voting.String() {
				return true
			}
		}
		return false
	})
}

func (c *company) until(what string, ok func() bool) {
	c.t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			c.t.Fatalf("not in a minute: %s", what)
		}
	}
}

func (c *company) start(i int) {
	c.t.Helper()
	fatal := make(chan error, 16)
	log := slog.New(slog.NewTextHandler(&c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n, err := node.Open(c.t.Context(), c.dirs[i], node.Options{Log: log, Fatal: func(err error) {
		select {
		case fatal <- err:
		default:
		}
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i], c.fatal[i] = n, fatal
}

func (c *company) stop(i int) {
	if c.nodes[i] == nil {
		return
	}
	if err := c.nodes[i].Close(); err != nil {
		c.t.Errorf("stop replica %d: %v", i, err)
	}
	c.nodes[i] = nil
}

// do does a command as the operator at one of the replicas.
func (c *company) do(i int, kind string, body any) machine.Outcome {
	c.t.Helper()
	id, err := api.NewID()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd, err := machine.NewCommand(id, machine.Caller{Actor: machine.ActorOperator}, 0, kind, body)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	for {
		out, err := c.nodes[i].Do(ctx, cmd)
		if err == nil {
			return out
		}
		if ctx.Err() != nil {
			c.t.Fatalf("%s at replica %d: %v", kind, i, err)
		}
	}
}

func (c *company) must(i int, kind string, body any) machine.Outcome {
	c.t.Helper()
	out := c.do(i, kind, body)
	if out.Refusal != nil {
		c.t.Fatalf("%s: %v", kind, out.Refusal)
	}
	return out
}

func (c *company) invite(i int, name string) string {
	c.t.Helper()
	c.drawn++
	return c.must(i, "member.invite", member.Invite{
		Name: machine.Text("", name), Link: machine.Hash{c.drawn},
		Until: time.Now().Add(time.Hour).UnixMilli(),
	}).Result.(member.Made).Person
}

// earned reads, at one replica, what a person holds, up to date.
func (c *company) earned(i int, person string) int64 {
	c.t.Helper()
	var minutes int64
	err := c.nodes[i].Fresh(c.t.Context())
	if err == nil {
		err = c.nodes[i].Read(func(r machine.Reader) error {
			a, _ := coin.ReadBooks(r).Account(coin.Book, person)
			minutes = a.Posted
			return nil
		})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return minutes
}

// Three machines keep one circle's books: each takes any request, each reads what another answered, one may
// be away, one may lose everything, one may leave.
func TestThreeReplicas(t *testing.T) {
	c := newCompany(t, 3)
	alice := c.invite(1, "Alice")
	for i := range 3 {
		c.must(i, "coin.earn", coin.Earn{Person: alice, Minutes: 60, Activity: "garden"})
		for j := range 3 {
			if got := c.earned(j, alice); got != int64(i+1)*60 {
				t.Errorf("replica %d reads %d minutes after %d hours", j, got, i+1)
			}
		}
	}
	for i := range 3 { // whoever leads
		c.stop(i)
		other := (i + 1) % 3
		c.must(other, "coin.earn", coin.Earn{Person: alice, Minutes: 10, Activity: "garden"})
		c.start(i)
		if got, want := c.earned(i, alice), 180+10*int64(i+1); got != want {
			t.Errorf("back again, replica %d reads %d minutes, want %d", i, got, want)
		}
	}
	c.must(0, "replicas.remove", replicas.Named{ID: "r3"})
	select {
	case err := <-c.fatal[2]:
		t.Log(err)
	case <-time.After(time.Minute):
		t.Error("the removed replica goes on")
	}
	c.stop(2)
	c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 5, Activity: "garden"})
	if a, b := c.earned(0, alice), c.earned(1, alice); a != 215 || b != 215 {
		t.Errorf("%d and %d minutes", a, b)
	}
}

// A replica whose disk lies begins anew with the others' copy, and has no vote until it holds it.
func TestDamagedReplicaHeals(t *testing.T) {
	c := newCompany(t, 3)
	alice := c.invite(0, "Alice")
	c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 60, Activity: "garden"})
	c.stop(1)
	note := filepath.Join(c.dirs[1], "DAMAGED")
	if err := os.WriteFile(note, []byte("log entry 7 is damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(2, "coin.earn", coin.Earn{Person: alice, Minutes: 30, Activity: "garden"})
	c.start(1)
	c.counts("r2")
	if got := c.earned(1, alice); got != 90 {
		t.Errorf("healed it reads %d minutes", got)
	}
	c.stop(0)
	c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 30, Activity: "garden"})
	if got := c.earned(2, alice); got != 120 {
		t.Errorf("%d minutes", got)
	}
	if _, err := os.Stat(filepath.Join(c.dirs[1], "damaged", "log")); err != nil {
		t.Errorf("what was damaged: %v", err)
	}
}

// The circle's first replica heals like any other: it must not begin the circle a second time. So does one
// whose stores are gone altogether, which must not vote on the strength of having nothing.
func TestLostDisksHeal(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long; it runs without the race detector")
	}
	for name, lose := range map[string]func(t *testing.T, dir string){
		"damaged": func(t *testing.T, dir string) { write(t, dir, "DAMAGED", "log entry 7 is damaged") },
		"gone": func(t *testing.T, dir string) {
			for _, part := range []string{"state", "log", "snapshots"} {
				if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, 3)
			alice := c.invite(0, "Alice")
			for i, id := range []string{replicas.First, "r2", "r3"} {
				c.must(i, "coin.earn", coin.Earn{Person: alice, Minutes: 60, Activity: "garden"})
				c.stop(i)
				if name == "damaged" { // one thing after the other, with a start between
					write(t, c.dirs[i], "replicas.json", "no list")
					c.start(i)
					c.stop(i)
				}
				lose(t, c.dirs[i])
				other := (i + 1) % 3
				c.must(other, "coin.earn", coin.Earn{Person: alice, Minutes: 30, Activity: "garden"})
				c.start(i)
				if got, want := c.earned(i, alice), int64(i+1)*90; got != want {
					t.Errorf("healed, %s reads %d minutes, want %d", id, got, want)
				}
				c.until("the healed "+id+" counts again", func() bool {
					p := c.decided(other, id)
					return p.Status == replicas.Voting && p.Life == 1 && c.nodes[other].Counts(id)
				})
			}
		})
	}
}

// decided is what the circle has decided of a replica, as another one reads it.
func (c *company) decided(at int, id string) (p replicas.Replica) {
	c.t.Helper()
	err := c.nodes[at].Fresh(c.t.Context())
	if err == nil {
		err = c.nodes[at].Read(func(r machine.Reader) error {
			p, _ = replicas.Find(r, id)
			return nil
		})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// An invitation is for one machine, and only the circle's own gives one.
func TestJoinTicket(t *testing.T) {
	c := newCompany(t, 1)
	invitation, err := c.nodes[0].InviteReplica(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "r2")
	if _, err := node.Join(t.Context(), dir, invitation[:40], replicaConfig(t)); err == nil {
		t.Error("half an invitation is enough")
	}
	var all sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		all.Go(func() {
			_, errs[i] = node.Join(t.Context(), fmt.Sprint(dir, i), invitation, replicaConfig(t))
		})
	}
	all.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("two machines with one invitation: %v, %v", errs[0], errs[1])
	}
	alone := start(t, makeNode(t))
	defer alone.Close()
	var refusal *machine.Error
	if _, err := alone.InviteReplica(t.Context()); !errors.As(err, &refusal) ||
		refusal.Code != "replica_alone" {
		t.Errorf("a node without an address invites: %v", err)
	}
}

// Reads through the door of any replica see what another one answered. One that is cut off says so.
func TestReadsAtAnyDoor(t *testing.T) {
	c := newCompany(t, 3)
	alice := c.invite(0, "Alice")
	c.must(0, "coin.earn", coin.Earn{Person: alice, Minutes: 60, Activity: "garden"})
	get := func(i int, path string) (*http.Response, string) {
		t.Helper()
		token, err := node.OperatorToken(c.dirs[i])
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + c.nodes[i].Addr() + path
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(path, "/api/") {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	const circle = "/api/v1/view/member.circle"
	for i := range 3 {
		res, body := get(i, circle)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "Hebden Bridge") {
			t.Errorf("replica %d: %s %s", i, res.Status, body)
		}
	}
	c.stop(1)
	c.stop(2)
	if res, body := get(0, circle); res.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(body, `"stale"`) {
		t.Errorf("alone: %s %s", res.Status, body)
	}
	if res, body := get(0, circle+"?stale=1"); res.StatusCode != http.StatusOK ||
		res.Header.Get("Carecircle-Stale") == "" || !strings.Contains(body, "Hebden Bridge") {
		t.Errorf("alone, asked for what it has: %s %s", res.Status, body)
	}
	if res, body := get(0, "/signin"); res.StatusCode != http.StatusOK ||
		!strings.Contains(body, "out of date") {
		t.Errorf("alone, a page: %s %s", res.Status, body)
	}
}

// A machine whose key was changed says so at its start; it does not wait for others that will not know it.
func TestChangedHostKey(t *testing.T) {
	c := newCompany(t, 3)
	c.stop(1)
	path := filepath.Join(c.dirs[1], "host.key")
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(c.dirs[2], "host.key"))
	if err == nil {
		err = os.WriteFile(path, other, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = node.Open(ctx, c.dirs[1], node.Options{Fatal: func(error) {}})
	if err == nil || !strings.Contains(err.Error(), "host.key") || ctx.Err() != nil {
		t.Errorf("with another machine's key: %v", err)
	}
	if err := os.WriteFile(path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(1)
}
