package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/federation/p2p"
	"github.com/carecircle/carecircle/node/gossip"
	"github.com/carecircle/carecircle/node/peers"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/vault"
)

const (
	companyEvery = 250 * time.Millisecond // how often the list of replicas is looked at
	caughtUp     = 64                     // log entries behind the leader at which a newcomer counts
	farewell     = 5 * time.Second        // how long a removed replica is heard, so that it hears of it too
	companyFile  = "replicas.json"        // where the others were last reached, for a damaged replica
)

// company is the circle's replicas as this one sees and calls them.
type company struct {
	id     string
	node   *Node
	log    *slog.Logger
	mesh   *peers.Mesh
	host   *p2p.Host      // carries the streams; nil: TCP does
	gossip *gossip.Gossip // nil: there is none
	asks   atomic.Bool    // somebody is invited and may ask to join

	leaving   sync.Map  // when this replica learned that another was removed, by id
	recheckAt time.Time // for run alone: when their farewell is over; zero: nobody leaves
	known     atomic.Pointer[[]replicas.Replica]
	heard     atomic.Pointer[[]Standing] // where each stood when it was last asked
}

// openCompany begins to listen for the other replicas; what they ask is answered once serve is called.
func (n *Node) openCompany() error {
	if n.Config.Replica == nil || n.company != nil {
		return nil
	}
	c := *n.Config.Replica
	m := &company{id: c.ID, node: n, log: n.options.Log}
	all, err := n.firstCompany()
	if err != nil {
		return err
	}
	m.known.Store(&all)
	m.heard.Store(&[]Standing{})
	ca, err := peers.CircleCA(n.Keys.Circle.Seed())
	if err != nil {
		return fmt.Errorf("replicas: %w", err)
	}
	n.company = m
	n.sealer.others = m
	listener, dial, err := m.listen(c)
	if err != nil {
		return err
	}
	m.mesh, err = peers.Start(peers.Config{
		ID: c.ID, Host: n.Keys.Host, CA: ca, Allowed: m.allowed, Resolve: m.resolve,
		Listeners: []net.Listener{listener}, Dial: dial, Log: n.options.Log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("replicas: %w", err), listener.Close())
	}
	return m.openGossip(c)
}

func (m *company) openGossip(c ReplicaConfig) error {
	if c.Gossip == "" {
		return nil
	}
	at, err := c.reached(m.node.Keys.HostPublic())
	if err != nil {
		return err
	}
	keys := m.node.Keys
	bind, advertise := netip.MustParseAddrPort(c.Gossip), netip.MustParseAddrPort(c.reachedGossip())
	m.gossip, err = gossip.Start(gossip.Config{
		ID: c.ID, Host: keys.Host, Circle: string(keys.CircleID()), Seed: keys.Circle.Seed(),
		Bind: bind, Advertise: advertise, Addrs: []string{at}, Allowed: m.allowed, Seeds: m.seeds,
		Log: m.log,
	})
	if err != nil {
		return fmt.Errorf("replicas: listen for gossip on %s: %w", c.Gossip, err)
	}
	return nil
}

func (m *company) close() error {
	if m == nil {
		return nil
	}
	var errs []error
	if m.gossip != nil {
		errs = append(errs, m.gossip.Close())
	}
	if m.mesh != nil {
		errs = append(errs, m.mesh.Close())
	}
	if m.host != nil {
		errs = append(errs, m.host.Close())
	}
	return errors.Join(errs...)
}

// allowed says who may speak with this replica. Before the circle's list has reached a newcomer, whoever has
// the circle's certificate may.
func (m *company) allowed(id string, host ed25519.PublicKey) bool {
	all := *m.known.Load()
	return len(all) == 0 || slices.ContainsFunc(all, func(p replicas.Replica) bool {
		return p.ID == id && m.heeds(p) && host.Equal(ed25519.PublicKey(p.Host))
	})
}

// heeds says whether a replica may speak with this one: it may, and for a moment yet after its removal. A
// leader that fell silent at once would leave it waiting for ever.
func (m *company) heeds(p replicas.Replica) bool {
	if p.Status != replicas.Removed {
		return true
	}
	since, leaves := m.leaving.Load(p.ID)
	return leaves && time.Since(since.(time.Time)) < farewell
}

// recheck cuts off who may not speak with this replica any more.
func (m *company) recheck() {
	m.mesh.Recheck()
	if m.gossip != nil {
		m.gossip.Recheck()
	}
}

// part notes who was removed since the list was last looked at.
func (m *company) part(all []replicas.Replica) {
	for _, was := range m.others() {
		for _, p := range all {
			if p.ID == was.ID && p.Status == replicas.Removed {
				m.leaving.Store(p.ID, time.Now())
				m.recheckAt = time.Now().Add(farewell)
			}
		}
	}
}

func (m *company) resolve(id string) []string {
	var addrs []string
	if m.gossip != nil {
		addrs = m.gossip.Addrs(id)
	}
	for _, p := range *m.known.Load() {
		if p.ID == id {
			addrs = append(addrs, p.Addrs...)
		}
	}
	return addrs
}

func (m *company) seeds() []string {
	var seeds []string
	for _, p := range m.others() {
		if p.Gossip != "" {
			seeds = append(seeds, p.Gossip)
		}
	}
	return seeds
}

// others lists the replicas there are, without this one.
func (m *company) others() []replicas.Replica {
	var all []replicas.Replica
	for _, p := range *m.known.Load() {
		if p.ID != m.id && p.Status != replicas.Removed {
			all = append(all, p)
		}
	}
	return all
}

// joinIn lets the replica speak with the others.
func (m *company) joinIn(c *replica.Config) {
	if m == nil {
		return
	}
	listener, dial := m.mesh.Raft()
	c.ID, c.Several, c.Transport = m.id, true, replica.NewTransport(listener, dial, m.log)
	c.AskIndex, c.AskTerm, c.Forward = m.askIndex, m.askTerm, m.forward
}

// run follows the circle's list of replicas until ctx ends.
func (m *company) run(ctx context.Context) {
	tick := time.NewTicker(companyEvery)
	defer tick.Stop()
	for {
		if err := m.look(); err != nil {
			return // the replica has stopped; so will this node
		}
		if m.node.leads() {
			if err := m.carryOut(ctx); err != nil && ctx.Err() == nil {
				m.log.Warn("the replicas are not yet as the circle decided; trying again", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look takes in a changed list.
func (m *company) look() error {
	var all []replicas.Replica
	err := m.node.Read(func(r machine.Reader) error {
		all = replicas.All(r)
		m.asks.Store(replicas.Inviting(r, time.Now().UnixMilli()))
		return nil
	})
	if !m.recheckAt.IsZero() && time.Now().After(m.recheckAt) {
		m.recheckAt = time.Time{}
		m.recheck()
	}
	if err != nil || len(all) == 0 || reflect.DeepEqual(all, *m.known.Load()) {
		return err
	}
	m.part(all)
	m.known.Store(&all)
	m.recheck()
	for _, p := range all {
		if p.ID == m.id && p.Status == replicas.Removed {
			err := fmt.Errorf("this replica, %q, was removed from its circle by an operator: it may be"+
				" deleted, or join as a new one in an empty directory", m.id)
			m.node.fatal(err)
			return err
		}
	}
	m.node.keepCompany(all)
	return m.node.makeCard()
}

// carryOut makes one change that brings raft's servers closer to the circle's list.
func (m *company) carryOut(ctx context.Context) error {
	servers := map[string]replica.Server{}
	for _, s := range m.node.replica.Servers() {
		servers[s.ID] = s
	}
	for _, p := range *m.known.Load() {
		s, is := servers[p.ID]
		switch {
		case is && (p.Status == replicas.Removed || s.Life != p.Life):
			return m.node.replica.RemoveServer(ctx, p.ID)
		case is && p.Status == replicas.Voting && !s.Voter:
			return m.node.replica.SetServer(ctx, replica.Server{ID: p.ID, Life: p.Life, Voter: true})
		case !is && p.Status != replicas.Removed:
			return m.node.replica.SetServer(ctx, replica.Server{ID: p.ID, Life: p.Life})
		case is && p.Status == replicas.Joining && m.hasCaughtUp(ctx, p.ID):
			return m.node.doAsNode(ctx, "replicas.promote", replicas.Named{ID: p.ID})
		}
	}
	return nil
}

func (m *company) hasCaughtUp(ctx context.Context, id string) bool {
	s, err := m.standing(ctx, id)
	return err == nil && s.Applied > 0 && s.Applied+caughtUp >= m.node.replica.Status().Applied
}

// register writes down where this replica is reached, if that is not yet known or was long ago.
func (n *Node) register(ctx context.Context) error {
	me := replicas.Register{ID: replicas.First, Host: n.Keys.HostPublic()}
	if c := n.Config.Replica; c != nil {
		at, err := c.reached(n.Keys.HostPublic())
		if err != nil {
			return err
		}
		me.ID, me.Addrs, me.Gossip = c.ID, []string{at}, c.reachedGossip()
	}
	var known replicas.Replica
	err := n.Read(func(r machine.Reader) error {
		known, _ = replicas.Find(r, me.ID)
		return nil
	})
	if err != nil {
		return err
	}
	if n.Config.Replica != nil {
		n.letters.remember(known.Letters)
		me.Letters = n.letters.reachable()
	}
	half := n.started.Add(-hostTerm / 2).UnixMilli()
	same := slices.Equal(known.Addrs, me.Addrs) && known.Gossip == me.Gossip &&
		slices.Equal(known.Letters, me.Letters)
	if same && known.ID == me.ID && known.Said > half || n.low() { // the next start will do it
		return nil
	}
	return n.doAsNode(ctx, "replicas.register", me)
}

// firstCompany is who may speak with this replica until it has looked at the circle's list: as the state on
// disk has it, or as it was when that could be read last.
func (n *Node) firstCompany() ([]replicas.Replica, error) {
	if n.state == nil {
		return n.lastCompany(), nil
	}
	note, err := n.toOpen(n.state)
	if err != nil {
		return nil, err
	}
	if note != nil {
		// The books of a backup name machines that are lost. Should one come back, it must not get in with
		// what happened after the backup.
		return []replicas.Replica{{
			ID: replicas.First, Host: n.Keys.HostPublic(), Status: replicas.Voting,
		}}, nil
	}
	all, last := replicas.All(n.state), n.lastCompany()
	if len(all) == 0 {
		return last, nil
	}
	if !reflect.DeepEqual(all, last) { // it was changed, or this is the first start since
		n.keepCompany(all)
	}
	return all, nil
}

// notReady adds to why a start failed what the others say.
func (m *company) notReady(ctx context.Context, err error) error {
	if m == nil || err == nil || len(m.others()) == 0 {
		return err
	}
	ctx = context.WithoutCancel(ctx) // whose time is up
	for _, p := range m.others() {
		if _, asked := m.standing(ctx, p.ID); asked != nil {
			err = errors.Join(err, fmt.Errorf("replica %s: %w", p.ID, asked))
		}
	}
	return errors.Join(err, errors.New("more than half of the circle's replicas must run and reach each"+
		" other. If the circle's books were put back from a backup since this one ran, it is of the timeline"+
		" that was left: keep its directory aside and let the machine join as a new replica"))
}

// keepCompany remembers where the other replicas are, for a start at which the circle's list cannot be read.
func (n *Node) keepCompany(all []replicas.Replica) {
	raw, err := json.Marshal(all)
	if err == nil {
		err = vault.WriteFile(filepath.Join(n.Dir, companyFile), raw, 0o644)
	}
	if err != nil { // the next change tries again; a start reads the circle's own list first
		n.options.Log.Warn("the other replicas' addresses could not be remembered", "err", err)
	}
}

// lastCompany is what keepCompany remembered; nothing where that cannot be read.
func (n *Node) lastCompany() []replicas.Replica {
	var all []replicas.Replica
	raw, err := os.ReadFile(filepath.Join(n.Dir, companyFile))
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.options.Log.Warn("the other replicas' addresses cannot be read", "err", err)
		return nil
	}
	return all
}
