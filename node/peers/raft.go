package peers

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// streams hands raft the streams that other replicas have opened.
type streams struct {
	id   string
	next chan *conn
	done chan struct{}
	once sync.Once
}

var _ net.Listener = (*streams)(nil)

func newStreams(id string) *streams {
	return &streams{id: id, next: make(chan *conn, queuedStreams), done: make(chan struct{})}
}

// offer queues a stream for Accept, and cuts it where nobody takes it in good time.
func (s *streams) offer(ctx context.Context, c *conn) error {
	tooLate := time.NewTimer(handshakeTimeout)
	defer tooLate.Stop()
	select {
	case s.next <- c:
		select {
		case <-s.done: // just now, perhaps: nobody will take it any more
			s.drop()
		default:
		}
		return nil
	case <-tooLate.C:
	case <-s.done:
	case <-ctx.Done():
	}
	c.cut()
	return errors.New("raft does not take its stream")
}

func (s *streams) end() {
	s.once.Do(func() { close(s.done) })
	s.drop()
}

// drop cuts the streams that wait.
func (s *streams) drop() {
	for {
		select {
		case c := <-s.next:
			c.cut()
		default:
			return
		}
	}
}

// Accept waits for the next stream.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case <-s.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-s.next:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close ends the listener; streams that were accepted stay. Raft closes its listener when it stops.
func (s *streams) Close() error {
	s.end()
	return nil
}

// Addr is the replica's id, which the other replicas dial.
func (s *streams) Addr() net.Addr { return idAddr(s.id) }

type idAddr string

func (idAddr) Network() string  { return "replica" }
func (a idAddr) String() string { return string(a) }
