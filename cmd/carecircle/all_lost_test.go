package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/backup"
)

// oneOfThree is a machine that keeps a circle's books with others, as a process.
type oneOfThree struct {
	dir, base string
	flags     []string
	node      *process
	operator  *api.Client
}

func newMachine(t *testing.T, name string) *oneOfThree {
	t.Helper()
	var ports [4]string
	for i := range ports {
		var err error
		if ports[i], err = fixedPort(); err != nil {
			t.Fatal(err)
		}
	}
	return &oneOfThree{
		dir: filepath.Join(t.TempDir(), name), base: "http://127.0.0.1:" + ports[0],
		flags: []string{
			"--http", "127.0.0.1:" + ports[0], "--letters", "/ip4/127.0.0.1/tcp/" + ports[1],
			"--listen", "127.0.0.1:" + ports[2], "--gossip", "127.0.0.1:" + ports[3],
		},
	}
}

// made runs a command that makes the machine's directory.
func (m *oneOfThree) made(t *testing.T, args ...string) {
	t.Helper()
	call(t, append(append(args, "--data", m.dir), m.flags...)...)
}

func (m *oneOfThree) serve(t *testing.T) {
	t.Helper()
	token, err := node.OperatorToken(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	m.operator = api.NewClient(m.base, token)
	m.node = startServe(t, m.dir)
	t.Cleanup(m.node.kill)
	m.node.waitReady(t)
}

// grow has another machine join, and waits until it counts.
func (m *oneOfThree) grow(t *testing.T, name string) *oneOfThree {
	t.Helper()
	other := newMachine(t, name)
	other.made(t, "join", strings.TrimSpace(call(t, "replica", "invite", "--data", m.dir)))
	other.serve(t)
	waitUntil(t, name+" counts", func() (bool, error) {
		out, errs, code := tryCall("replica", "list", "--data", m.dir, "-o", "json")
		var all []node.Standing
		if code != 0 {
			return false, errors.New(errs)
		}
		err := json.Unmarshal([]byte(out), &all)
		for _, s := range all {
			if s.ID == name && s.Alive && s.Status == "voting" {
				return true, err
			}
		}
		return false, err
	})
	return other
}

func (m *oneOfThree) do(t *testing.T, kind string, body, result any) {
	t.Helper()
	if _, err := m.operator.Do(t.Context(), "", "", kind, body, result); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
}

// sealTo has the machine's backups sealed to two identities.
func (m *oneOfThree) sealTo(t *testing.T, identities ...string) {
	t.Helper()
	cfg, err := node.ReadConfig(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Backup = &backup.Config{}
	for _, file := range identities {
		line := strings.TrimSpace(call(t, "backup", "keygen", file))
		cfg.Backup.Recipients = append(cfg.Backup.Recipients, line)
	}
	raw, err := json.Marshal(cfg)
	if err == nil {
		err = os.WriteFile(filepath.Join(m.dir, "config.json"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// load has people earn, a minute at a time, at whichever machine, until it is told to stop.
type load struct {
	acknowledged atomic.Int64
	stop         context.CancelFunc
	done         sync.WaitGroup
}

func startLoad(t *testing.T, machines []*oneOfThree, people []string) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	l.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			_, err := machines[i%len(machines)].operator.Do(t.Context(), "", "", "coin.earn",
				coin.Earn{Person: people[i%len(people)], Minutes: 1, Activity: "garden"}, nil)
			if err != nil {
				t.Errorf("a command while a backup is made: %v", err)
				return
			}
			l.acknowledged.Add(1)
			<-tick.C
		}
	})
	return l
}

// until waits until so many commands more were acknowledged.
func (l *load) until(t *testing.T, more int64) {
	t.Helper()
	want := l.acknowledged.Load() + more
	waitUntil(t, "people have earned", func() (bool, error) { return l.acknowledged.Load() >= want, nil })
}

// balancesIn reads the balances in a backup that are not zero.
func balancesIn(t *testing.T, file, identity string) map[ledger.Account]int64 {
	t.Helper()
	id, err := backup.ReadIdentity(identity)
	if err != nil {
		t.Fatal(err)
	}
	f, err := backup.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	_, state, err := f.Unseal(id)
	if err != nil {
		t.Fatal(err)
	}
	rows := machine.NewMem()
	err = f.Manifest.ReadState(state, func(key, value []byte) error {
		rows.Set(key, value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[ledger.Account]int64{}
	coin.ReadBooks(rows).Accounts(coin.Book, func(a ledger.Account) bool {
		if a.Posted != 0 {
			out[ledger.Account{ID: a.ID, Kind: a.Kind}] = a.Posted
		}
		return true
	})
	return out
}

func minted(balances map[ledger.Account]int64) int64 {
	for a, minutes := range balances {
		if a.Kind == coin.KindIssuance {
			return -minutes
		}
	}
	return 0
}

// foundThree makes a circle on three machines, with people, and returns who they are.
func foundThree(t *testing.T, identities ...string) (all []*oneOfThree, people []string) {
	t.Helper()
	one := newMachine(t, "one")
	one.made(t, "init", "--name", "Hebden", "--place", "P", "--aim", "A", "--founder", "Farida")
	one.sealTo(t, identities...)
	one.serve(t)
	one.do(t, "coin.policy", coin.SetPolicy{
		FloorMinutes: -300, EarnDayMinutes: dayMinutes, ReviewOn: "2099-09-30", Decision: "T-1",
	}, nil)
	for i, name := range []string{"Alice", "Ben", "Norah"} {
		var made member.Made
		one.do(t, "member.invite", member.Invite{
			Name: machine.Text("", name), Link: machine.Hash{byte(i + 1)},
			Until: time.Now().Add(time.Hour).UnixMilli(),
		}, &made)
		people = append(people, made.Person)
	}
	return []*oneOfThree{one, one.grow(t, "r2"), one.grow(t, "r3")}, people
}

// TestAllMachinesLost backs a circle of three up while it works, kills and deletes all three, restores it on
// one machine as of the backup's index, and has it grow back to three.
func TestAllMachinesLost(t *testing.T) {
	keys, backups := t.TempDir(), t.TempDir()
	own, escrow := filepath.Join(keys, "own"), filepath.Join(keys, "escrow")
	early, late := filepath.Join(backups, "a.ccbackup"), filepath.Join(backups, "b.ccbackup")
	old, people := foundThree(t, own, escrow)
	working := startLoad(t, old, people)
	working.until(t, 50)
	before := working.acknowledged.Load()
	call(t, "backup", "--data", old[0].dir, "--to", early)
	after := working.acknowledged.Load()
	working.until(t, 20)
	call(t, "backup", "--data", old[0].dir, "--to", late)
	working.until(t, 20)
	working.stop()
	working.done.Wait()
	for _, m := range old {
		m.node.kill()
		if err := os.RemoveAll(m.dir); err != nil {
			t.Fatal(err)
		}
	}

	want := balancesIn(t, early, escrow)
	if n := minted(want); n < before || n > after+1 {
		t.Errorf("the backup holds %d minutes; %d were acknowledged before it and %d after", n, before, after)
	}
	fresh := newMachine(t, "new")
	fresh.made(t, "restore", early, "--identity", escrow, "--why", "the cellar was flooded")
	if got := balancesOf(t, fresh.dir); !maps.Equal(got, want) {
		t.Errorf("the books are\n%v, the backup's\n%v", got, want)
	}
	_, errs, code := tryCall("restore", late, "--identity", own, "--data", filepath.Join(keys, "late"))
	if code != exitFailed || !strings.Contains(errs, "a timeline that the circle has left") ||
		!strings.Contains(errs, "Good backups: "+early) {
		t.Errorf("a backup of the timeline that was left: exit code %d\n%s", code, errs)
	}
	fresh.serve(t)
	all := []*oneOfThree{fresh, fresh.grow(t, "r4"), fresh.grow(t, "r5")}
	working = startLoad(t, all, people)
	working.until(t, 30)
	working.stop()
	working.done.Wait()
	sameEverywhere(t, all, minted(want)+working.acknowledged.Load())
}

// sameEverywhere wants the same book on every machine.
func sameEverywhere(t *testing.T, all []*oneOfThree, minutes int64) {
	t.Helper()
	var first string
	for i, m := range all {
		waitUntil(t, m.dir+" has it all", func() (bool, error) {
			var o coin.Overview
			err := m.operator.View(t.Context(), "coin.overview", nil, &o)
			book := call(t, "export", "--data", m.dir, "--format", "csv")
			if i == 0 {
				first = book
			}
			return o.PeopleSum == minutes && book == first, err
		})
	}
}
