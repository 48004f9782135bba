package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/api"
)

const (
	clientsEach = 4                      // at each replica
	tryLimit    = 4 * time.Second        // the longest that one try is waited for
	askLimit    = 15 * time.Second       // the longest that a command is tried
	thinkTime   = 60 * time.Millisecond  // at most, between two requests of a client
	againAfter  = 100 * time.Millisecond // after a try that failed

	viewAll  = "coin.overview" // the whole bank at one moment
	viewMine = "coin.mine"
)

// deed is one request of a client, and what it was told. Times are since the history began.
type deed struct {
	client  int
	id      machine.ID
	kind    string // of a command, or the name of the view
	from    int    // who pays or gives; who reads their own
	to      int    // who is paid, given or has earned; toPool
	minutes int64

	call     time.Duration // when it was asked first
	tried    time.Duration // when the try began that was answered
	back     time.Duration // when it was answered
	answered bool          // if not, nothing or something may have come of it
	reply    reply
}

// toPool stands for the pool where a person could: behind the last.
const toPool = chaosPeople

func (d *deed) reads() bool { return d.kind == viewAll || d.kind == viewMine }

// reply is what came back.
type reply struct {
	refusal  string // its code
	position uint64
	balance  int64 // of a command: of whoever pays, or has earned; of viewMine: that
	entries  uint64
	all      bank // of viewAll
}

// bank is what everyone has, the pool last.
type bank [chaosPeople + 1]int64

// history is all that clients asked.
type history struct {
	began time.Time
	mu    sync.Mutex
	deeds []*deed
}

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) add(d *deed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deeds = append(h.deeds, d)
}

// chaosClient asks one thing after the other, mostly at one replica, at others when that does not answer.
type chaosClient struct {
	number int
	home   int
	circle *chaosCircle
	dice   *rand.Rand
	heard  *history
	people [chaosReplicas][chaosPeople]*api.Client
}

func newChaosClient(c *chaosCircle, h *history, number int, seed uint64) *chaosClient {
	x := &chaosClient{
		number: number, home: number % chaosReplicas, circle: c, heard: h,
		dice: rand.New(rand.NewPCG(seed, uint64(number)+100)),
	}
	for i, r := range c.replicas {
		for p, token := range c.tokens {
			x.people[i][p] = api.NewClient(r.base, token)
		}
	}
	return x
}

// run asks until stop is closed.
func (x *chaosClient) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		d, err := x.draw()
		if err != nil {
			return err
		}
		d.call = x.heard.now()
		x.heard.add(d)
		if err := x.ask(ctx, d); err != nil {
			return err
		}
		pause(ctx, time.Duration(x.dice.Int64N(int64(thinkTime))))
	}
}

// draw thinks of something to ask.
func (x *chaosClient) draw() (*deed, error) {
	id, err := api.NewID()
	if err != nil {
		return nil, err
	}
	d := &deed{client: x.number, id: id, from: x.dice.IntN(chaosPeople), minutes: 1 + x.dice.Int64N(120)}
	switch n := x.dice.IntN(100); {
	case n < 25:
		d.kind = viewAll
		return d, nil
	case n < 50:
		d.kind = viewMine
		return d, nil
	case n < 75:
		d.kind = "coin.pay"
	case n < 95:
		d.kind = "coin.give"
	default:
		d.kind, d.minutes = "coin.earn", 1+x.dice.Int64N(3)
	}
	d.to = (d.from + 1 + x.dice.IntN(chaosPeople-1)) % chaosPeople
	if d.kind == "coin.give" && x.dice.IntN(20) == 0 {
		d.to = toPool
	}
	return d, nil
}

// ask has a request answered, or gives up: some are tried once and not for long, most again and again under
// the same id. A read that failed is not asked again: the next one is as good.
func (x *chaosClient) ask(ctx context.Context, d *deed) error {
	once, limit := d.reads(), tryLimit
	if !once && x.dice.IntN(4) == 0 {
		once, limit = true, tryLimit>>x.dice.IntN(10)
	}
	for at := x.home; ; {
		d.tried = x.heard.now()
		err := x.try(ctx, at, d, limit)
		var refusal *machine.Error
		switch {
		case err == nil:
			d.back, d.answered = x.heard.now(), true
			return nil
		case errors.As(err, &refusal) && !passing(refusal.Code):
			d.back, d.answered, d.reply.refusal = x.heard.now(), true, refusal.Code
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case once, x.heard.now()-d.call > askLimit:
			return nil
		}
		pause(ctx, againAfter)
		if x.dice.IntN(2) == 0 {
			at = (at + 1) % chaosReplicas
		}
	}
}

// passing tells of a refusal that it is the node's state and not the circle's answer.
func passing(code string) bool {
	return code == "unavailable" || code == "stale" || code == "too_many_requests"
}

func (x *chaosClient) try(ctx context.Context, at int, d *deed, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if d.reads() {
		return x.read(ctx, at, d)
	}
	as, body := x.people[at][d.from], any(nil)
	switch d.kind {
	case "coin.pay":
		body = coin.Pay{To: x.circle.account(d.to), Minutes: d.minutes, Activity: "a lift"}
	case "coin.give":
		note := machine.Text("", "for the "+d.id.String())
		body = coin.Give{To: x.circle.account(d.to), Minutes: d.minutes, Note: note}
	default:
		as = x.circle.replicas[at].operator
		body = coin.Earn{Person: x.circle.account(d.to), Minutes: d.minutes, Activity: "garden"}
	}
	var got coin.Moved
	answer, err := as.Do(ctx, d.id.String(), "", d.kind, body, &got)
	if err == nil {
		d.reply = reply{position: answer.Position, balance: got.Balance, entries: got.Seq}
	}
	return err
}

func (x *chaosClient) read(ctx context.Context, at int, d *deed) error {
	if d.kind == viewMine {
		var got coin.Mine
		err := x.people[at][d.from].View(ctx, d.kind, nil, &got)
		d.reply = reply{balance: got.Balance}
		return err
	}
	var got coin.Overview
	err := x.circle.replicas[at].operator.View(ctx, d.kind, nil, &got)
	d.reply = x.circle.seen(got)
	return err
}

// account returns the account of a person or the pool.
func (c *chaosCircle) account(i int) string {
	if i == toPool {
		return coin.Pool
	}
	return c.people[i]
}

// seen turns an overview into numbers.
func (c *chaosCircle) seen(o coin.Overview) reply {
	out := reply{entries: o.Entries}
	for _, a := range o.Accounts {
		for i := range out.all {
			if a.Account == c.account(i) {
				out.all[i] = a.Minutes
			}
		}
	}
	return out
}

// fund lets everyone earn what they begin with.
func (c *chaosCircle) fund(t testing.TB, h *history) {
	t.Helper()
	x := newChaosClient(c, h, 0, 0)
	for i := range chaosPeople {
		id, err := api.NewID()
		if err != nil {
			t.Fatal(err)
		}
		d := &deed{id: id, kind: "coin.earn", to: i, minutes: chaosStart, call: h.now()}
		h.add(d)
		for !d.answered {
			if err := x.ask(t.Context(), d); err != nil || d.reply.refusal != "" {
				t.Fatalf("earn: %v, %+v", err, d.reply)
			}
		}
	}
}
