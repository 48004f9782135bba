// Package p2p carries opaque messages between the machines of circles: a host asks another host a
// question and gets one answer back, over libp2p. To the replicas of one circle it gives whole streams.
// It knows nothing of what passes, and it speaks only to peers that its owner allows.
package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// The typed errors of Ask. Test for them with errors.Is.
var (
	// ErrUnreachable: the peer could not be dialled, did not answer in time, or went away. Try again
	// later.
	ErrUnreachable = errors.New("peer unreachable")
	// ErrTooLarge: the request or the reply is larger than one side's MaxMessageBytes. Send less at once.
	ErrTooLarge = errors.New("message too large")
	// ErrRefused: this host or the peer turned the request down: not allowed, too busy, or its handler
	// failed.
	ErrRefused = errors.New("request refused")
)

// letters is the protocol between circles that know each other: a stream carries requests and their replies,
// in turn.
const letters protocol.ID = "/carecircle/letters/1"

// agent is what identify tells allowed peers about this software: no version, so it gives nothing away.
const agent = "carecircle"

// Config says who a host is, where it listens, whom it speaks to and how it answers.
type Config struct {
	Key ed25519.PrivateKey // host key of this replica, from NewKey; not the circle's key
	// Listen holds multiaddrs such as /ip4/127.0.0.1/tcp/0 or /ip4/127.0.0.1/udp/0/quic-v1. Empty: only
	// dials out.
	Listen []string
	// Allow says whether a peer id may speak with this host. It is asked before every dial, after every
	// handshake and at every request; it must be quick and safe for concurrent use.
	Allow func(peer string) bool
	// Handle answers one request of an allowed peer. ctx ends when the asker has given up or the host
	// closes. An error resets the stream and is logged once. It must be safe for concurrent use.
	Handle func(ctx context.Context, from string, request []byte) ([]byte, error)
	// Knock answers one request of a peer that is not allowed, of at most 64 KiB, as Handle does; nil: nobody
	// may knock. Knocking says whether such peers may come now: few at a time, and for a short time.
	Knock    func(ctx context.Context, from string, request []byte) ([]byte, error)
	Knocking func() bool

	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics

	MaxMessageBytes int           // of one request or reply; 0: 1 MiB, at most 16 MiB
	Timeout         time.Duration // of one request, from dial to reply; 0: 10 s
	// MaxStreamsPerPeer is how many requests may be under way to one peer, more wait; 0: 16, at most 64. The
	// peer resets what exceeds twice its own figure, so set it alike everywhere.
	MaxStreamsPerPeer int
}

// Host is one replica's end of the federation's network. Its methods are safe for concurrent use.
type Host struct {
	cfg   Config
	log   *slog.Logger
	net   host.Host
	slots slots
	idle  idle

	ctx    context.Context // ends when the host closes
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listening bool           // for streams
	relay     *relay.Relay   // see Relay
	work      sync.WaitGroup // asks and answers under way
}

// New starts a host and listens on every address of cfg.Listen, or fails and leaves nothing running.
func New(cfg Config) (*Host, error) { return newHost(cfg) }

// newHost is New with extra libp2p options, so that tests can put a simulated network underneath.
func newHost(cfg Config, extra ...libp2p.Option) (*Host, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	listen, err := parseListen(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Host{cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel}
	h.slots.perPeer = cfg.MaxStreamsPerPeer
	if h.net, err = newLibp2p(cfg, extra); err != nil {
		cancel()
		return nil, fmt.Errorf("p2p: start: %w", err)
	}
	h.net.Network().Notify(&network.NotifyBundle{ConnectedF: h.checkConnected})
	h.net.SetStreamHandler(letters, func(s network.Stream) {
		h.serve(s, service{allow: cfg.Allow, handle: cfg.Handle, most: cfg.MaxMessageBytes})
	})
	if cfg.Knock != nil {
		h.net.SetStreamHandler(knocks, func(s network.Stream) {
			h.serve(s, service{
				allow:  func(id string) bool { return cfg.Allow(id) || cfg.Knocking() },
				handle: cfg.Knock, most: maxKnockBytes,
			})
		})
	}
	// One address at a time: libp2p's own start-up is content when a single one of several works.
	for _, addr := range listen {
		if err := h.net.Network().Listen(addr); err != nil {
			return nil, errors.Join(
				fmt.Errorf("p2p: listen on %s (is the port free?): %w", addr, err), h.Close())
		}
	}
	return h, nil
}

// complete checks what must be given and fills in what may be left out.
func (cfg Config) complete() (Config, error) {
	switch {
	case len(cfg.Key) != ed25519.PrivateKeySize:
		return cfg, fmt.Errorf("config Key has %d bytes: make one of %d with NewKey", len(cfg.Key),
			ed25519.PrivateKeySize)
	case !ed25519.NewKeyFromSeed(cfg.Key.Seed()).Equal(cfg.Key):
		return cfg, errors.New("config Key is damaged, its halves differ: restore it or make one with NewKey")
	case cfg.Allow == nil:
		return cfg, errors.New("config Allow is missing: say which peers may connect")
	case cfg.Handle == nil:
		return cfg, errors.New("config Handle is missing: say how to answer a request")
	case (cfg.Knock == nil) != (cfg.Knocking == nil):
		return cfg, errors.New("config Knock and Knocking come together: say when others may knock, and" +
			" how to answer")
	case cfg.MaxMessageBytes < 0 || cfg.MaxMessageBytes > highestMessageBytes:
		return cfg, fmt.Errorf("config MaxMessageBytes is %d: choose 1 to %d, or 0 for %d",
			cfg.MaxMessageBytes, highestMessageBytes, defaultMessageBytes)
	case cfg.MaxStreamsPerPeer < 0 || cfg.MaxStreamsPerPeer > highestStreamsPerPeer:
		return cfg, fmt.Errorf("config MaxStreamsPerPeer is %d: choose 1 to %d, or 0 for %d",
			cfg.MaxStreamsPerPeer, highestStreamsPerPeer, defaultStreamsPerPeer)
	case cfg.Timeout < 0:
		return cfg, fmt.Errorf("config Timeout is %s: choose a positive time, or 0 for %s", cfg.Timeout,
			defaultTimeout)
	}
	cfg.Key = slices.Clone(cfg.Key)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxMessageBytes == 0 {
		cfg.MaxMessageBytes = defaultMessageBytes
	}
	if cfg.MaxStreamsPerPeer == 0 {
		cfg.MaxStreamsPerPeer = defaultStreamsPerPeer
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return cfg, nil
}

// ID is this host's peer id, the same as PeerID of its public key.
func (h *Host) ID() string { return h.net.ID().String() }

// Addrs lists, sorted, the addresses this host listens on, each ending in /p2p/<id>. A wildcard such as
// 0.0.0.0 is spelled out as one address per network interface. After Close it is empty.
func (h *Host) Addrs() []string {
	addrs, err := h.net.Network().InterfaceListenAddresses()
	if err != nil {
		// The interfaces could not be read: the addresses as they were configured are still true.
		addrs = h.net.Network().ListenAddresses()
	}
	full := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		if text := addr.String(); !strings.HasPrefix(text, circuit) {
			full = append(full, text+"/p2p/"+h.ID())
		}
	}
	slices.Sort(full)
	return slices.Compact(full)
}

// Connected lists, sorted, the peer ids this host has a connection with.
func (h *Host) Connected() []string {
	var ids []string
	for _, id := range h.net.Network().Peers() {
		ids = append(ids, id.String())
	}
	slices.Sort(ids)
	return ids
}

// Drop closes every connection with a peer and forgets its addresses. Make Allow say no first: then
// nothing of the peer gets in again, not even a handshake that was under way. An id that is no peer id
// has no connections.
func (h *Host) Drop(id string) {
	p, err := peer.Decode(id)
	if err != nil {
		h.log.Warn("drop peer", "peer", id, "error", err)
		return
	}
	h.net.Peerstore().ClearAddrs(p)
	if err := h.net.Network().ClosePeer(p); err != nil {
		h.log.Warn("drop peer", "peer", id, "error", err)
	}
}

// Close ends what is under way, closes every connection and waits for the handlers to return. It may be
// called twice.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	err := h.net.Close()
	if h.relay != nil {
		err = errors.Join(err, h.relay.Close())
	}
	h.work.Wait()
	if err != nil {
		return fmt.Errorf("p2p: close: %w", err)
	}
	return nil
}

// enter counts one piece of work, so that Close can wait for it; it says no once the host is closing.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Add(1)
	return true
}

// checkConnected asks Allow once more when a connection has joined the list that Drop walks: a peer
// dropped between the handshake's check and this moment would otherwise stay.
func (h *Host) checkConnected(_ network.Network, conn network.Conn) {
	id := conn.RemotePeer().String()
	switch {
	case h.cfg.Allow(id):
	case h.cfg.letIn(conn.Stat().Direction, id):
		h.welcomeStranger(conn)
	default:
		h.cutOff(conn)
	}
}

func parseListen(addrs []string) ([]ma.Multiaddr, error) {
	if len(addrs) > maxListen {
		return nil, fmt.Errorf("config Listen has %d addresses: give at most %d", len(addrs), maxListen)
	}
	var parsed []ma.Multiaddr
	for _, addr := range addrs {
		m, err := ma.NewMultiaddr(addr)
		if err != nil {
			return nil, fmt.Errorf("config Listen %q: write /ip4/ADDRESS/tcp/PORT or "+
				"/ip4/ADDRESS/udp/PORT/quic-v1: %w", addr, err)
		}
		parsed = append(parsed, m)
	}
	return parsed, nil
}
