// Package gossip finds out which replicas of this circle are alive and at what addresses, with
// hashicorp/memberlist. Nothing that it says decides about data: who is a replica is settled elsewhere,
// and given to it as Config.Allowed.
//
// Every holder of the circle's key is fully trusted by memberlist, so each replica signs what it tells of
// itself with its host key, and what does not verify is not believed.
package gossip

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// The package's limits.
const (
	maxIDBytes   = 64
	maxAddrs     = 8
	maxPeers     = 64   // replicas remembered; a circle has five at most
	maxLiving    = 256  // nodes in reach, believed or not
	maxNoted     = 1024 // reasons for disbelief that are remembered, so that each is logged once
	packetBytes  = 1200 // fits in 1280, the least that IPv6 carries, with a tunnel's and our own overhead
	nameBytes    = 8
	keyLabel     = "carecircle gossip v1"
	keyBytes     = 32
	maxSeedTries = 16 // addresses tried in one round
)

const (
	streamTimeout  = 5 * time.Second
	leaveTimeout   = 2 * time.Second
	updateTimeout  = 5 * time.Second
	firstPause     = time.Second // between tries to join; doubled up to longestPause
	longestPause   = 30 * time.Second
	contentedPause = 10 * time.Second // between looks when all that are known are alive
	reclaimTime    = time.Second
)

// Config says who this replica is and where it listens.
type Config struct {
	ID     string             // of this replica: 1 to 64 bytes
	Host   ed25519.PrivateKey // of this machine
	Circle string             // the circle's id: two circles on one network must not merge
	Seed   []byte             // the circle's, 32 bytes; the key of all packets is derived from it

	Bind      netip.AddrPort // for UDP and TCP; port 0 picks one
	Advertise netip.AddrPort // where the others reach it; Bind if zero
	// Networks lets in packets from these only; all if empty, for the key keeps others out.
	Networks []netip.Prefix
	Addrs    []string // where this replica is reached for what matters; at most 8

	// Allowed says whether the replica of that id and host key is one of the circle's.
	Allowed func(id string, host ed25519.PublicKey) bool
	// Seeds gives gossip addresses, host:port, of other replicas. It is asked at each try to join.
	Seeds func() []string
	Log   *slog.Logger

	transport memberlist.Transport // in tests
}

func (cfg Config) check() error {
	switch {
	case cfg.ID == "" || len(cfg.ID) > maxIDBytes:
		return fmt.Errorf("replica id %q: give 1 to %d bytes", cfg.ID, maxIDBytes)
	case len(cfg.Host) != ed25519.PrivateKeySize:
		return errors.New("config: Host must be an Ed25519 private key")
	case cfg.Circle == "" || len(cfg.Circle) > memberlist.LabelMaxSize:
		return fmt.Errorf("config: Circle must have 1 to %d bytes", memberlist.LabelMaxSize)
	case len(cfg.Seed) != keyBytes:
		return fmt.Errorf("config: Seed must have %d bytes", keyBytes)
	case !cfg.Bind.IsValid():
		return errors.New("config: Bind must be an address and port")
	case !cfg.Advertise.IsValid() && cfg.Bind.Addr().IsUnspecified():
		return fmt.Errorf("config: Bind is %s: say in Advertise where others reach this replica", cfg.Bind)
	case cfg.Allowed == nil || cfg.Seeds == nil || cfg.Log == nil:
		return errors.New("config: Allowed, Seeds and Log must be given")
	}
	return nil
}

// Peer is another replica, as far as gossip knows.
type Peer struct {
	ID    string
	Addrs []string  // newest that it has told
	Alive bool      // as its neighbours see it
	Since time.Time // when Alive last changed
}

// known is a peer with what only this package needs.
type known struct {
	Peer
	card   card
	gossip string // where it was last heard of
}

// Gossip is this replica's part in it.
type Gossip struct {
	cfg     Config
	list    *memberlist.Memberlist
	changed chan struct{}

	cancel context.CancelFunc
	work   sync.WaitGroup

	updating sync.Mutex // one Update or Close at a time
	closed   bool

	mu     sync.Mutex
	mine   card
	meta   []byte          // mine, signed
	living map[string]node // in reach, this replica among them, by name in memberlist
	peers  map[string]*known
	noted  map[string]bool
}

// node is a copy of what memberlist says of one: its own may change while it is looked at.
type node struct {
	name, addr string
	meta       []byte
}

// Start begins to listen, and to look for others until some are found.
func Start(cfg Config) (*Gossip, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g := &Gossip{
		cfg: cfg, changed: make(chan struct{}, 1),
		living: map[string]node{}, peers: map[string]*known{}, noted: map[string]bool{},
	}
	if err := g.sign(newName(), cfg.Addrs); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	settings, err := g.settings()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if g.list, err = memberlist.Create(settings); err != nil {
		return nil, fmt.Errorf("gossip: listen at %s: %w", cfg.Bind, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.work.Go(func() { g.keepJoined(ctx) })
	return g, nil
}

// settings starts from the library's for a local network: a failure shows within about seven seconds.
func (g *Gossip) settings() (*memberlist.Config, error) {
	key, err := hkdf.Key(sha256.New, g.cfg.Seed, nil, keyLabel, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	advertise := g.cfg.Advertise
	if !advertise.IsValid() {
		advertise = g.cfg.Bind
	}
	s := memberlist.DefaultLANConfig()
	s.Name = g.mine.Name
	s.Transport = g.cfg.transport
	s.Label = g.cfg.Circle
	s.SecretKey = key
	s.GossipVerifyIncoming, s.GossipVerifyOutgoing = true, true
	s.BindAddr, s.BindPort = g.cfg.Bind.Addr().String(), int(g.cfg.Bind.Port())
	s.AdvertiseAddr, s.AdvertisePort = advertise.Addr().String(), int(advertise.Port())
	s.CIDRsAllowed = networks(g.cfg.Networks)
	s.UDPBufferSize = packetBytes
	s.EnableCompression = false // a few hundred bytes gain nothing, and decompressing strangers' bytes costs
	s.TCPTimeout = streamTimeout
	s.Delegate, s.Events = teller{g}, listener{g}
	s.Logger = bridge(g.cfg.Log)
	return s, nil
}

func networks(prefixes []netip.Prefix) []net.IPNet {
	var nets []net.IPNet
	for _, p := range prefixes {
		nets = append(nets, net.IPNet{
			IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		})
	}
	return nets
}

// Addr is where the others reach this replica's gossip.
func (g *Gossip) Addr() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.living[g.mine.Name].addr
}

// Peers lists the other replicas that have been heard of and are allowed, by id.
func (g *Gossip) Peers() []Peer {
	var all []Peer
	for _, k := range g.snapshot() {
		if g.cfg.Allowed(k.ID, k.card.Host) {
			all = append(all, k.Peer)
		}
	}
	slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Addrs gives the newest addresses that a replica has told, also after its death; none if it is not
// allowed or has never been heard of.
func (g *Gossip) Addrs(id string) []string {
	for _, p := range g.Peers() {
		if p.ID == id {
			return p.Addrs
		}
	}
	return nil
}

// snapshot copies what is known, so that Allowed can be asked without the lock.
func (g *Gossip) snapshot() []known {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]known, 0, len(g.peers))
	for _, k := range g.peers {
		one := *k
		one.Addrs = slices.Clone(k.Addrs)
		all = append(all, one)
	}
	return all
}

// Changed receives after something in Peers has changed; several changes may come as one.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// Update tells the others that this replica is reached at other addresses now.
func (g *Gossip) Update(addrs []string) error {
	g.updating.Lock()
	defer g.updating.Unlock()
	if g.closed {
		return errors.New("gossip: update: closed")
	}
	if err := g.sign(g.mine.Name, addrs); err != nil {
		return fmt.Errorf("gossip: update: %w", err)
	}
	if err := g.list.UpdateNode(updateTimeout); err != nil {
		return fmt.Errorf("gossip: update: the others may learn of it later: %w", err)
	}
	return nil
}

// Recheck looks at all replicas in reach again: who could not be believed before may be allowed now.
func (g *Gossip) Recheck() {
	g.mu.Lock()
	nodes := slices.Collect(maps.Values(g.living))
	g.mu.Unlock()
	for _, n := range nodes {
		g.see(n)
	}
}

// Close says goodbye, waiting a short while for it to go out, and stops. It may be called twice.
func (g *Gossip) Close() error {
	g.updating.Lock()
	defer g.updating.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.cancel()
	g.work.Wait()
	if err := g.list.Leave(leaveTimeout); err != nil {
		// The others will notice by themselves.
		g.cfg.Log.Info("gossip: nobody heard this replica say goodbye", "error", err)
	}
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("gossip: close: %w", err)
	}
	return nil
}
