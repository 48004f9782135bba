package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// buildNext builds the program as it might be one release on: it knows rules version 2, and more kinds than
// this one. What is different lies in testdata/nextrules and is laid over the sources for this build alone.
func buildNext(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	over := map[string]string{}
	lay := func(path, text string) {
		laid := filepath.Join(t.TempDir(), filepath.Base(path))
		if err := os.WriteFile(laid, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		over[filepath.Join(root, path)] = laid
	}
	read := func(path string) string {
		raw, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	change := func(path, old, now string) {
		text := read(path)
		if strings.Count(text, old) != 1 {
			t.Fatalf("%s does not hold %q once", path, old)
		}
		lay(path, strings.Replace(text, old, now, 1))
	}
	change("circle/machine/rules.go", "NewestRules uint32 = 1\n", "NewestRules uint32 = 2\n")
	change("circle/circle.go", "coin.Feature()", "coin.NextFeature()")
	lay("circle/coin/next.go", read("cmd/carecircle/testdata/nextrules/coin.go"))
	lay("cmd/carecircle/next.go", read("cmd/carecircle/testdata/nextrules/watch.go"))
	raw, err := json.Marshal(map[string]any{"Replace": over})
	if err != nil {
		t.Fatal(err)
	}
	program, list := filepath.Join(t.TempDir(), "carecircle"), filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(list, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-overlay", list,
		"-ldflags", "-X main.version=next", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the next program: %v\n%s", err, out)
	}
	return program
}

// upgraded is one circle on three replicas, each a process of one program or the other.
type upgraded struct {
	t      *testing.T
	old    string
	ids    []string
	dirs   []string
	as     []*api.Client // the operator at each
	nodes  []*process    // nil: stopped
	people []string

	acked    []atomic.Int64 // minutes of each person, answered
	pausing  sync.RWMutex   // held by those who send, one command each
	lastAck  atomic.Int64   // nanoseconds since began
	gap      atomic.Int64   // longest between two answers, since it was last reset
	began    time.Time
	failures chan error
}

func newUpgraded(t *testing.T, people int) *upgraded {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u := &upgraded{t: t, old: self, ids: []string{"one", "r2", "r3"}, failures: make(chan error, 16)}
	t.Cleanup(func() {
		for _, p := range u.nodes {
			if p != nil {
				p.kill()
			}
		}
	})
	for i, id := range u.ids {
		dir := filepath.Join(t.TempDir(), id)
		at := make([]string, 4)
		for j := range at {
			if at[j], err = fixedPort(); err != nil {
				t.Fatal(err)
			}
		}
		args := []string{
			"--data", dir, "--http", "127.0.0.1:" + at[0], "--letters", "/ip4/127.0.0.1/tcp/" + at[1],
			"--listen", "127.0.0.1:" + at[2], "--gossip", "127.0.0.1:" + at[3],
		}
		if i == 0 {
			call(t, append([]string{
				"init", "--name", "North", "--place", "North", "--aim", "To test", "--founder", "Farida",
			}, args...)...)
		} else {
			invitation := strings.TrimSpace(call(t, "replica", "invite", "--data", u.dirs[0]))
			call(t, append([]string{"join", invitation}, args...)...)
		}
		token, err := node.OperatorToken(dir)
		if err != nil {
			t.Fatal(err)
		}
		u.dirs, u.nodes = append(u.dirs, dir), append(u.nodes, nil)
		u.as = append(u.as, api.NewClient("http://127.0.0.1:"+at[0], token))
		u.start(i, u.old)
		waitUntil(t, id+" counts", func() (bool, error) { return u.counts(id) })
	}
	u.must(0, "coin.policy", coin.SetPolicy{
		FloorMinutes: -300, EarnDayMinutes: dayMinutes, ReviewOn: "2099-09-30", Decision: "T-1",
	}, nil)
	for i := range people {
		var made member.Made
		u.must(i%3, "member.invite", member.Invite{
			Name: machine.Text("", fmt.Sprint("Person ", i)), Link: machine.Hash{byte(i + 1)},
			Until: time.Now().Add(time.Hour).UnixMilli(),
		}, &made)
		u.people = append(u.people, made.Person)
	}
	u.acked = make([]atomic.Int64, people)
	return u
}

func (u *upgraded) counts(id string) (bool, error) {
	var all []node.Standing
	if err := u.as[0].Call(u.t.Context(), "GET", "/api/v1/replicas", nil, &all); err != nil {
		return false, err
	}
	for _, s := range all {
		if s.ID == id {
			return s.Alive && s.Status == "voting", nil
		}
	}
	return id == "one", nil // which is in no list before it has written itself down
}

func (u *upgraded) start(i int, program string) {
	u.t.Helper()
	p, err := spawn(program, u.dirs[i])
	if err != nil {
		u.t.Fatal(err)
	}
	u.nodes[i] = p
	p.waitReady(u.t)
}

func (u *upgraded) stop(i int) {
	u.t.Helper()
	u.nodes[i].stop(u.t)
	u.nodes[i] = nil
}

// replace stops a replica in good order, starts it under a program and waits until it has caught up.
func (u *upgraded) replace(i int, program string) {
	u.t.Helper()
	status := u.status(i)
	u.gap.Store(0)
	u.stop(i)
	u.start(i, program)
	u.t.Logf("%s (it led: %v) is back under the program %q; the longest time without an answer was %v",
		u.ids[i], status.Replica.State == "Leader", u.status(i).Version, time.Duration(u.gap.Load()))
}

func (u *upgraded) status(i int) node.Status {
	u.t.Helper()
	var s node.Status
	if err := u.as[i].Call(u.t.Context(), "GET", "/api/v1/status", nil, &s); err != nil {
		u.t.Fatal(err)
	}
	return s
}

func (u *upgraded) must(i int, kind string, body, result any) {
	u.t.Helper()
	if _, err := u.as[i].Do(u.t.Context(), "", "", kind, body, result); err != nil {
		u.t.Fatalf("%s at %s: %v", kind, u.ids[i], err)
	}
}

// refused wants a refusal whose words hold all of what is given.
func (u *upgraded) refused(i int, kind string, body any, code string, words ...string) {
	u.t.Helper()
	_, err := u.as[i].Do(u.t.Context(), "", "", kind, body, nil)
	var refusal *machine.Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		u.t.Fatalf("%s at %s: %v, want %s", kind, u.ids[i], err, code)
	}
	for _, w := range words {
		if !strings.Contains(refusal.Message, w) {
			u.t.Errorf("%s at %s says %q: there is no %q in it", kind, u.ids[i], refusal.Message, w)
		}
	}
}

// load sends work from several clients at once, each to any replica that answers, until ctx ends.
func (u *upgraded) load(ctx context.Context, clients int) *sync.WaitGroup {
	u.began = time.Now()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			tick := time.NewTicker(15 * time.Millisecond)
			defer tick.Stop()
			for n := c; ; n += clients {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if err := u.earn(ctx, n%len(u.people), n); err != nil && ctx.Err() == nil {
					u.failures <- err
					return
				}
			}
		})
	}
	return &all
}

// earn has one minute written down, once, by asking one replica after the other until there is an answer.
func (u *upgraded) earn(ctx context.Context, person, first int) error {
	u.pausing.RLock()
	defer u.pausing.RUnlock()
	id, err := api.NewID()
	if err != nil {
		return err
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for try := first; ; try++ {
		_, err := u.as[try%3].Do(ctx, id.String(), "", "coin.earn", coin.Earn{
			Person: u.people[person], Minutes: 1, Activity: "garden",
		}, nil)
		var refusal *machine.Error
		if err == nil {
			u.acked[person].Add(1)
			now := int64(time.Since(u.began))
			gap := now - u.lastAck.Swap(now)
			for was := u.gap.Load(); gap > was && !u.gap.CompareAndSwap(was, gap); was = u.gap.Load() {
				continue
			}
			return nil
		}
		if errors.As(err, &refusal) && refusal.Code != "unavailable" && refusal.Code != "too_many_requests" {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// equal has nothing under way, stops all, and wants one state, one journal and every answered minute in each.
// It then starts each under its program again.
func (u *upgraded) equal(what string, programs ...string) {
	u.t.Helper()
	u.pausing.Lock()
	defer u.pausing.Unlock()
	waitUntil(u.t, "all have applied the same", func() (bool, error) {
		a, b, c := u.status(0).Replica, u.status(1).Replica, u.status(2).Replica
		return a.Applied == b.Applied && b.Applied == c.Applied, nil
	})
	for i := range u.nodes {
		u.stop(i)
	}
	type stand struct {
		meta machine.Meta
		hash machine.Hash
	}
	var all []stand
	for _, dir := range u.dirs {
		kv := u.openState(dir)
		all = append(all, stand{machine.ReadMeta(kv), machine.StateHash(kv)})
		for p, person := range u.people {
			a, _ := coin.ReadBooks(kv).Account(coin.Book, person)
			if a.Posted != u.acked[p].Load() {
				u.t.Errorf("%s: %s holds %d minutes in %s; %d were answered", what, person, a.Posted, dir,
					u.acked[p].Load())
			}
		}
		if err := kv.Close(); err != nil {
			u.t.Error(err)
		}
	}
	u.t.Logf("%s: %d commands, rules version %d", what, all[0].meta.Position, all[0].meta.RulesVersion)
	for i := range all {
		if all[i] != all[0] {
			u.t.Errorf("%s: %s stands at %+v, %s at %+v", what, u.ids[i], all[i], u.ids[0], all[0])
		}
	}
	for i, program := range programs {
		p, err := spawn(program, u.dirs[i])
		if err != nil {
			u.t.Fatal(err)
		}
		u.nodes[i] = p
	}
	for i := range programs {
		u.nodes[i].waitReady(u.t)
	}
	u.lastAck.Store(int64(time.Since(u.began))) // what nobody asked for was not late
}

func (u *upgraded) openState(dir string) *store.State {
	u.t.Helper()
	keys, err := node.ReadKeys(&vault.Files{Dir: dir})
	if err != nil {
		u.t.Fatal(err)
	}
	kv, err := store.OpenState(store.StateConfig{
		Dir: filepath.Join(dir, "state"), EncryptionKey: keys.Store[:],
		Fatal: func(err error) { u.t.Error(err) },
	})
	if err != nil {
		u.t.Fatal(err)
	}
	return kv
}

// stopsItself wants a replica to end with exit code 3, saying all of the words.
func (u *upgraded) stopsItself(i int, words ...string) {
	u.t.Helper()
	p := u.nodes[i]
	select {
	case <-p.ended:
	case <-time.After(waitLong):
		u.t.Fatalf("%s goes on:\n%s", u.ids[i], p.said.String())
	}
	u.nodes[i] = nil
	if code := p.cmd.ProcessState.ExitCode(); code != exitStopped {
		u.t.Errorf("%s ended with exit code %d, want %d", u.ids[i], code, exitStopped)
	}
	for _, w := range words {
		if !strings.Contains(p.said.String(), w) {
			u.t.Errorf("there is no %q in what %s said:\n%s", w, u.ids[i], p.said.String())
		}
	}
	u.t.Logf("%s stopped: %s", u.ids[i], p.said.String())
}

// TestRollingUpgrade replaces the program of three replicas one after the other, under load. Old and new stay
// equal; newer rules come into force once all know them; a program that does not know what is in the log or
// in force stops and says so.
func TestRollingUpgrade(t *testing.T) {
	next := buildNext(t)
	u := newUpgraded(t, 24)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	loading := u.load(ctx, 4)
	activate := machine.Activate{Version: 2}

	u.replace(0, next)
	u.replace(1, next)
	u.refused(0, "rules.activate", activate, "rules_behind", `"r3"`, "carecircle unversioned", "Install")
	u.refused(2, "rules.activate", activate, "rules_behind", `"r3"`)
	u.refused(1, "coin.later", struct{}{}, "not_in_force") // or the old program would have to stop
	u.equal("two builds", next, next, u.old)
	u.replace(2, next)
	u.equal("upgraded", next, next, next)

	u.replace(2, u.old) // put back, it works while nothing it does not know is logged
	u.must(0, "coin.new", struct{}{}, nil)
	u.stopsItself(2, `command kind \"coin.new\" is not known`, "install the version that wrote it")
	u.refused(1, "rules.activate", activate, "replica_away", `"r3"`, "carecircle replica remove r3")
	u.start(2, next)
	u.equal("with a new kind", next, next, next)

	cancel()
	loading.Wait()
	u.must(2, "rules.activate", activate, nil)
	u.acked[0].Add(20)
	u.must(1, "coin.earn", coin.Earn{Person: u.people[0], Minutes: 10, Activity: "garden"}, nil)
	u.must(0, "coin.place", coin.AddPlace{Place: "cafe", Name: "Cafe"}, nil)
	u.equal("new rules", next, next, next)
	u.stop(2)
	p, err := spawn(u.old, u.dirs[2])
	if err != nil {
		t.Fatal(err)
	}
	u.nodes[2] = p
	u.stopsItself(2, "rules version 2 is in force", "knows rules up to 1", "install the version")
	u.start(2, next)
	u.equal("at the end")
	select {
	case err := <-u.failures:
		t.Error(err)
	default:
	}
}
