package gossip

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// cloud is a network in memory that loses what it is told to lose, and never blocks a sender.
type cloud struct {
	mu    sync.Mutex
	ports map[string]*port
	lost  func(from, to string) bool // nil: nothing
}

func newCloud() *cloud { return &cloud{ports: map[string]*port{}} }

func (c *cloud) lose(lost func(from, to string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = lost
}

// to finds the port at an address, unless what goes there is lost.
func (c *cloud) to(from, addr string) *port {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil && c.lost(from, addr) {
		return nil
	}
	return c.ports[addr]
}

func (c *cloud) port(addr string) *port {
	p := &port{
		cloud: c, addr: addr, packets: make(chan *memberlist.Packet, 128), streams: make(chan net.Conn),
		done: make(chan struct{}),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports[addr] = p
	return p
}

// port is one replica's place in the cloud, as memberlist wants it.
type port struct {
	cloud   *cloud
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

var _ memberlist.Transport = (*port)(nil)

func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	at := netip.MustParseAddrPort(p.addr)
	return at.Addr().AsSlice(), int(at.Port()), nil
}

func (p *port) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	to := p.cloud.to(p.addr, addr)
	if to == nil {
		return now, nil
	}
	from := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.addr))
	select {
	case to.packets <- &memberlist.Packet{Buf: append([]byte{}, b...), From: from, Timestamp: now}:
	default: // a full queue drops, as a network does
	}
	return now, nil
}

func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }
func (p *port) StreamCh() <-chan net.Conn           { return p.streams }

func (p *port) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := p.cloud.to(p.addr, addr)
	if to == nil || p.cloud.to(addr, p.addr) == nil {
		<-time.After(timeout)
		return nil, fmt.Errorf("%s does not answer", addr)
	}
	ours, theirs := net.Pipe()
	select {
	case to.streams <- theirs:
		return ours, nil
	case <-to.done:
		return nil, fmt.Errorf("%s is closed", addr)
	case <-time.After(timeout):
		return nil, fmt.Errorf("%s does not answer", addr)
	}
}

func (p *port) Shutdown() error {
	p.once.Do(func() {
		close(p.done)
		p.cloud.mu.Lock()
		defer p.cloud.mu.Unlock()
		if p.cloud.ports[p.addr] == p {
			delete(p.cloud.ports, p.addr)
		}
	})
	return nil
}
