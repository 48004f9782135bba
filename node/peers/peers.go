// Package peers carries what the replicas of one circle say to each other: authenticated streams over
// mutual TLS 1.3 on one port, whatever carries the bytes underneath.
//
// Three uses share the port and are told apart in the handshake: raw streams for raft, calls (a name, a
// request, an answer), and joining, the only one open to a caller that has no certificate yet. Who a
// replica is, its host key proves; whether it may speak, Config.Allowed decides.
package peers

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The package's limits.
const (
	maxIDBytes       = 64
	maxNameBytes     = 64
	maxBodyBytes     = 1 << 20  // of a call's request and of its answer
	maxErrorBytes    = 4 << 10  // of a refusal's text
	maxJoinBytes     = 16 << 10 // of a request to join
	maxJoinReply     = 256 << 10
	maxCallsAtOnce   = 1024     // on one connection, each way
	maxHeldBytes     = 64 << 20 // requests under way on one connection, all together
	maxJoinsAtOnce   = 8
	maxJoinAddresses = 1024 // that the limit on joining remembers
	maxHandshakes    = 256  // under way at once
	maxAddrHandshake = 32   // the same, from one address
	joinBurst        = 5
	queuedFrames     = 64 // waiting to be written on one connection
	queuedStreams    = 16 // raft streams that nobody has accepted yet
)

const (
	joinEvery        = 10 * time.Second // after joinBurst tries, one each
	handshakeTimeout = 5 * time.Second
	dialTimeout      = 5 * time.Second // for one address, handshake included
	writeTimeout     = 10 * time.Second
	joinTimeout      = 30 * time.Second
	pingEvery        = 3 * time.Second
	silence          = 10 * time.Second // a connection for calls on which nothing comes is given up
	defaultCallTime  = 30 * time.Second
	maxCallTime      = 2 * time.Minute
	acceptPause      = 100 * time.Millisecond // after an accept that failed, as when files run out
)

// DialFunc opens a connection to an address that Config.Resolve gave.
type DialFunc func(ctx context.Context, addr string) (net.Conn, error)

// Config says who this replica is and how it reaches the others.
type Config struct {
	ID   string             // of this replica: 1 to 64 bytes of plain text
	Host ed25519.PrivateKey // of this machine; never leaves it
	CA   ed25519.PrivateKey // of the circle, from CircleCA

	// Allowed says whether the replica of that id and host key may speak with this one. It is asked at
	// each handshake, both ways, and by Recheck.
	Allowed func(id string, host ed25519.PublicKey) bool
	// Resolve gives the addresses of a replica, to be tried in order.
	Resolve func(id string) []string

	Listeners []net.Listener // where others reach this replica; Close closes them
	Dial      DialFunc       // TCP if nil
	Log       *slog.Logger
}

func (cfg Config) check() error {
	switch {
	case checkID(cfg.ID) != nil:
		return checkID(cfg.ID)
	case len(cfg.Host) != ed25519.PrivateKeySize || len(cfg.CA) != ed25519.PrivateKeySize:
		return errors.New("config: Host and CA must be Ed25519 private keys")
	case cfg.Allowed == nil || cfg.Resolve == nil || cfg.Log == nil:
		return errors.New("config: Allowed, Resolve and Log must be given")
	}
	return nil
}

// Mesh is one replica's side of all its connections.
type Mesh struct {
	cfg    Config
	cert   *certificate
	roots  *x509.CertPool
	server *tls.Config
	raft   *streams
	door   door
	noise  *rate.Limiter // of log lines about callers that failed

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	conns    map[*conn]struct{}
	lines    map[string]*line
	handlers map[string]Handler
	join     JoinHandler
}

// Start begins to listen. Calls to it are refused by name until Handle and HandleJoin have been told what
// to do.
func Start(cfg Config) (*Mesh, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	root, err := caCertificate(cfg.CA)
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	m := &Mesh{
		cfg:   cfg,
		cert:  &certificate{id: cfg.ID, host: cfg.Host, ca: cfg.CA, root: root},
		roots: x509.NewCertPool(),
		noise: rate.NewLimiter(1, 10),
		conns: map[*conn]struct{}{}, lines: map[string]*line{}, handlers: map[string]Handler{},
	}
	m.roots.AddCert(root)
	if _, err := m.cert.current(); err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	m.server = m.serverTLS()
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.raft = newStreams(cfg.ID)
	for _, l := range cfg.Listeners {
		m.work.Go(func() { m.accept(l) })
	}
	return m, nil
}

// Raft gives raft its listener and its way to dial a replica by id. The listener's address is this
// replica's id, so that raft can use ids for addresses throughout. Deadlines on the streams are raft's.
func (m *Mesh) Raft() (net.Listener, func(ctx context.Context, id string) (net.Conn, error)) {
	return m.raft, func(ctx context.Context, id string) (net.Conn, error) {
		c, err := m.dial(ctx, id, protoRaft)
		if err != nil {
			return nil, fmt.Errorf("peers: stream to replica %s: %w", id, err)
		}
		return c, nil
	}
}

// Recheck asks Allowed about every open connection again and cuts those that are no longer allowed.
func (m *Mesh) Recheck() {
	for _, c := range m.open() {
		if !m.cfg.Allowed(c.id, c.host) {
			c.cut()
		}
	}
}

// Close cuts every connection and waits for the handlers to return. It may be called twice.
func (m *Mesh) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	var errs []error
	for _, l := range m.cfg.Listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("peers: close listener: %w", err))
		}
	}
	m.raft.end()
	for _, c := range m.open() {
		c.cut()
	}
	m.work.Wait()
	return errors.Join(errs...)
}

func (m *Mesh) open() []*conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*conn, 0, len(m.conns))
	for c := range m.conns {
		all = append(all, c)
	}
	return all
}

// enter counts one piece of work, so that Close can wait for it; it says no once the mesh is closing.
func (m *Mesh) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.work.Add(1)
	return true
}

// conn is a connection whose other end has proven who it is.
type conn struct {
	*tls.Conn
	raw  net.Conn
	mesh *Mesh
	id   string
	host ed25519.PublicKey
}

// keep adds a connection to those that Recheck and Close walk, then asks once more whether it is wanted:
// a replica struck off between the handshake and this moment would otherwise stay.
func (m *Mesh) keep(secured *tls.Conn, raw net.Conn, id string, host ed25519.PublicKey) (*conn, error) {
	c := &conn{Conn: secured, raw: raw, mesh: m, id: id, host: host}
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.conns[c] = struct{}{}
	}
	m.mu.Unlock()
	switch {
	case closed:
		c.cut()
		return nil, net.ErrClosed
	case !m.cfg.Allowed(id, host):
		c.cut()
		return nil, notAllowed(id)
	}
	return c, nil
}

// Close ends the connection in good order.
func (c *conn) Close() error {
	c.forget()
	if err := c.Conn.Close(); err != nil {
		return fmt.Errorf("peers: close: %w", err)
	}
	return nil
}

// cut ends the connection at once, without a word to the other side, which might not be listening.
func (c *conn) cut() {
	c.forget()
	_ = c.raw.Close() // whatever it answers, the connection is of no use any more
}

func (c *conn) forget() {
	c.mesh.mu.Lock()
	defer c.mesh.mu.Unlock()
	delete(c.mesh.conns, c)
}

// Pin is the SHA-256 of a circle CA's public key: what somebody who joins must know beforehand.
type Pin [sha256.Size]byte

// PinOf gives the pin of a circle's CA.
func PinOf(ca ed25519.PublicKey) Pin { return sha256.Sum256(ca) }
