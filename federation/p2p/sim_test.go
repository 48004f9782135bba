package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// On a simulated network in simulated time: a first ask costs the handshakes, a second one round trip,
// and a peer that is not there, or vanishes without a word, costs Timeout at the most. Then it comes back.
func TestSimulatedNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const oneWay = 50 * time.Millisecond
		fake := &fakeNet{oneWay: oneWay, ends: map[string]*fakeConn{}}
		host := func(n int) *Host {
			h, err := newHost(Config{
				Key:    must(NewKey()),
				Listen: []string{fmt.Sprintf("/ip4/1.0.0.%d/udp/8000/quic-v1", n)},
				Allow:  func(string) bool { return true },
				Handle: func(_ context.Context, _ string, request []byte) ([]byte, error) {
					return request, nil
				},
			}, fake.option())
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		a, b := host(1), host(2)
		defer func() {
			if err := errors.Join(a.Close(), b.Close()); err != nil {
				t.Error(err)
			}
		}()
		ask := func(what string, addrs []string, want error, least, most time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := a.Ask(t.Context(), addrs, []byte("hello"))
			took := time.Since(began)
			t.Logf("%s: %s, %v", what, took, err)
			if !errors.Is(err, want) || took < least || took > most {
				t.Errorf("%s: %v after %s, want %v after %s to %s", what, err, took, want, least, most)
			}
		}
		ask("first", b.Addrs(), nil, 4*oneWay, 8*oneWay)
		ask("second", b.Addrs(), nil, 2*oneWay, 3*oneWay)
		other := must(PeerID(must(NewKey()).Public().(ed25519.PublicKey)))
		absent := "/ip4/1.0.0.9/udp/8000/quic-v1/p2p/" + other
		ask("absent", []string{absent}, ErrUnreachable, 0, defaultTimeout)
		fake.cut(true)
		ask("cut off", b.Addrs(), ErrUnreachable, defaultTimeout, defaultTimeout)
		time.Sleep(time.Minute)
		if len(a.Connected()) != 0 {
			t.Error("a dead connection is still held after a minute")
		}
		ask("still cut off", b.Addrs(), ErrUnreachable, 0, defaultTimeout)
		fake.cut(false)
		ask("back", b.Addrs(), nil, 4*oneWay, 8*oneWay)
	})
}

// fakeNet carries packets between fakeConns in memory: each takes oneWay, or is lost while the net is cut.
type fakeNet struct {
	oneWay time.Duration

	mu   sync.Mutex
	ends map[string]*fakeConn
	lost bool
}

// option puts QUIC on the fake net.
func (f *fakeNet) option() libp2p.Option {
	at := &fakeSource{}
	listen := func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
		at.ip = addr.IP
		return f.open(addr)
	}
	return libp2p.QUICReuse(func(
		life fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey,
	) (*quicreuse.ConnManager, error) {
		conns, err := quicreuse.NewConnManager(reset, token, quicreuse.OverrideListenUDP(listen),
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return at, nil }))
		if err == nil {
			life.Append(fx.StopHook(conns.Close))
		}
		return conns, err
	})
}

func (f *fakeNet) cut(lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = lost
}

func (f *fakeNet) open(addr *net.UDPAddr) (net.PacketConn, error) {
	c := &fakeConn{net: f, addr: addr, in: make(chan fakePacket, 1000), wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ends[addr.String()] != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	f.ends[addr.String()] = c
	return c, nil
}

func (f *fakeNet) send(from *net.UDPAddr, to string, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.ends[to]
	if f.lost || end == nil {
		return
	}
	packet := fakePacket{append([]byte(nil), body...), from}
	time.AfterFunc(f.oneWay, func() {
		select {
		case end.in <- packet:
		default: // a full queue drops, as a router's does
		}
	})
}

type fakePacket struct {
	body []byte
	from *net.UDPAddr
}

type fakeSource struct{ ip net.IP }

func (s *fakeSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return s.ip, nil }

// fakeConn is one end on a fakeNet. Of deadlines it knows the one kind that quic-go sets: now, to stop
// reading.
type fakeConn struct {
	net  *fakeNet
	addr *net.UDPAddr
	in   chan fakePacket
	wake chan struct{}
}

func (c *fakeConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case packet := <-c.in:
		return copy(p, packet.body), packet.from, nil
	case <-c.wake:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (c *fakeConn) WriteTo(p []byte, to net.Addr) (int, error) {
	c.net.send(c.addr, to.String(), p)
	return len(p), nil
}

func (c *fakeConn) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func (c *fakeConn) Close() error                     { return c.SetReadDeadline(time.Now()) }
func (c *fakeConn) LocalAddr() net.Addr              { return c.addr }
func (c *fakeConn) SetDeadline(at time.Time) error   { return c.SetReadDeadline(at) }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }
