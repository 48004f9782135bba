package node

import (
	"context"
	"slices"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/p2p"
)

const (
	relayEvery  = 5 * time.Second
	renewBefore = 20 * time.Minute // a place at a relay ends
)

// relays is the other end of what makes machines behind home routers reachable: a hub passes letters on, and
// every other machine keeps a place at its hub. Each does so for itself, whether it leads or not.
type relays struct {
	letters *letters
	changed func(ctx context.Context) error // to make a card with the addresses of now
	place   p2p.Reserved
	open    bool
}

func (r *relays) run(ctx context.Context) {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for {
		if err := r.work(ctx); err != nil && ctx.Err() == nil {
			r.letters.allowed.warn("no place at the hub's relay; others reach this machine only where they"+
				" can dial it", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *relays) work(ctx context.Context) error {
	var at letter.CircleID
	var named, here bool
	err := r.letters.circle.Read(func(rd machine.Reader) error {
		at, named = exchange.Hub(rd)
		here = hub.Opened(rd)
		return nil
	})
	switch {
	case err != nil:
		return err
	case here && !r.open:
		r.open = true
		return r.letters.host.Relay()
	case here || !named:
		return nil
	case r.letters.host.Holds(r.place) && time.Until(r.place.Until) > renewBefore:
		return nil
	}
	return r.reserve(ctx, (*r.letters.addrs.Load())[at])
}

// reserve takes a place at the first of the hub's machines that gives one.
func (r *relays) reserve(ctx context.Context, hosts [][]string) (err error) {
	for _, addrs := range hosts {
		addrs = slices.DeleteFunc(slices.Clone(addrs), p2p.Relayed)
		if len(addrs) == 0 {
			continue
		}
		var place p2p.Reserved
		if place, err = r.letters.host.Reserve(ctx, addrs); err != nil {
			continue
		}
		r.place = place
		before := r.letters.relayed.Swap(&place.Addrs)
		if before != nil && slices.Equal(*before, place.Addrs) {
			return nil
		}
		return r.changed(ctx)
	}
	return err
}

// remember takes, after a start, the places that an earlier card has: they are asked for again at once.
func (l *letters) remember(addrs []string) {
	relayed := slices.DeleteFunc(slices.Clone(addrs), func(a string) bool {
		return !p2p.Relayed(a) || p2p.PeerOf(a) != l.host.ID()
	})
	if len(relayed) > 0 {
		l.relayed.CompareAndSwap(nil, &relayed)
	}
}

// reachable is where other circles reach this machine: directly, and through a relay.
func (l *letters) reachable() []string {
	all := l.host.Addrs()
	if relayed := l.relayed.Load(); relayed != nil {
		all = append(all, *relayed...)
	}
	return all
}
