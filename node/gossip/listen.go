package gossip

import (
	"bytes"
	"log"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// teller gives memberlist this replica's card. Nothing else is told: no messages, no state.
type teller struct{ *Gossip }

var _ memberlist.Delegate = teller{}

func (t teller) NodeMeta(int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.meta
}
func (teller) NotifyMsg([]byte)                {}
func (teller) GetBroadcasts(int, int) [][]byte { return nil }
func (teller) LocalState(bool) []byte          { return nil }
func (teller) MergeRemoteState([]byte, bool)   {}

// listener hears of others. Memberlist holds its own lock meanwhile, so it must not be asked anything.
type listener struct{ *Gossip }

var _ memberlist.EventDelegate = listener{}

func (l listener) NotifyJoin(n *memberlist.Node)   { l.hear(n) }
func (l listener) NotifyUpdate(n *memberlist.Node) { l.hear(n) }

// NotifyLeave is told of deaths and goodbyes alike.
func (l listener) NotifyLeave(n *memberlist.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.living, n.Name)
	for _, k := range l.peers {
		if k.card.Name == n.Name && k.Alive {
			k.Alive, k.Since = false, time.Now()
			l.tell()
		}
	}
}

func (g *Gossip) hear(n *memberlist.Node) {
	heard := node{name: n.Name, addr: n.Address(), meta: slices.Clone(n.Meta)}
	g.mu.Lock()
	_, old := g.living[n.Name]
	full := !old && len(g.living) >= maxLiving
	if !full {
		g.living[n.Name] = heard
	}
	g.mu.Unlock()
	if !full {
		g.see(heard)
	}
}

// see takes in what a living node tells of itself.
func (g *Gossip) see(n node) {
	c, err := read(g.cfg.Circle, n.name, n.meta)
	switch {
	case err != nil:
		g.note(n.name+err.Error(), "gossip: a replica's card is not believed", "node", n.name, "error", err)
		return
	case c.ID == g.cfg.ID:
		return // this replica, or what others still remember of an earlier start
	case !g.cfg.Allowed(c.ID, c.Host):
		g.note(c.ID+string(c.Host), "gossip: a replica is not one of this circle's", "replica", c.ID)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.peers[c.ID]
	_, lives := g.living[n.name]
	switch {
	case !lives: // it has died while it was looked at
		return
	case k == nil && len(g.peers) >= maxPeers:
		return
	case k == nil:
		k = &known{Peer: Peer{ID: c.ID}}
		g.peers[c.ID] = k
	// An older card counts only from a start that lives when the newer one's does not: a clock was set back.
	case c.Seq < k.card.Seq && (k.Alive || c.Name == k.card.Name):
		return
	case c.Seq == k.card.Seq && k.Alive && k.gossip == n.addr:
		return
	}
	if !bytes.Equal(k.card.Host, c.Host) || !k.Alive {
		k.Since = time.Now()
	}
	k.card, k.gossip = c, n.addr
	k.Addrs, k.Alive = c.Addrs, true
	g.tell()
}

func (g *Gossip) tell() {
	select {
	case g.changed <- struct{}{}:
	default: // a change is waiting to be heard already
	}
}

// note logs once for each reason.
func (g *Gossip) note(reason, text string, args ...any) {
	g.mu.Lock()
	seen := g.noted[reason] || len(g.noted) >= maxNoted
	if !seen {
		g.noted[reason] = true
	}
	g.mu.Unlock()
	if !seen {
		g.cfg.Log.Warn(text, args...)
	}
}

// bridge hands memberlist's log lines on at the level that they begin with.
func bridge(to *slog.Logger) *log.Logger { return log.New(lines{to}, "", 0) }

type lines struct{ to *slog.Logger }

func (l lines) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	for mark, say := range map[string]func(string, ...any){
		"[ERR] ": l.to.Error, "[WARN] ": l.to.Warn, "[INFO] ": l.to.Info, "[DEBUG] ": l.to.Debug,
	} {
		if rest, ok := strings.CutPrefix(text, mark); ok {
			say("gossip: " + strings.TrimPrefix(rest, "memberlist: "))
			return len(b), nil
		}
	}
	l.to.Info("gossip: " + text)
	return len(b), nil
}
