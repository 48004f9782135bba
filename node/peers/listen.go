package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// hello is what the listening side says first, once it has made up its mind about the caller: in TLS 1.3
// a caller's handshake is over before its certificate has been looked at.
var hello = []byte{1}

// accept takes connections from one listener until it is closed.
func (m *Mesh) accept(l net.Listener) {
	for {
		raw, err := l.Accept()
		switch {
		case err == nil:
			if !m.enter() {
				_ = raw.Close() // this side is going down
				return
			}
			go func() {
				defer m.work.Done()
				if err := m.welcome(raw); err != nil && m.ctx.Err() == nil && m.noise.Allow() {
					m.cfg.Log.Warn("connection of another replica ended", "remote", raw.RemoteAddr().String(),
						"error", err)
				}
			}()
		case errors.Is(err, net.ErrClosed) || m.ctx.Err() != nil:
			return
		default:
			m.cfg.Log.Error("accept a connection of another replica", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-m.ctx.Done():
			}
		}
	}
}

// welcome finds out who called and what for, and serves it.
func (m *Mesh) welcome(raw net.Conn) error {
	secured, err := m.handshake(raw)
	if err != nil {
		_ = raw.Close() // the handshake's error is the one to tell
		return err
	}
	state := secured.ConnectionState()
	if state.NegotiatedProtocol == protoJoin {
		return m.serveJoin(secured, raw)
	}
	id, host, err := verify(state, m.roots)
	if err != nil {
		_ = raw.Close()
		return err
	}
	c, err := m.keep(secured, raw, id, host)
	if err != nil {
		return fmt.Errorf("replica %s: %w", id, err)
	}
	if err := greet(c); err != nil {
		c.cut()
		return fmt.Errorf("replica %s: %w", id, err)
	}
	if state.NegotiatedProtocol == protoRaft {
		return m.raft.offer(m.ctx, c)
	}
	return m.serveCalls(c)
}

func (m *Mesh) handshake(raw net.Conn) (*tls.Conn, error) {
	leave, ok := m.door.enter(place(raw.RemoteAddr()))
	if !ok {
		return nil, errors.New("too many handshakes at once")
	}
	defer leave()
	ctx, cancel := context.WithTimeout(m.ctx, handshakeTimeout)
	defer cancel()
	secured := tls.Server(raw, m.server)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return secured, nil
}

func greet(c net.Conn) error {
	if err := c.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := c.Write(hello); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	return nil
}

// serverTLS asks a caller for a certificate, unless all it wants is to join.
func (m *Mesh) serverTLS() *tls.Config {
	ours := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.cert.current() }
	members := &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, GetCertificate: ours,
		NextProtos: []string{protoRaft, protoCall},
		// Any is asked for here, for verify looks at it, on both sides alike.
		ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			id, host, err := verify(state, m.roots)
			if err == nil && !m.cfg.Allowed(id, host) {
				err = notAllowed(id)
			}
			return err
		},
	}
	joiners := &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, GetCertificate: ours,
		NextProtos: []string{protoJoin},
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, GetCertificate: ours,
		GetConfigForClient: func(caller *tls.ClientHelloInfo) (*tls.Config, error) {
			if len(caller.SupportedProtos) != 1 {
				return nil, fmt.Errorf("caller names %d uses of the connection, want 1",
					len(caller.SupportedProtos))
			}
			if caller.SupportedProtos[0] != protoJoin {
				return members, nil
			}
			// Before any signature is made, so that asking costs the asker more.
			if from := place(caller.Conn.RemoteAddr()); !m.door.mayJoin(from) {
				return nil, fmt.Errorf("too many tries to join from %s", from)
			}
			return joiners, nil
		},
	}
}

// place names where a caller comes from, for counting: its address without the port, and of IPv6 only
// the network, for each household has one of those and any number of addresses.
func place(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip := at.Addr().Unmap()
	if ip.Is6() {
		return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
	}
	return ip.String()
}

// door counts those who have not shown yet who they are.
type door struct {
	mu      sync.Mutex
	inside  int
	from    map[string]int           // handshakes under way by place
	joins   map[string]*rate.Limiter // by place
	joining int
}

// enter lets one more handshake begin, if there is room; leave ends it.
func (d *door) enter(from string) (leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside >= maxHandshakes || d.from[from] >= maxAddrHandshake {
		return nil, false
	}
	if d.from == nil {
		d.from = map[string]int{}
	}
	d.inside++
	d.from[from]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.inside--
		if d.from[from]--; d.from[from] == 0 {
			delete(d.from, from)
		}
	}, true
}

// mayJoin says whether one more try from there is within the limit.
func (d *door) mayJoin(from string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.joins == nil {
		d.joins = map[string]*rate.Limiter{}
	}
	limit := d.joins[from]
	if limit == nil {
		if len(d.joins) >= maxJoinAddresses {
			d.forgetRested()
		}
		if len(d.joins) >= maxJoinAddresses {
			return false
		}
		limit = rate.NewLimiter(rate.Every(joinEvery), joinBurst)
		d.joins[from] = limit
	}
	return limit.Allow()
}

// forgetRested drops the places whose limit is as good as new.
func (d *door) forgetRested() {
	for from, limit := range d.joins {
		if limit.Tokens() >= joinBurst {
			delete(d.joins, from)
		}
	}
}

// beginJoin lets one more join be served, if there is room.
func (d *door) beginJoin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.joining >= maxJoinsAtOnce {
		return false
	}
	d.joining++
	return true
}

func (d *door) endJoin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.joining--
}
