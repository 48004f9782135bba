package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// trouble is one kind of fault, for a while.
type trouble int

const (
	leaderCutOff trouble = iota
	oneWay
	lossOfPackets
	leaderPaused
	troubles
)

func (f trouble) String() string {
	return [...]string{"leader cut off", "one-way partition", "packet loss", "leader paused"}[f]
}

// kill is one kill -9.
type kill struct {
	at      time.Duration
	led     bool // it was the leader
	settled bool // nothing else was wrong
}

// nemesis makes trouble, from a seed.
type nemesis struct {
	t       testing.TB
	circle  *chaosCircle
	heard   *history
	dice    *rand.Rand
	readers []*chaosClient // who ask a leader that is about to wake
	deck    []trouble
	kills   []kill
	cuts    [troubles]int
	unasked error // a replica that ended by itself
}

// Another leader must be found while the old one sleeps, and have answered something.
const (
	sleepsLonger = 2 * time.Second
	beforeWaking = 100 * time.Millisecond
	readersAtIt  = 12
)

// pace is how the time between two kills is spent.
type pace struct {
	cycle   time.Duration // from kill to kill
	faults  int           // others, in a cycle
	lasting time.Duration // of each, on average
}

var (
	shortPace = pace{cycle: 9 * time.Second, faults: 1, lasting: 3 * time.Second}
	longPace  = pace{cycle: 20 * time.Second, faults: 2, lasting: 4 * time.Second}
)

// deal draws the next fault: each kind comes as often as the others.
func (n *nemesis) deal() trouble {
	if len(n.deck) == 0 {
		for _, f := range n.dice.Perm(int(troubles)) {
			n.deck = append(n.deck, trouble(f))
		}
	}
	f := n.deck[0]
	n.deck = n.deck[1:]
	return f
}

// cycle kills a replica, brings it back, and has some other faults after that.
func (n *nemesis) cycle(ctx context.Context, p pace) {
	began := n.heard.now()
	until := func(part float64) {
		pause(ctx, began+time.Duration(part*float64(p.cycle))-n.heard.now())
	}
	victim := n.circle.replicas[n.dice.IntN(chaosReplicas)]
	leader := n.circle.leader(ctx)
	if len(n.kills) == 0 && leader >= 0 {
		victim = n.circle.replicas[leader] // that of a leader is what counts
	}
	n.noneDied()
	k := kill{at: n.heard.now(), led: victim.at == leader, settled: !n.circle.net.lossy}
	victim.kill()
	n.kills = append(n.kills, k)
	pause(ctx, 500*time.Millisecond+n.upTo(p.lasting))
	victim.start(n.t)
	for i := range p.faults {
		until(0.4 + 0.55*float64(i)/float64(p.faults))
		n.fault(ctx, n.deal(), p.lasting/2+n.upTo(p.lasting))
	}
	n.circle.net.lose(n.dice.IntN(4) == 0) // the next kill, too, may happen while packets are lost
	until(1)
	n.noneDied()
}

func (n *nemesis) upTo(d time.Duration) time.Duration { return time.Duration(n.dice.Int64N(int64(d))) }

// noneDied remembers if a replica ended that nobody killed.
func (n *nemesis) noneDied() {
	for _, r := range n.circle.replicas {
		if err := r.died(); err != nil && n.unasked == nil {
			n.unasked = err
		}
	}
}

// fault has one kind of fault for a while.
func (n *nemesis) fault(ctx context.Context, f trouble, d time.Duration) {
	net, leader := n.circle.net, n.circle.leader(ctx)
	if leader < 0 {
		leader = n.dice.IntN(chaosReplicas)
	}
	n.cuts[f]++
	switch f {
	case leaderCutOff:
		net.isolate(leader)
	case oneWay:
		other := (leader + 1 + n.dice.IntN(chaosReplicas-1)) % chaosReplicas
		switch n.dice.IntN(4) {
		case 0:
			net.hearsNobody(leader)
		case 1:
			net.heardByNobody(leader)
		case 2:
			net.mute(leader, other)
		case 3:
			net.mute(other, leader)
		}
	case lossOfPackets:
		net.lose(true)
	case leaderPaused:
		if err := n.circle.replicas[leader].pause(true); err != nil {
			n.t.Error(err)
		}
		pause(ctx, d+sleepsLonger)
		defer n.read(ctx, leader)()
		d = beforeWaking
	case troubles: // their number, and none
	}
	pause(ctx, d)
	if err := n.circle.replicas[leader].pause(false); err != nil {
		n.t.Error(err)
	}
	net.lose(false)
	net.join()
}

// read has a replica asked for the whole bank, by several at once. Such reads wait in the sockets of one that
// sleeps: when it wakes it still takes itself for the leader, and must not answer them from what it had. The
// function that is returned waits for them.
func (n *nemesis) read(ctx context.Context, at int) (wait func()) {
	var running sync.WaitGroup
	for _, x := range n.readers {
		d := &deed{client: x.number, kind: viewAll, call: n.heard.now()}
		n.heard.add(d)
		running.Go(func() {
			if x.try(ctx, at, d, tryLimit) == nil {
				d.back, d.answered = n.heard.now(), true
			}
		})
	}
	return running.Wait
}

func (n *nemesis) String() string {
	var all []string
	for f, count := range n.cuts {
		all = append(all, fmt.Sprintf("%s %d times", trouble(f), count))
	}
	return fmt.Sprintf("%d kills, %s", len(n.kills), strings.Join(all, ", "))
}
