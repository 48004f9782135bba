package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// Ask sends one request to the peer that all addrs name (each ends in /p2p/<id>) and returns its reply.
// It dials if there is no connection, and waits for its turn if MaxStreamsPerPeer requests to that peer
// are under way. It ends when ctx does, and after Timeout at the latest. Errors are ErrUnreachable,
// ErrTooLarge or ErrRefused, or say what is wrong with addrs. When it fails, the peer may or may not have
// handled the request: repeating must do no harm.
func (h *Host) Ask(ctx context.Context, addrs []string, request []byte) ([]byte, error) {
	return h.askFor(ctx, addrs, letters, request)
}

func (h *Host) askFor(
	ctx context.Context, addrs []string, what protocol.ID, request []byte,
) ([]byte, error) {
	to, ctx, done, err := h.outward(ctx, "ask", addrs)
	if err != nil {
		return nil, err
	}
	defer done()
	if len(request) > h.cfg.MaxMessageBytes {
		return nil, fmt.Errorf("p2p: ask %s: request of %d bytes, at most %d are sent: %w", to.ID,
			len(request), h.cfg.MaxMessageBytes, ErrTooLarge)
	}
	reply, err := h.ask(ctx, to, what, request)
	if err != nil {
		return nil, fmt.Errorf("p2p: ask %s: %w", to.ID, typed(ctx, err))
	}
	return reply, nil
}

// outward begins what goes out to the one peer that all addrs name, for no longer than Timeout and while the
// host is open; done ends it. The verb is for errors.
func (h *Host) outward(
	ctx context.Context, verb string, addrs []string,
) (to peer.AddrInfo, limited context.Context, done func(), err error) {
	if to, err = parsePeer(addrs); err != nil {
		return to, nil, nil, fmt.Errorf("p2p: %s: %w", verb, err)
	}
	// Asked here too: a peer that is no longer allowed must not be reached over a connection that is
	// still open.
	if !h.cfg.Allow(to.ID.String()) {
		return to, nil, nil, fmt.Errorf("p2p: %s %s: this host does not allow that peer: %w", verb, to.ID,
			ErrRefused)
	}
	if !h.enter() {
		return to, nil, nil, fmt.Errorf("p2p: %s %s: this host is closed: %w", verb, to.ID, ErrUnreachable)
	}
	limited, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	stop := context.AfterFunc(h.ctx, cancel)
	return to, limited, func() {
		stop()
		cancel()
		h.work.Done()
	}, nil
}

func (h *Host) ask(
	ctx context.Context, to peer.AddrInfo, what protocol.ID, request []byte,
) ([]byte, error) {
	free, err := h.slots.take(ctx, to.ID)
	if err != nil {
		return nil, err
	}
	defer free()
	if stream := h.idle.take(to.ID, what); stream != nil {
		reply, err := h.exchange(ctx, stream, request)
		if err == nil || !errors.Is(typed(ctx, err), ErrUnreachable) || ctx.Err() != nil {
			return reply, err
		}
		// The peer may have given the stream up, or its machine was started anew.
	}
	h.forgetBackoff(to.ID)
	if err := h.net.Connect(ctx, to); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	stream, err := h.net.NewStream(network.WithNoDial(ctx, "connected above"), to.ID, what)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	return h.exchange(ctx, stream, request)
}

// exchange puts one question on a stream. If it is answered, the stream is kept for the next.
func (h *Host) exchange(ctx context.Context, stream network.Stream, request []byte) ([]byte, error) {
	// Reads and writes know deadlines, not contexts: a cancelled ask resets its stream, which ends both.
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	reply, err := h.question(ctx, stream, request)
	if err != nil {
		stop()
		// The stream may be gone already; resetting it again changes nothing.
		_ = stream.Reset()
		return nil, err
	}
	if stop() {
		h.idle.keep(stream)
	}
	return reply, nil
}

func (h *Host) question(ctx context.Context, stream network.Stream, request []byte) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := stream.SetDeadline(deadline); err != nil {
			return nil, fmt.Errorf("set deadline: %w", err)
		}
	}
	if err := writeFrame(stream, request); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	nothing := func() error { return nil }
	reply, err := readFrame(stream, h.cfg.MaxMessageBytes, nothing, reserveFrom(stream))
	if err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	stream.Scope().ReleaseMemory(len(reply))
	return reply, nil
}

// forgetBackoff lets the next dial happen at once. libp2p makes a failed address wait up to five minutes;
// when to try again is for the caller to say, who has a schedule of its own.
func (h *Host) forgetBackoff(p peer.ID) {
	if s, ok := h.net.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p)
	}
}

// typed puts one of the package's errors on top of what libp2p said.
func typed(ctx context.Context, err error) error {
	var stream *network.StreamError
	var conn *network.ConnError
	kind := ErrUnreachable
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case errors.As(err, &stream) && stream.Remote:
		kind = meaning(stream.ErrorCode)
	case errors.As(err, &conn) && conn.Remote && conn.ErrorCode == network.ConnGated,
		errors.Is(err, swarm.ErrGaterDisallowedConnection), errors.Is(err, network.ErrResourceLimitExceeded):
		kind = ErrRefused
	}
	return fmt.Errorf("%w: %w", kind, err)
}

func parsePeer(addrs []string) (peer.AddrInfo, error) {
	if len(addrs) == 0 || len(addrs) > maxAddrs {
		return peer.AddrInfo{}, fmt.Errorf("%d addresses: give 1 to %d of one peer", len(addrs), maxAddrs)
	}
	var parsed []ma.Multiaddr
	for _, addr := range addrs {
		m, err := ma.NewMultiaddr(addr)
		if err != nil {
			return peer.AddrInfo{}, fmt.Errorf("address %q: write /ip4/ADDRESS/tcp/PORT/p2p/ID: %w",
				addr, err)
		}
		parsed = append(parsed, m)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(parsed...)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("addresses %q: end each in /p2p/ID: %w", addrs, err)
	}
	if len(infos) != 1 {
		return peer.AddrInfo{}, fmt.Errorf("addresses %q name %d peers: ask one at a time", addrs, len(infos))
	}
	return infos[0], nil
}

// slots counts the requests under way to each peer.
type slots struct {
	perPeer int

	mu    sync.Mutex
	peers map[peer.ID]*slot
}

type slot struct {
	full  chan struct{} // holds one entry for each request under way
	users int           // requests under way and waiting; at none the slot is forgotten
}

// take waits for a place among the requests to p, until ctx ends. The caller calls free when done.
func (s *slots) take(ctx context.Context, p peer.ID) (free func(), err error) {
	s.mu.Lock()
	if s.peers == nil {
		s.peers = make(map[peer.ID]*slot)
	}
	mine := s.peers[p]
	if mine == nil {
		mine = &slot{full: make(chan struct{}, s.perPeer)}
		s.peers[p] = mine
	}
	mine.users++
	s.mu.Unlock()
	select {
	case mine.full <- struct{}{}:
		return func() { <-mine.full; s.leave(p, mine) }, nil
	case <-ctx.Done():
		s.leave(p, mine)
		return nil, fmt.Errorf("wait for one of %d requests to finish: %w", s.perPeer, ctx.Err())
	}
}

func (s *slots) leave(p peer.ID, mine *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine.users--
	if mine.users == 0 {
		delete(s.peers, p)
	}
}
