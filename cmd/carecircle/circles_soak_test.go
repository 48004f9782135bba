package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node"
	"github.com/carecircle/carecircle/node/api"
)

const (
	soakCircles   = 5
	soakEach      = 3  // people who begin in each circle
	soakPayments  = 20 // of each person, a round
	soakRound     = 30 * time.Second
	nobodysCode   = "NOBODY22"
	settleAtMost  = 3 * time.Minute
	shortPayments = 6
)

// soul is somebody of the federation. One goroutine at a time acts for them.
type soul struct {
	name, code, id string
	home           *killable
	client         *api.Client
	minutes        int64 // as they must be once everything is settled
	sent           []*crossing
	links          int
	moving         bool
}

// crossing is a payment to another circle, and what its payer was told.
type crossing struct {
	id   string
	body exchange.Pay
	by   *api.Client
	from *killable
	to   *soul // nil: the code is nobody's
	told told
}

// commonwealth is a federation of circles and a hub, each a process in a network namespace of its own.
type commonwealth struct {
	t       *testing.T
	net     *network
	circles []*killable
	office  *killable
	souls   []*soul
	dice    *rand.Rand
	all     []*crossing            // of which the answers must stand
	losses  map[[2]*killable]int64 // minutes, of a circle by another

	kills, cuts, moves, cleared, settled, returned, repeats int
}

// TestCirclesSoak has people of five circles pay each other and move, while nodes are killed and cut off, the
// hub is out for a while, and one circle is put back to an old copy. Books sum to nought, accounts mirror
// each other, everyone has one home, each coin is where the answers say.
func TestCirclesSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	rounds, each, fire := 3, shortPayments, 4*time.Second
	if *soak {
		rounds, each, fire = max(3, *soakMinutes*2), soakPayments, soakRound
	}
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d rounds of %v, seed %d", rounds, fire, seed)
	c := newCommonwealth(t, seed)
	old := c.circles[1]
	var copied string
	began := time.Now()
	for r := range rounds {
		if r == rounds/3 {
			copied = old.copied(t)
		}
		c.round(fire, each, r == rounds/3)
		c.look()
		if t.Failed() {
			c.say()
			return
		}
		if r == 2*rounds/3 {
			c.putBack(old, copied)
			c.look()
		}
		t.Logf("%v: round %d: %v", time.Since(began).Round(time.Second), r+1, c)
	}
	c.askAgain()
	c.logs()
}

func (c *commonwealth) String() string {
	return fmt.Sprintf("%d kills, %d cuts, %d moves, %d rounds cleared; %d payments settled, %d returned,"+
		" %d answered late", c.kills, c.cuts, c.moves, c.cleared, c.settled, c.returned, c.repeats)
}

func newCommonwealth(t *testing.T, seed uint64) *commonwealth {
	t.Helper()
	c := &commonwealth{
		t: t, net: newNetwork(t, soakCircles+1), dice: rand.New(rand.NewPCG(seed, 1)),
		losses: map[[2]*killable]int64{},
	}
	for i, name := range []string{"Ashby", "Birch", "Cragg", "Dale", "Esk"} {
		x := newKillableIn(t, c.net, i, name)
		c.circles = append(c.circles, x)
		for n := range soakEach {
			code := fmt.Sprintf("%cPERSON%c", 'A'+i, 'A'+n)
			x.addPerson(t, code)
			p := x.people[n]
			c.souls = append(c.souls, &soul{
				name: "Person " + code, code: code, id: p.id, home: x, client: p.client, minutes: p.minutes,
			})
		}
	}
	c.office = newKillableIn(t, c.net, soakCircles, "Office")
	c.office.do(t, c.office.operator, "hub.open", hub.Open{}, nil)
	for _, x := range c.circles {
		c.office.meet(t, x)
		x.meet(t, c.office)
		x.do(t, x.operator, "exchange.hub", exchange.SetHub{Circle: c.office.id}, nil)
	}
	c.pairs(func(x, y *killable) {
		x.meet(t, y)
		x.ally(t, y)
	})
	c.takePart()
	c.settle()
	return c
}

func (c *commonwealth) pairs(do func(x, y *killable)) {
	for _, x := range c.circles {
		for _, y := range c.circles {
			if x != y {
				do(x, y)
			}
		}
	}
}

// round is a time under fire, in which people pay and one of them moves.
func (c *commonwealth) round(fire time.Duration, each int, hubOut bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), fire+settleAtMost)
	defer cancel()
	mover, to := c.whoMoves()
	if mover != nil {
		mover.moving = true
	}
	failed := make(chan error, len(c.souls)+1)
	var busy sync.WaitGroup
	for _, s := range c.souls {
		if s.sent = nil; s.moving {
			continue
		}
		plan := c.plan(s, each)
		busy.Go(func() { failed <- c.pay(ctx, plan, fire/time.Duration(each)) })
	}
	if mover != nil {
		busy.Go(func() { failed <- c.move(ctx, mover, to) })
	}
	if err := c.beginRound(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.torment(ctx, fire, hubOut)
	busy.Wait()
	close(failed)
	var err error
	for e := range failed {
		err = errors.Join(err, e)
	}
	if err != nil {
		c.say()
		c.t.Fatal(err)
	}
	if mover != nil {
		mover.moving = false
		c.moves++
	}
	c.settle()
}

// whoMoves draws somebody who owes nothing, and where to.
func (c *commonwealth) whoMoves() (*soul, *killable) {
	for range 20 {
		s := c.souls[c.dice.IntN(len(c.souls))]
		to := c.circles[c.dice.IntN(len(c.circles))]
		if s.minutes > 0 && to != s.home {
			return s, to
		}
	}
	return nil, nil
}

func (c *commonwealth) plan(s *soul, each int) []*crossing {
	c.t.Helper()
	for len(s.sent) < each {
		to := c.souls[c.dice.IntN(len(c.souls))]
		if to.moving || to.home == s.home {
			continue
		}
		id, err := api.NewID()
		if err != nil {
			c.t.Fatal(err)
		}
		x := &crossing{id: id.String(), by: s.client, from: s.home, to: to, body: exchange.Pay{
			Circle: to.home.id, Code: to.code, Minutes: 1 + c.dice.Int64N(5), Activity: "a lift",
			Note: machine.Text("", "for the lift"),
		}}
		switch c.dice.IntN(10) {
		case 0:
			x.to, x.body.Code = nil, nobodysCode
		case 1:
			x.body.Patience = 1000 // where it is not answered soon the hub decides
		}
		s.sent = append(s.sent, x)
	}
	return s.sent
}

// pay makes payments one after the other, spread over the time.
func (c *commonwealth) pay(ctx context.Context, all []*crossing, every time.Duration) (err error) {
	for _, x := range all {
		if x.told, err = untilAnswered(ctx, x.by, x.id, x.body); err != nil {
			return fmt.Errorf("payment %s from %s was not answered: %w", x.id, x.from.name, err)
		}
		pause(ctx, every*3/4)
	}
	return nil
}

// torment kills nodes and cuts them off for a while, and mends everything.
func (c *commonwealth) torment(ctx context.Context, fire time.Duration, hubOut bool) {
	c.t.Helper()
	if hubOut {
		c.office.kill()
	}
	for end := time.Now().Add(fire); time.Now().Before(end); {
		i, j := c.dice.IntN(soakCircles), c.dice.IntN(soakCircles+1)
		pause(ctx, time.Duration(c.dice.Int64N(int64(time.Second))))
		switch c.dice.IntN(4) {
		case 0, 1:
			c.circles[i].kill()
			pause(ctx, time.Duration(c.dice.Int64N(int64(time.Second))))
			c.circles[i].restart(c.t)
			c.kills++
			continue
		case 2:
			c.net.isolate(i)
		case 3:
			c.net.mute(i, j)
			c.net.lose(true)
		}
		c.cuts++
		pause(ctx, time.Second+time.Duration(c.dice.Int64N(int64(fire/6))))
		c.net.join()
		c.net.lose(false)
	}
	if hubOut {
		c.office.restart(c.t)
	}
	for _, x := range append(slices.Clone(c.circles), c.office) {
		x.node.waitReady(c.t)
	}
}

// settle waits until nothing is on the way and every circle has every letter.
func (c *commonwealth) settle() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), settleAtMost)
	defer cancel()
	for {
		open, err := c.unsettled(ctx)
		if err == nil && open == "" {
			return
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			c.say()
			c.t.Fatalf("not settled after %v: %s; %v", settleAtMost, open, err)
		}
	}
}

func (c *commonwealth) unsettled(ctx context.Context) (string, error) {
	stands := map[[2]string]exchange.Alliance{}
	for _, x := range c.circles {
		var all exchange.Alliances
		if err := x.operator.View(ctx, "exchange.alliances", nil, &all); err != nil {
			return "", err
		}
		for _, a := range all.Alliances {
			stands[[2]string{x.id, a.Circle}] = a
		}
	}
	var open string
	c.pairs(func(x, y *killable) {
		a, b := stands[[2]string{x.id, y.id}], stands[[2]string{y.id, x.id}]
		if a.State != "in-force" || a.Sent != b.Got || a.Waiting != 0 || a.HeldMinutes != 0 {
			open += fmt.Sprintf("%s to %s: %+v, there %d of ours\n", x.name, y.name, a, b.Got)
		}
	})
	rounds, err := c.openRounds(ctx)
	return open + rounds, err
}

// say gives what the nodes wrote, and how they are.
func (c *commonwealth) say() {
	for _, x := range append(slices.Clone(c.circles), c.office) {
		var how node.Status
		err := x.operator.Call(c.t.Context(), http.MethodGet, "/api/v1/status", nil, &how)
		c.t.Logf("%s said:\n%s\n%+v %v", x.name, x.node.said.String(), how.Links, err)
	}
}

// look holds both sides' words on the round's payments against each other, and everybody's coins against
// them.
func (c *commonwealth) look() {
	c.t.Helper()
	got := map[*soul]map[machine.ID]sideOf{}
	mine := map[*soul]map[machine.ID]sideOf{}
	for _, s := range c.souls {
		mine[s], got[s] = map[machine.ID]sideOf{}, map[machine.ID]sideOf{}
		s.home.payments(c.t, s.client, s.id, mine[s], got[s])
	}
	for _, s := range c.souls {
		for _, x := range s.sent {
			switch no := x.told.refusal; {
			case no == nil:
				c.judge(s, x, mine[s][x.told.paid.Payment], got)
			case no.Code != "not_heard": // which is for the moment, and not remembered
				c.t.Errorf("%s was refused payment %s: %v", s.name, x.id, no)
			}
		}
		c.all = append(c.all, s.sent...)
		s.sent = nil
	}
	c.balances()
}

func (c *commonwealth) judge(s *soul, x *crossing, paid sideOf, got map[*soul]map[machine.ID]sideOf) {
	c.t.Helper()
	tid := x.told.paid.Payment
	if x.told.answer.Repeated {
		c.repeats++
	}
	switch {
	case paid.state == "settled" && x.to != nil && paid.minutes == x.body.Minutes:
		if there := got[x.to][tid]; there.minutes != x.body.Minutes || there.state != "settled" {
			c.t.Errorf("%s paid %s %d minutes, %s; there it is %+v", s.name, x.to.name, x.body.Minutes, tid,
				there)
		}
		s.minutes -= x.body.Minutes
		x.to.minutes += x.body.Minutes
		c.settled++
	case paid.state == "returned" && (x.to == nil || x.body.Patience != 0):
		c.returned++
		there, ok := got[x.to][tid]
		if !ok {
			return
		}
		// They had answered when the hub decided, and what they gave stays given, at their circle's loss.
		if x.to == nil || there.minutes != x.body.Minutes {
			c.t.Errorf("%s has payment %s back, yet there it is %+v", s.name, tid, there)
			return
		}
		x.to.minutes += x.body.Minutes
		c.losses[[2]*killable{x.to.home, x.from}] += x.body.Minutes
	default:
		c.t.Errorf("%s made payment %s as %+v and was told %+v; now it is %+v", s.name, tid, x.body, x.told,
			paid)
	}
}

// balances wants books that sum to nought, accounts that mirror each other, and everybody in one place with
// the coins they must have.
func (c *commonwealth) balances() {
	c.t.Helper()
	accounts := map[[2]string]int64{}
	homes := map[string][]*killable{}
	for _, x := range c.circles {
		var books coin.Overview
		x.view(c.t, x.operator, "coin.overview", &books)
		var sum int64
		for _, a := range books.Accounts {
			sum += a.Minutes
			accounts[[2]string{x.id, a.Account}] = a.Minutes
		}
		if sum != 0 || books.SumMinutes != 0 {
			c.t.Errorf("the book of %s sums to %d, says %d", x.name, sum, books.SumMinutes)
		}
		var list member.People
		x.view(c.t, x.operator, "member.list", &list)
		for _, p := range list.People {
			homes[p.Name] = append(homes[p.Name], x)
		}
	}
	for _, s := range c.souls {
		if had := accounts[[2]string{s.home.id, s.id}]; had != s.minutes {
			c.t.Errorf("%s has %d minutes, want %d", s.name, had, s.minutes)
		}
		if at := homes[s.name]; len(at) != 1 || at[0] != s.home {
			c.t.Errorf("%s of %s lives in %d places", s.name, s.home.name, len(at))
		}
	}
	c.pairs(func(x, y *killable) {
		one, other := accounts[[2]string{x.id, coin.CirclePrefix + y.id}], accounts[[2]string{
			y.id, coin.CirclePrefix + x.id,
		}]
		if one != -other {
			c.t.Errorf("%s has %d minutes for %s, which has %d", x.name, one, y.name, other)
		}
		lost, want := accounts[[2]string{x.id, coin.LossPrefix + y.id}], c.losses[[2]*killable{x, y}]
		if lost != -want {
			c.t.Errorf("%s has lost %d minutes to %s, want %d", x.name, -lost, y.name, want)
		}
	})
}
