package p2p

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// A host behind a home router cannot be dialled. It keeps a connection to a relay that can, and others reach
// it through that (libp2p's circuit relay v2). What passes is encrypted between the two ends: the relay knows
// who speaks with whom, and not what.

const (
	circuit = "/p2p-circuit"

	reservationTerm = time.Hour
	maxReservations = maxConns
	circuitsPerPeer = 64
	circuitBuffer   = 16 << 10
	maxRelayAddrs   = 8 // of one relay
	relayTag        = "carecircle relay"
)

// Relay has this host pass on what allowed peers say to each other, until it closes; once for a host. Unlike
// relays for anybody it sets no limit on how long and how much: its resource limits are the host's.
func (h *Host) Relay() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.relay != nil {
		return nil
	}
	r, err := relay.New(h.net, relay.WithACL(relayFor{h.cfg.Allow}), relay.WithResources(relay.Resources{
		ReservationTTL: reservationTerm, MaxReservations: maxReservations, MaxCircuits: circuitsPerPeer,
		BufferSize: circuitBuffer, MaxReservationsPerIP: maxConnsPerIP,
		MaxReservationsPerASN: maxReservations,
	}))
	if err != nil {
		return fmt.Errorf("p2p: relay: %w", err)
	}
	h.relay = r
	return nil
}

// relayFor says who may use the relay: both ends are allowed peers.
type relayFor struct{ allow func(peer string) bool }

func (r relayFor) AllowReserve(p peer.ID, _ ma.Multiaddr) bool { return r.allow(p.String()) }

func (r relayFor) AllowConnect(from peer.ID, _ ma.Multiaddr, to peer.ID) bool {
	return r.allow(from.String()) && r.allow(to.String())
}

// Reserved is a place at a relay.
type Reserved struct {
	Relay string    // its peer id
	Addrs []string  // where this host is reached through it, each ending in /p2p/<id>
	Until time.Time // it ends earlier when the connection to the relay does, see Holds

	conns []string // to the relay, as it was taken
}

// Reserve asks the peer that all addrs name for a place as a relay, or for more time there. It keeps the
// connection to it. Errors are as of Ask.
func (h *Host) Reserve(ctx context.Context, addrs []string) (Reserved, error) {
	to, ctx, done, err := h.outward(ctx, "reserve at", addrs)
	if err != nil {
		return Reserved{}, err
	}
	defer done()
	h.forgetBackoff(to.ID)
	if err := h.net.Connect(ctx, to); err != nil {
		return Reserved{}, fmt.Errorf("p2p: reserve at %s: connect: %w", to.ID, typed(ctx, err))
	}
	h.net.ConnManager().Protect(to.ID, relayTag)
	got, err := client.Reserve(ctx, h.net, peer.AddrInfo{ID: to.ID})
	if err != nil {
		return Reserved{}, fmt.Errorf("p2p: reserve at %s: %w", to.ID, typed(ctx, err))
	}
	out := Reserved{Relay: to.ID.String(), Until: got.Expiration, conns: h.connsTo(to.ID)}
	for _, a := range addrs[:min(len(addrs), maxRelayAddrs)] {
		out.Addrs = append(out.Addrs, a+circuit+"/p2p/"+h.ID())
	}
	return out, nil
}

// Holds tells whether a place is still held: a connection of when it was taken is still there. A relay that
// was started anew may be connected with again, and knows nothing of the place.
func (h *Host) Holds(place Reserved) bool {
	p, err := peer.Decode(place.Relay)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(h.connsTo(p), func(id string) bool { return slices.Contains(place.conns, id) })
}

func (h *Host) connsTo(p peer.ID) []string {
	var ids []string
	for _, c := range h.net.Network().ConnsToPeer(p) {
		ids = append(ids, c.ID())
	}
	return ids
}

// Relayed tells whether an address leads through a relay.
func Relayed(addr string) bool { return strings.Contains(addr, circuit) }

// PeerOf is the peer id that an address ends in; empty where there is none.
func PeerOf(addr string) string {
	i := strings.LastIndex(addr, "/p2p/")
	if i < 0 {
		return ""
	}
	return addr[i+len("/p2p/"):]
}

// ByPeer groups addresses by the peer they lead to, in the order in which peers first come.
func ByPeer(addrs []string) [][]string {
	var ids []string
	var out [][]string
	for _, a := range addrs {
		id := PeerOf(a)
		i := slices.Index(ids, id)
		if i < 0 {
			i = len(ids)
			ids, out = append(ids, id), append(out, nil)
		}
		if len(out[i]) < maxAddrs {
			out[i] = append(out[i], a)
		}
	}
	return out
}
