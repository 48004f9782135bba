package peers

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// town is a network in memory with replicas on it.
type town struct {
	t     testing.TB
	real  bool // TCP on the loopback instead
	mu    sync.Mutex
	at    map[string]*memListener
	addrs map[string]string // of a replica, if not its id
	hosts map[string]ed25519.PublicKey
	gone  map[string]bool // no longer allowed
	dials int
	lost  map[net.Conn]bool
}

func newTown(t testing.TB) *town {
	return &town{
		t: t, at: map[string]*memListener{}, addrs: map[string]string{},
		hosts: map[string]ed25519.PublicKey{}, gone: map[string]bool{}, lost: map[net.Conn]bool{},
	}
}

var circleSeed = make([]byte, 32)

func testCA() ed25519.PrivateKey { return must(CircleCA(circleSeed)) }

func (w *town) allowed(id string, host ed25519.PublicKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.gone[id] && host.Equal(w.hosts[id])
}

func (w *town) setGone(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[id] = true
}

func (w *town) resolve(id string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if addr := w.addrs[id]; addr != "" {
		return []string{"nowhere", addr}
	}
	return nil
}

func (w *town) dialed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials
}

// dial reaches a listener of the town. All that is written on a connection is lost once lose is called.
func (w *town) dial(ctx context.Context, addr string) (net.Conn, error) {
	if w.real && addr != "nowhere" {
		return dialTCP(ctx, addr)
	}
	w.mu.Lock()
	l := w.at[addr]
	w.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens at %s", addr)
	}
	ours, theirs := net.Pipe()
	select {
	case l.next <- theirs:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dials++
		w.lost[ours] = false
		return &lossy{Conn: ours, town: w}, nil
	case <-l.done:
		return nil, fmt.Errorf("nobody listens at %s any more", addr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *town) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.lost {
		w.lost[c] = true
	}
}

type lossy struct {
	net.Conn
	town *town
}

func (c *lossy) Write(b []byte) (int, error) {
	c.town.mu.Lock()
	lost := c.town.lost[c.Conn]
	c.town.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

type memListener struct {
	addr string
	next chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memListener) Addr() net.Addr { return idAddr(l.addr) }

func (w *town) listen(addr string) net.Listener {
	l := &memListener{addr: addr, next: make(chan net.Conn), done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[addr] = l
	return l
}

// config of a replica that the town knows; change, if not nil, alters it.
func (w *town) config(id string, change func(*Config)) Config {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		ID: id, Host: private, CA: testCA(), Allowed: w.allowed, Resolve: w.resolve, Dial: w.dial,
		Log: slog.New(slog.DiscardHandler),
	}
	addr := "at " + id
	if w.real {
		l := must(net.Listen("tcp", "127.0.0.1:0"))
		cfg.Listeners, addr = []net.Listener{l}, l.Addr().String()
	} else {
		cfg.Listeners = []net.Listener{w.listen(addr)}
	}
	w.mu.Lock()
	w.addrs[id], w.hosts[id] = addr, public
	w.mu.Unlock()
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// start runs a replica that answers "echo" with the caller's id and what it said.
func (w *town) start(id string, change func(*Config)) *Mesh {
	w.t.Helper()
	m, err := Start(w.config(id, change))
	if err != nil {
		w.t.Fatal(err)
	}
	m.Handle("echo", func(_ context.Context, from string, body []byte) ([]byte, error) {
		return append([]byte(from+" "), body...), nil
	})
	w.t.Cleanup(func() { closeMesh(w.t, m) })
	return m
}

func closeMesh(t testing.TB, m *Mesh) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// echo wants the call to come through.
func echo(t testing.TB, from *Mesh, to string) {
	t.Helper()
	got, err := from.Call(t.Context(), to, "echo", []byte("hi"))
	if want := from.cfg.ID + " hi"; err != nil || string(got) != want {
		t.Fatalf("call %s to %s: %q, %v, want %q", from.cfg.ID, to, got, err, want)
	}
}

// wantTransport wants a transport error that says whether the request may have been handled.
func wantTransport(t testing.TB, err error, sent bool) {
	t.Helper()
	var broken *TransportError
	if !errors.As(err, &broken) || broken.Sent != sent {
		t.Fatalf("got %v, want a transport error with Sent %t", err, sent)
	}
}

// muteJoin makes the handshake to join, says nothing more, and waits to be cut off.
func muteJoin(t *testing.T, raw net.Conn) error {
	c := tls.Client(raw, &tls.Config{NextProtos: []string{protoJoin}, InsecureSkipVerify: true})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadFull(c, make([]byte, 2))
	return err
}

// know makes a replica's host key the one that the town allows.
func (w *town) know(m *Mesh) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[m.cfg.ID] = m.cfg.Host.Public().(ed25519.PublicKey)
}
