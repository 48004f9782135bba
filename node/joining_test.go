package node_test

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node"
)

func viewOf[A any](t *testing.T, n *node.Node, name string) A {
	t.Helper()
	out, err := n.View(t.Context(), machine.Caller{Actor: machine.ActorOperator}, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.(A)
}

func federationOf(t *testing.T, n *node.Node) joining.Federation {
	t.Helper()
	return viewOf[joining.Federation](t, n, "joining.federation")
}

// hubNode is a node that is a federation's hub.
func hubNode(t *testing.T) *canary {
	t.Helper()
	h := &canary{t: t, dir: nodeThatStays(t)}
	h.start()
	h.must(machine.ActorOperator, "hub.open", hub.Open{})
	return h
}

// invitation has the hub invite a circle.
func (c *canary) invitation(secret byte) charter.Invitation {
	c.t.Helper()
	card, err := charter.ParseText(c.n.CardText())
	if err != nil {
		c.t.Fatal(err)
	}
	i := charter.Invitation{Card: card, Secret: make([]byte, charter.SecretBytes)}
	i.Secret[0] = secret
	c.must(machine.ActorOperator, "joining.invite", joining.Invite{
		Secret: sha256.Sum256(i.Secret), For: "Todmorden", Days: 14,
	})
	return i
}

func (c *canary) joins(i charter.Invitation) {
	c.t.Helper()
	c.must(machine.ActorOperator, "joining.join", joining.Join{Card: i.Card, Secret: i.Secret})
}

// behindRouter changes the config of a node so that it listens nowhere for other circles.
func behindRouter(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	cfg["letters"] = []string{}
	if raw, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestJoining has two circles that nobody can dial join a federation. They find each other by its charter,
// make an alliance and pay, all through the hub's relay; a used invitation is worth nothing, and a circle
// that is closed is heard no more.
func TestJoining(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long; it runs without the race detector")
	}
	h := hubNode(t)
	circles := [2]*canary{}
	for i := range circles {
		c := &canary{t: t, dir: nodeThatStays(t)}
		behindRouter(t, c.dir)
		c.start()
		c.zoe = c.join("Zoe")
		c.joins(h.invitation(byte(i)))
		until(t, "it is taken in", func() bool { return federationOf(t, c.n).State == "in" })
		circles[i] = c
	}
	a, b := circles[0], circles[1]
	late := &canary{t: t, dir: nodeThatStays(t)}
	late.start()
	late.joins(charter.Invitation{Card: h.invitation(9).Card, Secret: make([]byte, charter.SecretBytes)})
	until(t, "a used invitation is refused", func() bool {
		f := federationOf(t, late.n)
		return f.State == "refused" && f.Why != ""
	})
	until(t, "the circles know each other", func() bool {
		return len(federationOf(t, a.n).Circles) == 3 && len(federationOf(t, b.n).Circles) == 3 &&
			len(viewOf[exchange.Alliances](t, a.n, "exchange.alliances").Alliances) == 2
	})
	ally(t, a, b)
	b.must(b.zoe, "exchange.code", exchange.SetCode{Code: "ZQE22222"})
	a.must(machine.ActorOperator, "coin.earn", coin.Earn{Person: a.zoe, Minutes: 60, Activity: "garden"})
	bID := string(b.n.Keys.CircleID())
	a.must(a.zoe, "exchange.pay", exchange.Pay{Circle: bID, Code: "ZQE22222", Minutes: 30})
	until(t, "the coins are there", func() bool { return b.minutes(b.zoe) == 30 && a.minutes(a.zoe) == 30 })

	h.must(machine.ActorOperator, "joining.set", joining.Set{Circle: bID, Status: "closed"})
	until(t, "a hears that b has left", func() bool {
		for _, c := range federationOf(t, a.n).Circles {
			if c.Circle == bID {
				return c.Status == "closed"
			}
		}
		return false
	})
	a.must(a.zoe, "exchange.pay", exchange.Pay{Circle: bID, Code: "ZQE22222", Minutes: 10})
	before := b.minutes(b.zoe)
	h.must(machine.ActorOperator, "joining.set", joining.Set{Circle: bID, Status: "giving"})
	until(t, "b is back, and the coins come", func() bool { return b.minutes(b.zoe) == before+10 })
	for _, c := range []*canary{a, b, late, h} {
		c.stop()
	}
}

// TestExchangeWithCompany has a circle on three machines pay one on a single machine and be paid by it, also
// when one of the three has stopped, whichever.
func TestExchangeWithCompany(t *testing.T) {
	c := newCompany(t, 3)
	a := &canary{t: t, dir: nodeThatStays(t)}
	a.start()
	a.zoe = a.join("Zoe")
	a.must(machine.ActorOperator, "coin.earn", coin.Earn{Person: a.zoe, Minutes: 600, Activity: "garden"})
	a.must(a.zoe, "exchange.code", exchange.SetCode{Code: "ZQE22222"})
	b := c.canaryAt(1, nil)
	b.zoe = b.join("Zoe")
	b.must(machine.ActorOperator, "coin.earn", coin.Earn{Person: b.zoe, Minutes: 600, Activity: "garden"})
	b.must(b.zoe, "exchange.code", exchange.SetCode{Code: "ZQE22223"})
	ally(t, b, a)
	until(t, "the alliance is in force", func() bool {
		return viewOf[exchange.Alliances](t, a.n, "exchange.alliances").Alliances[0].State == "in-force"
	})
	aID, bID := string(a.n.Keys.CircleID()), string(b.n.Keys.CircleID())
	paid := int64(0)
	pay := func(i int, what string) {
		t.Helper()
		at := c.canaryAt(i, b)
		a.must(a.zoe, "exchange.pay", exchange.Pay{Circle: bID, Code: "ZQE22223", Minutes: 3})
		at.must(at.zoe, "exchange.pay", exchange.Pay{Circle: aID, Code: "ZQE22222", Minutes: 1})
		paid += 2
		until(t, what, func() bool { return a.minutes(a.zoe) == 600-paid && at.minutes(at.zoe) == 600+paid })
	}
	pay(0, "all three are up")
	for i := range c.nodes {
		c.stop(i)
		pay((i+1)%3, "one has stopped")
		c.start(i)
	}
	operator := machine.Caller{Actor: machine.ActorOperator}
	got, err := a.n.Compare(t.Context(), operator, bID)
	if err != nil || !got.Agree || got.Same != 8 || got.Owes != 3*4-4 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := a.n.Compare(t.Context(), operator, "cnobody"); err == nil {
		t.Error("the books of nobody are compared")
	}
	if _, err := a.n.Compare(t.Context(), machine.Caller{Actor: a.zoe}, bID); err == nil {
		t.Error("anybody may compare the books")
	}
	a.stop()
}
