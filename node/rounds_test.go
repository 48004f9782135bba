package node_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
)

func (c *canary) rounds() netting.Rounds {
	c.t.Helper()
	out, err := c.n.View(c.t.Context(), machine.Caller{Actor: c.zoe}, "netting.rounds", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return out.(netting.Rounds)
}

func (c *canary) calls() []netting.Call {
	c.t.Helper()
	operator := machine.Caller{Actor: machine.ActorOperator}
	out, err := c.n.View(c.t.Context(), operator, "netting.calls", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return out.(netting.Calls).Calls
}

// loop is three circles that owe each other in a round loop, and their hub.
type loop struct {
	t       *testing.T
	circles [3]*canary
	hub     *canary
}

func newLoop(t *testing.T) *loop {
	l := &loop{t: t, hub: &canary{t: t, dir: nodeThatStays(t)}}
	l.hub.start()
	l.hub.zoe = l.hub.join("Hub")
	l.hub.must(machine.ActorOperator, "hub.open", hub.Open{})
	for i := range l.circles {
		c := &canary{t: t, dir: nodeThatStays(t)}
		c.start()
		c.zoe = c.join("Zoe")
		c.must(machine.ActorOperator, "coin.earn", coin.Earn{Person: c.zoe, Minutes: 60, Activity: "garden"})
		meet(t, l.hub, c)
		at := string(l.hub.n.Keys.CircleID())
		c.must(machine.ActorOperator, "exchange.hub", exchange.SetHub{Circle: at})
		c.must(c.zoe, "exchange.code", exchange.SetCode{Code: code(i)})
		l.circles[i] = c
	}
	for i, c := range l.circles {
		ally(t, c, l.after(i))
	}
	for i, minutes := range [3]int64{60, 45, 30} {
		c, to := l.circles[i], l.after(i)
		c.must(c.zoe, "exchange.pay", exchange.Pay{
			Circle: string(to.n.Keys.CircleID()), Code: code((i + 1) % 3), Minutes: minutes,
		})
	}
	l.owe("what each owes the next", 60, 45, 30)
	return l
}

func code(i int) string { return "ZQE2222" + string(rune('2'+i)) }

func (l *loop) after(i int) *canary { return l.circles[(i+1)%3] }

// owe waits until each circle owes the next so much, by the books of both.
func (l *loop) owe(what string, minutes ...int64) {
	l.t.Helper()
	until(l.t, what, func() bool {
		for i, c := range l.circles {
			next := l.after(i)
			one := c.minutes(coin.CirclePrefix + string(next.n.Keys.CircleID()))
			two := next.minutes(coin.CirclePrefix + string(c.n.Keys.CircleID()))
			if one != minutes[i] || two != -minutes[i] {
				return false
			}
		}
		return true
	})
}

func (l *loop) stage(what, stage string) {
	l.t.Helper()
	until(l.t, what, func() bool { return l.hub.calls()[0].Stage == stage })
}

// TestRounds sets off a round loop of three circles: one agrees always, the people of two decide. Nodes stop
// and start in between. A round that one of them declines moves nothing.
func TestRounds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long; it runs without the race detector")
	}
	l := newLoop(t)
	a, b, c := l.circles[0], l.circles[1], l.circles[2]
	a.must(machine.ActorOperator, "netting.consent", netting.Consent{When: netting.WhenAlways})
	again := func(c *canary) {
		c.stop()
		c.start()
	}
	begin := netting.Open{GatherSeconds: 20, AnswerSeconds: 3600}
	answer := func(c *canary, yes bool) {
		until(t, "asked", func() bool {
			r := c.rounds().Rounds
			return len(r) > 0 && r[0].Stage == "waiting"
		})
		c.must(machine.ActorOperator, "netting.answer", netting.Answer{
			Number: c.rounds().Rounds[0].Number, Yes: yes,
		})
	}
	l.hub.must(machine.ActorOperator, "netting.open", begin)
	answer(b, true)
	again(b)
	answer(c, false)
	l.stage("without c there is no loop", "nothing")
	if got := l.hub.calls(); len(got) != 2 || got[1].Stage != "dropped" || len(got[0].Left) != 1 {
		t.Errorf("%+v", got)
	}
	until(t, "b hears of it", func() bool { return b.rounds().Rounds[0].Stage == "dropped" })
	l.owe("nothing was set off", 60, 45, 30)

	l.hub.must(machine.ActorOperator, "netting.open", begin)
	answer(b, true)
	again(l.hub)
	again(b)
	answer(c, true)
	again(a)
	l.owe("half an hour was set off round the loop", 30, 15, 0)
	got := b.rounds().Rounds[0]
	if got.Stage != "cleared" || got.Before != 135 || got.After != 45 || len(got.Lines) != 2 {
		t.Errorf("%+v", got)
	}
	until(t, "all have heard", func() bool {
		return a.rounds().Rounds[0].Stage == "cleared" && c.rounds().Rounds[0].Stage == "cleared"
	})
	for _, c := range append(l.circles[:], l.hub) {
		c.stop()
	}
}
