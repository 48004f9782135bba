package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/federation/p2p"
	"github.com/carecircle/carecircle/node/peers"
)

// What carries the streams between a circle's replicas; the same for all of them.
const (
	overTCP    = "tcp"
	overLibp2p = "libp2p"
)

// ReplicaConfig is how this node keeps the circle's books together with others.
type ReplicaConfig struct {
	ID string `json:"id"` // this replica's: "one", or what it was called when it joined
	// Transport is what carries the streams between replicas: tcp, also if empty, or libp2p.
	Transport string `json:"transport,omitempty"`
	// Listen is where the others reach this one: an IP address and port such as 10.0.0.1:7201, or for libp2p
	// a multiaddr such as /ip4/10.0.0.1/udp/7201/quic-v1.
	Listen string `json:"listen"`
	// Gossip is the same for their gossip, TCP and UDP, such as 10.0.0.1:7202. With libp2p there may be none:
	// then only addresses in the circle's list are known.
	Gossip string `json:"gossip,omitempty"`
	// Advertise and AdvertiseGossip are where others reach the two, if that is elsewhere.
	Advertise       string `json:"advertise,omitempty"`
	AdvertiseGossip string `json:"advertiseGossip,omitempty"`
	Joined          bool   `json:"joined,omitempty"` // its books began with the others' copy
}

// Check says what is missing or wrong.
func (c ReplicaConfig) Check() error {
	if c.ID == "" {
		return errors.New(`config: fill in "id" of "replica"`)
	}
	if c.Transport != "" && c.Transport != overTCP && c.Transport != overLibp2p {
		return fmt.Errorf("config: replica transport %q: choose tcp or libp2p", c.Transport)
	}
	libp2p := c.Transport == overLibp2p
	for _, a := range []struct {
		name, value  string
		must, stream bool
	}{
		{"listen", c.Listen, true, true},
		{"gossip", c.Gossip, !libp2p, false},
		{"advertise", c.Advertise, false, true},
		{"advertiseGossip", c.AdvertiseGossip, false, false},
	} {
		if a.value == "" && !a.must {
			continue
		}
		if a.stream && libp2p {
			if !strings.HasPrefix(a.value, "/") {
				return fmt.Errorf("config: replica %s %q is not a multiaddr, such as"+
					" /ip4/10.0.0.1/udp/7201/quic-v1", a.name, a.value)
			}
			continue
		}
		if _, err := netip.ParseAddrPort(a.value); err != nil {
			return fmt.Errorf("config: replica %s %q is not an IP address with a port, such as 10.0.0.1:7201",
				a.name, a.value)
		}
	}
	return nil
}

// reached returns where the others reach the machine that has this key.
func (c ReplicaConfig) reached(host ed25519.PublicKey) (string, error) {
	at := orElse(c.Advertise, c.Listen)
	if c.Transport != overLibp2p {
		return at, nil
	}
	id, err := p2p.PeerID(host)
	return at + "/p2p/" + id, err
}

func (c ReplicaConfig) reachedGossip() string { return orElse(c.AdvertiseGossip, c.Gossip) }

func orElse(value, other string) string {
	if value != "" {
		return value
	}
	return other
}

// listen begins to take the other replicas' streams, and returns how to open them; nil: over TCP.
func (m *company) listen(c ReplicaConfig) (net.Listener, peers.DialFunc, error) {
	if c.Transport != overLibp2p {
		listener, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return nil, nil, fmt.Errorf("listen for the other replicas on %s: %w", c.Listen, err)
		}
		return listener, nil, nil
	}
	host, err := replicaHost(m.node.Keys.Host, []string{c.Listen}, m.admits, m.log)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the other replicas: %w", err)
	}
	m.host = host
	listener, err := host.Listen()
	return listener, host.Dial, err
}

// admits says whose machine may open streams here. What they may do on them, the mesh decides: while
// somebody is invited, whose machine is not known yet, that is to ask to join.
func (m *company) admits(peer string) bool {
	all := *m.known.Load()
	return len(all) == 0 || m.asks.Load() || slices.ContainsFunc(all, func(p replicas.Replica) bool {
		id, err := p2p.PeerID(p.Host)
		return err == nil && m.heeds(p) && id == peer
	})
}

// replicaHost is a libp2p host for the streams of replicas alone; letters have their own.
func replicaHost(
	key ed25519.PrivateKey, listen []string, allow func(peer string) bool, log *slog.Logger,
) (*p2p.Host, error) {
	return p2p.New(p2p.Config{
		Key: key, Listen: listen, Allow: allow, Log: log,
		Handle: func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New("letters do not come here")
		},
	})
}

// dialJoin returns how a machine that is no replica yet reaches one at such an address, and a function that
// ends it.
func (c ReplicaConfig) dialJoin(key ed25519.PrivateKey) (peers.DialFunc, func() error, error) {
	if c.Transport != overLibp2p {
		return nil, func() error { return nil }, nil
	}
	host, err := replicaHost(key, nil, func(string) bool { return true }, nil)
	if err != nil {
		return nil, nil, err
	}
	return host.Dial, host.Close, nil
}

// fits wants the addresses of an invitation to be of this config's transport.
func (c ReplicaConfig) fits(addrs []string) error {
	for _, a := range addrs {
		theirs := overTCP
		if strings.HasPrefix(a, "/") {
			theirs = overLibp2p
		}
		if theirs != orElse(c.Transport, overTCP) {
			return fmt.Errorf("this circle's replicas speak with each other over %s:"+
				" join with --transport %s", theirs, theirs)
		}
	}
	return nil
}
