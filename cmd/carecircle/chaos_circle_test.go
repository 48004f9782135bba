package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
)

const (
	chaosPeople   = 6
	chaosFloor    = -300
	chaosDayLimit = 24 * 60
	chaosStart    = 600 // minutes that everyone begins with
)

// chaosReplica is one replica: a process of its own in a network namespace of its own.
type chaosReplica struct {
	at       int
	dir      string
	base     string
	operator *api.Client
	front    []string

	mu     sync.Mutex
	node   *process // nil while it is killed
	paused bool
}

// chaosCircle is a circle of three replicas.
type chaosCircle struct {
	t        testing.TB
	net      *network
	replicas [chaosReplicas]*chaosReplica
	people   []string
	tokens   []string // of the people's sessions
}

func newChaosCircle(t testing.TB) *chaosCircle {
	t.Helper()
	c := &chaosCircle{t: t, net: newNetwork(t, chaosReplicas)}
	home := t.TempDir()
	for i := range chaosReplicas {
		at := c.net.addr(i)
		r := &chaosReplica{
			at: i, dir: filepath.Join(home, fmt.Sprint("r", i+1)), base: "http://" + at + ":7001",
			front: c.net.front(i),
		}
		c.replicas[i] = r
		where := []string{
			"--data", r.dir, "--listen", at + ":7201", "--gossip", at + ":7202", "--http", at + ":7001",
			"--letters", "/ip4/" + at + "/tcp/7101",
		}
		if i == 0 {
			call(t, append([]string{
				"init", "--name", "Hebden Bridge", "--place", "Hebden Bridge", "--aim", "To last",
				"--founder", "Farida",
			}, where...)...)
		} else {
			invitation := call(t, "replica", "invite", "--data", c.replicas[0].dir)
			call(t, append([]string{"join", strings.TrimSpace(invitation)}, where...)...)
		}
		token, err := node.OperatorToken(r.dir)
		if err != nil {
			t.Fatal(err)
		}
		r.operator = api.NewClient(r.base, token)
		r.start(t).waitReady(t)
		t.Cleanup(r.kill)
		c.counts(i + 1)
	}
	c.policy()
	for i := range chaosPeople {
		c.addPerson(i)
	}
	return c
}

// counts waits until so many replicas vote.
func (c *chaosCircle) counts(want int) {
	c.t.Helper()
	waitUntil(c.t, fmt.Sprint(want, " replicas vote"), func() (bool, error) {
		var all []node.Standing
		err := c.replicas[0].operator.Call(c.t.Context(), http.MethodGet, "/api/v1/replicas", nil, &all)
		voting := 0
		for _, s := range all {
			if s.Alive && s.Status == replicas.Voting.String() {
				voting++
			}
		}
		return voting == want, err
	})
}

func (c *chaosCircle) policy() {
	c.t.Helper()
	_, err := c.replicas[0].operator.Do(c.t.Context(), "", "", "coin.policy", coin.SetPolicy{
		FloorMinutes: chaosFloor, EarnDayMinutes: chaosDayLimit, ReviewOn: "2099-09-30", Decision: "T-1",
	}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
}

// addPerson invites a person and signs them in.
func (c *chaosCircle) addPerson(i int) {
	c.t.Helper()
	secret, hash, err := auth.NewSecret()
	if err != nil {
		c.t.Fatal(err)
	}
	first := c.replicas[0]
	var made member.Made
	_, err = first.operator.Do(c.t.Context(), "", "", "member.invite", member.Invite{
		Name: machine.Text("", fmt.Sprint("Person ", i)), Link: hash,
		Until: time.Now().Add(time.Hour).UnixMilli(),
	}, &made)
	if err != nil {
		c.t.Fatal(err)
	}
	link, err := json.Marshal(map[string]string{"link": secret})
	if err != nil {
		c.t.Fatal(err)
	}
	var entered auth.Entered
	err = api.NewClient(first.base, "").Call(c.t.Context(), http.MethodPost, "/api/v1/enter", link, &entered)
	if err != nil {
		c.t.Fatal(err)
	}
	c.people, c.tokens = append(c.people, made.Person), append(c.tokens, entered.Token)
}

// start starts the replica's process.
func (r *chaosReplica) start(t testing.TB) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := spawn(self, r.dir, r.front...)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node, r.paused = p, false
	return p
}

// kill kills the process, if there is one. Afterwards nobody can say that it ended by itself.
func (r *chaosReplica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.node != nil {
		r.node.kill()
	}
	r.node = nil
}

// pause stops the process where it is, as a machine that sleeps does; it goes on with pause(false).
func (r *chaosReplica) pause(stop bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.node == nil || r.paused == stop {
		return nil
	}
	signal := syscall.SIGCONT
	if stop {
		signal = syscall.SIGSTOP
	}
	r.paused = stop
	return r.node.cmd.Process.Signal(signal)
}

// alive returns the process, nil while it is killed.
func (r *chaosReplica) alive() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.node
}

// died says what the process wrote if it ended by itself.
func (r *chaosReplica) died() error {
	p := r.alive()
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("replica %d ended by itself:\n%s", r.at+1, p.said.String())
	default:
		return nil
	}
}

// status asks the replica where it stands. It does not wait for long.
func (r *chaosReplica) status(ctx context.Context) (node.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	var s node.Status
	err := r.operator.Call(ctx, http.MethodGet, "/api/v1/status", nil, &s)
	return s, err
}

// leader returns the replica that leads, as far as can be told; -1: none.
func (c *chaosCircle) leader(ctx context.Context) int {
	leads, term := -1, uint64(0)
	for i, r := range c.replicas {
		if r.alive() == nil {
			continue
		}
		s, err := r.status(ctx)
		if err == nil && s.Replica.State == "Leader" && s.Replica.Term > term {
			leads, term = i, s.Replica.Term
		}
	}
	return leads
}

// settle heals everything and waits until all replicas have the same log, and nothing more comes.
func (c *chaosCircle) settle() {
	c.t.Helper()
	c.net.lose(false)
	c.net.join()
	for _, r := range c.replicas {
		if err := r.pause(false); err != nil {
			c.t.Fatal(err)
		}
		if r.alive() == nil {
			r.start(c.t)
		}
	}
	for _, r := range c.replicas {
		r.alive().waitReady(c.t)
	}
	var last uint64
	since := time.Now()
	waitUntil(c.t, "all replicas have the same log", func() (bool, error) {
		var all [chaosReplicas]node.ReplicaStatus
		for i, r := range c.replicas {
			s, err := r.status(c.t.Context())
			if err != nil {
				return false, err
			}
			all[i] = s.Replica
		}
		same := all[0].Leader != ""
		for _, s := range all {
			same = same && s.Applied == all[0].Applied && s.Commit == s.Applied && s.Leader == all[0].Leader
		}
		if !same || last != all[0].Applied {
			last, since = all[0].Applied, time.Now()
		}
		return same && time.Since(since) > time.Second, fmt.Errorf("they stand at %+v", all)
	})
}

// exported returns the circle's log, which every replica must export with the same bytes.
func (c *chaosCircle) exported() []byte {
	c.t.Helper()
	var first []byte
	for i, r := range c.replicas {
		body, err := r.operator.Patient().Send(c.t.Context(), http.MethodGet, "/api/v1/export/log", nil)
		if err != nil {
			c.t.Fatal(err)
		}
		raw, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			c.t.Fatal(err)
		}
		if i == 0 {
			first = raw
		} else if !bytes.Equal(first, raw) {
			c.t.Errorf("replicas 1 and %d export different logs, of %d and %d bytes", i+1, len(first),
				len(raw))
		}
	}
	return first
}

// overview reads the books at one replica.
func (c *chaosCircle) overview(i int) coin.Overview {
	c.t.Helper()
	var books coin.Overview
	if err := c.replicas[i].operator.View(c.t.Context(), "coin.overview", nil, &books); err != nil {
		c.t.Fatal(err)
	}
	return books
}
