package gossip

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// keepJoined looks for the others: those that Seeds names and those that were known and have been lost.
// Memberlist by itself never calls a node again that has been dead for half a minute.
func (g *Gossip) keepJoined(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		g.Recheck()
		missing := g.missing()
		for _, addr := range missing {
			if ctx.Err() != nil {
				return
			}
			// Each by itself, so that one that hangs cannot spend the time of all.
			if _, err := g.list.Join([]string{addr}); err != nil {
				g.cfg.Log.Debug("gossip: no answer", "addr", addr, "error", err)
			}
		}
		wait := contentedPause
		if len(g.missing()) > 0 {
			wait, pause = pause, min(2*pause, longestPause)
		} else {
			pause = firstPause
		}
		// A third more or less: replicas that lost each other at one moment must not all call at one.
		select {
		case <-time.After(wait*2/3 + rand.N(wait*2/3)):
		case <-ctx.Done():
		}
	}
}

// missing lists gossip addresses where somebody should be and nobody is known to live.
func (g *Gossip) missing() []string {
	wanted := slices.Clone(g.cfg.Seeds())
	for _, k := range g.snapshot() {
		if !k.Alive && g.cfg.Allowed(k.ID, k.card.Host) {
			wanted = append(wanted, k.gossip)
		}
	}
	var living []string
	g.mu.Lock()
	for _, n := range g.living { // this replica is among them
		living = append(living, n.addr)
	}
	g.mu.Unlock()
	slices.Sort(wanted)
	wanted = slices.DeleteFunc(slices.Compact(wanted), func(addr string) bool {
		return slices.Contains(living, addr)
	})
	return wanted[:min(len(wanted), maxSeedTries)]
}
