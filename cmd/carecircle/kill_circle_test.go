package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
)

const dayMinutes = 24 * 60

// killable is a circle whose node is a process of its own that may be killed at any moment.
type killable struct {
	dir, name, base, id string
	operator            *api.Client
	front               []string // what starts its node, if not this process
	people              []killedPerson

	mu   sync.Mutex
	node *process
}

type killedPerson struct {
	id, code string
	client   *api.Client
	minutes  int64 // as they must be in the end
}

func newKillable(t *testing.T, name string) *killable {
	t.Helper()
	dir := t.TempDir() + "/" + strings.ToLower(name)
	c := &killable{dir: dir, name: name, base: initNode(t, dir, name)}
	c.begin(t)
	return c
}

// newKillableIn makes a circle whose node is in a network namespace.
func newKillableIn(t *testing.T, n *network, at int, name string) *killable {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	initNodeAt(t, dir, name, n.addr(at), "7001", "7101")
	c := &killable{dir: dir, name: name, base: "http://" + n.addr(at) + ":7001", front: n.front(at)}
	c.begin(t)
	return c
}

// begin starts the node for the first time.
func (c *killable) begin(t *testing.T) {
	t.Helper()
	token, err := node.OperatorToken(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	c.operator = api.NewClient(c.base, token)
	c.node = startServe(t, c.dir, c.front...)
	t.Cleanup(c.kill)
	c.node.waitReady(t)
	c.do(t, c.operator, "coin.policy", coin.SetPolicy{
		FloorMinutes: -300, EarnDayMinutes: dayMinutes, ReviewOn: "2099-09-30", Decision: "T-1",
	}, nil)
}

// kill kills the node, if it lives.
func (c *killable) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node.kill()
}

// restart starts the node again.
func (c *killable) restart(t *testing.T) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node = startServe(t, c.dir, c.front...)
	return c.node
}

// copied copies the circle's directory while its node is dead.
func (c *killable) copied(t *testing.T) string {
	t.Helper()
	c.kill()
	to := filepath.Join(t.TempDir(), "copy")
	copyTree(t, c.dir, to)
	c.restart(t).waitReady(t)
	return to
}

// putBack puts a copy in the place of the circle's directory.
func (c *killable) putBack(t *testing.T, from string) {
	t.Helper()
	c.kill()
	replaceTree(t, c.dir, from)
	c.restart(t).waitReady(t)
}

// do has a command done that nothing hinders.
func (c *killable) do(t *testing.T, as *api.Client, kind string, body, result any) {
	t.Helper()
	if _, err := as.Do(t.Context(), "", "", kind, body, result); err != nil {
		t.Fatalf("%s: %s: %v", c.name, kind, err)
	}
}

func (c *killable) view(t *testing.T, as *api.Client, name string, into any) {
	t.Helper()
	if err := as.View(t.Context(), name, nil, into); err != nil {
		t.Fatalf("%s: %s: %v", c.name, name, err)
	}
}

// addPerson invites a person, signs them in, and gives them coins and a receiving code.
func (c *killable) addPerson(t *testing.T, code string) {
	t.Helper()
	secret, hash, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	var made member.Made
	c.do(t, c.operator, "member.invite", member.Invite{
		Name: machine.Text("", "Person "+code), Link: hash, Until: time.Now().Add(time.Hour).UnixMilli(),
	}, &made)
	client, err := c.enter(t.Context(), secret, 1+len(c.people))
	if err != nil {
		t.Fatal(err)
	}
	p := killedPerson{id: made.Person, code: code, client: client, minutes: dayMinutes}
	c.do(t, p.client, "exchange.code", exchange.SetCode{Code: code}, nil)
	c.do(t, c.operator, "coin.earn", coin.Earn{Person: p.id, Minutes: dayMinutes, Activity: "garden"}, nil)
	c.people = append(c.people, p)
}

// enter signs somebody in by a link, from a device of that number.
func (c *killable) enter(ctx context.Context, secret string, device int) (*api.Client, error) {
	asked, err := json.Marshal(map[string]string{"link": secret})
	if err != nil {
		return nil, err
	}
	var entered auth.Entered
	from := api.NewClient(c.base, "").From(fmt.Sprintf("192.0.2.%d", device))
	if err := from.Call(ctx, http.MethodPost, "/api/v1/enter", asked, &entered); err != nil {
		return nil, err
	}
	return api.NewClient(c.base, entered.Token), nil
}

// meet makes the other circle known by the card its node shows.
func (c *killable) meet(t *testing.T, other *killable) {
	t.Helper()
	body, err := other.operator.Send(t.Context(), http.MethodGet, "/api/v1/card", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	sealed, err := charter.ParseText(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	var met exchange.Met
	c.do(t, c.operator, "exchange.meet", exchange.Meet{Card: sealed}, &met)
	other.id = met.Circle
}

// ally consents to an alliance whose limit nothing reaches.
func (c *killable) ally(t *testing.T, other *killable) {
	t.Helper()
	c.do(t, c.operator, "exchange.ally", exchange.Ally{
		Circle: other.id, LimitMinutes: exchange.MaxLimitMinutes, ReviewOn: "2099-09-30", Decision: "T-2",
	}, nil)
}

// alliance returns how the circle stands with the only other one.
func (c *killable) alliance(ctx context.Context) (exchange.Alliance, error) {
	var all exchange.Alliances
	if err := c.operator.View(ctx, "exchange.alliances", nil, &all); err != nil {
		return exchange.Alliance{}, err
	}
	if len(all.Alliances) != 1 {
		return exchange.Alliance{}, fmt.Errorf("%s knows %d circles, want 1", c.name, len(all.Alliances))
	}
	return all.Alliances[0], nil
}

// twoAllies makes two circles with people, allied.
func twoAllies(t *testing.T, peopleEach int) [2]*killable {
	t.Helper()
	both := [2]*killable{newKillable(t, "North"), newKillable(t, "South")}
	for i, c := range both {
		for n := range peopleEach {
			c.addPerson(t, fmt.Sprintf("%cPERSON%c", 'A'+i, 'A'+n))
		}
		c.meet(t, both[1-i])
	}
	both[0].ally(t, both[1])
	both[1].ally(t, both[0])
	for _, c := range both {
		waitUntil(t, "the alliance is in force at "+c.name, func() (bool, error) {
			a, err := c.alliance(t.Context())
			return a.State == "in-force", err
		})
	}
	return both
}

// told is what the test was told about one request.
type told struct {
	answer  api.Answer
	paid    exchange.Paid
	refusal *machine.Error
	tries   int
}

// untilAnswered sends the same request again and again until the node answers it.
func untilAnswered(ctx context.Context, as *api.Client, id string, body exchange.Pay) (out told, err error) {
	out.answer, out.tries, err = insist(ctx, as, id, "exchange.pay", body, &out.paid)
	if errors.As(err, &out.refusal) {
		err = nil
	}
	return out, err
}

// insist sends a command again and again until the node does or refuses it.
func insist(ctx context.Context, as *api.Client, id, kind string, body, into any) (api.Answer, int, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for tries := 1; ; tries++ {
		answer, err := as.Do(ctx, id, "", kind, body, into)
		var refusal *machine.Error
		if err == nil || errors.As(err, &refusal) && refusal.Code != "unavailable" &&
			refusal.Code != "too_many_requests" {
			return answer, tries, err
		}
		select {
		case <-ctx.Done():
			return answer, tries, errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}
