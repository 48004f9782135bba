package node_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/node"
)

func (c *canary) moveOf(person string) moving.Mine {
	c.t.Helper()
	out, err := c.n.View(c.t.Context(), machine.Caller{Actor: person}, "moving.mine", nil)
	if err != nil {
		return moving.Mine{Stage: "gone"}
	}
	return out.(moving.Mine)
}

func (c *canary) arrivals() []moving.Arrival {
	c.t.Helper()
	out, err := c.n.View(c.t.Context(), machine.Caller{Actor: machine.ActorOperator}, "moving.arrivals", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return out.(moving.Arrivals).Arrivals
}

func (c *canary) minutes(account string) (posted int64) {
	c.t.Helper()
	err := c.n.Read(func(r machine.Reader) error {
		a, _ := coin.ReadBooks(r).Account(coin.Book, account)
		posted = a.Posted
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return posted
}

// nodeThatStays is found at the same address after every start.
func nodeThatStays(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config()
	cfg.Letters = []string{fmt.Sprint("/ip4/127.0.0.1/tcp/", l.Addr().(*net.TCPAddr).Port)}
	dir := t.TempDir()
	if err := node.Init(dir, cfg); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMove moves Zoe between two nodes, each stopped and started again at every step.
func TestMove(t *testing.T) {
	a := &canary{t: t, dir: nodeThatStays(t)}
	b := &canary{t: t, dir: nodeThatStays(t)}
	a.start()
	b.start()
	again := func(c *canary) {
		c.stop()
		c.start()
	}
	a.zoe, b.zoe = a.join("Zoe"), b.join("Irene")
	a.must(machine.ActorOperator, "coin.earn", coin.Earn{Person: a.zoe, Minutes: 120, Activity: "garden"})
	ally(t, a, b)
	a.must(a.zoe, "moving.ask", moving.Ask{
		Circle: string(b.n.Keys.CircleID()), Name: machine.Text("", phrase), Words: machine.Text("", phrase),
	})
	again(a)
	until(t, "she is asked for", func() bool { return len(b.arrivals()) == 1 })
	again(b)
	waiting := b.arrivals()[0]
	if waiting.Name != phrase || waiting.Words != phrase {
		t.Errorf("%+v", waiting)
	}
	b.must(machine.ActorOperator, "moving.decide", moving.Decide{
		Circle: waiting.Circle, ID: waiting.ID, Yes: true, Name: machine.Text("", phrase), Code: "ZQE22222",
	})
	again(b)
	until(t, "she is accepted", func() bool { return a.moveOf(a.zoe).Stage == "accepted" })
	again(a)
	if origin := a.moveOf(a.zoe).Origin; origin == "" {
		t.Error("nobody knows where she will find her pages")
	}
	a.must(a.zoe, "moving.go", moving.Go{Link: hash("her link there")})
	again(a)
	there := b.arrivals()[0].Person
	until(t, "her coins are there, and she may enter", func() bool {
		return b.minutes(there) == 120 && b.arrivals()[0].Stage == "here"
	})
	again(b)
	b.must(machine.ActorNode, "member.enter", member.Enter{
		Link: hash("her link there"), Session: hash("her session there"),
		Until: time.Now().Add(time.Hour).UnixMilli(),
	})
	if left := a.minutes(a.zoe); left != 0 || a.moveOf(a.zoe).Stage != "gone" {
		t.Errorf("%d minutes stayed, she is %+v", left, a.moveOf(a.zoe))
	}
	a.stop()
	b.stop()
}
