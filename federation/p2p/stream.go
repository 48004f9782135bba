package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// replicas is the protocol of streams between the replicas of one circle. What they say, and who they
// are beyond the peer id, is their own business.
const replicas protocol.ID = "/carecircle/replica/1"

// Listen gives the streams that allowed peers open with Dial; once for a host. Those that come faster
// than they are accepted are reset. Deadlines on them are their user's to set.
func (h *Host) Listen() (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.listening {
		return nil, errors.New("p2p: listen for streams: this host is closed or does so already")
	}
	h.listening = true
	l := &streamListener{host: h, next: make(chan net.Conn, queuedStreams), done: make(chan struct{})}
	h.net.SetStreamHandler(replicas, l.take)
	return l, nil
}

// Dial opens a stream to a peer that listens for them, at an address that ends in /p2p/<id>. It ends when
// ctx does, and after Timeout at the latest. Errors are as of Ask.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, ctx, done, err := h.outward(ctx, "dial", []string{addr})
	if err != nil {
		return nil, err
	}
	defer done()
	h.forgetBackoff(to.ID)
	if err := h.net.Connect(ctx, to); err != nil {
		return nil, fmt.Errorf("p2p: dial %s: connect: %w", to.ID, typed(ctx, err))
	}
	s, err := h.net.NewStream(network.WithNoDial(ctx, "connected above"), to.ID, replicas)
	if err != nil {
		return nil, fmt.Errorf("p2p: dial %s: open stream: %w", to.ID, typed(ctx, err))
	}
	return streamConn{s}, nil
}

type streamListener struct {
	host *Host
	next chan net.Conn
	done chan struct{}
	once sync.Once
}

// take queues a stream that a peer has opened.
func (l *streamListener) take(s network.Stream) {
	if !l.host.cfg.Allow(s.Conn().RemotePeer().String()) {
		_ = s.ResetWithError(network.StreamGated) // no matter if it is gone already
		return
	}
	select {
	case l.next <- streamConn{s}:
	default:
		_ = s.ResetWithError(network.StreamResourceLimitExceeded)
	}
}

func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		return c, nil
	case <-l.done:
	case <-l.host.ctx.Done():
	}
	return nil, net.ErrClosed
}

func (l *streamListener) Close() error {
	l.once.Do(func() {
		l.host.net.RemoveStreamHandler(replicas)
		close(l.done)
	})
	return nil
}

func (l *streamListener) Addr() net.Addr { return peerAddr(l.host.ID()) }

// streamConn is a stream as a connection; it goes by the peers' ids.
type streamConn struct{ network.Stream }

// Close ends both directions, also for a read that waits. Where the other end has ended ours already, there
// is nothing to close properly, and nothing wrong.
func (c streamConn) Close() error {
	if err := c.Stream.Close(); err != nil {
		return c.Reset()
	}
	return nil
}

func (c streamConn) LocalAddr() net.Addr  { return peerAddr(c.Conn().LocalPeer().String()) }
func (c streamConn) RemoteAddr() net.Addr { return peerAddr(c.Conn().RemotePeer().String()) }

type peerAddr string

func (peerAddr) Network() string  { return "libp2p" }
func (a peerAddr) String() string { return string(a) }
