package peers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStartRefuses(t *testing.T) {
	w := newTown(t)
	for name, change := range map[string]func(*Config){
		"no id":      func(c *Config) { c.ID = "" },
		"long id":    func(c *Config) { c.ID = strings.Repeat("x", maxIDBytes+1) },
		"odd id":     func(c *Config) { c.ID = "a\nb" },
		"no host":    func(c *Config) { c.Host = nil },
		"no ca":      func(c *Config) { c.CA = nil },
		"no allowed": func(c *Config) { c.Allowed = nil },
		"no resolve": func(c *Config) { c.Resolve = nil },
		"no log":     func(c *Config) { c.Log = nil },
	} {
		if m, err := Start(w.config("a", change)); err == nil {
			t.Errorf("%s: started", name)
			closeMesh(t, m)
		}
	}
	if _, err := CircleCA(make([]byte, 31)); err == nil {
		t.Error("a seed that is too short was taken")
	}
}

// The derived key is for ever: a circle's replicas of any version must agree on it.
func TestCircleCAIsFixed(t *testing.T) {
	pin := PinOf(testCA().Public().(ed25519.PublicKey))
	// Computed apart from this code, with HMAC by hand and OpenSSL.
	const want = "c3e7eec78d1a96b315c3da779ef2e623c7348b693ca3ae28882d7b01cd5b99f3"
	if got := hexText(pin[:]); got != want {
		t.Errorf("pin %s, want %s", got, want)
	}
	one, two := must(caCertificate(testCA())), must(caCertificate(testCA()))
	if !bytes.Equal(one.Raw, two.Raw) {
		t.Error("two replicas make different CA certificates")
	}
}

func TestImpostors(t *testing.T) {
	_, otherKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"another circle":       func(c *Config) { c.CA = must(CircleCA(bytes.Repeat([]byte{1}, 32))) },
		"another host":         func(c *Config) { c.Host = otherKey },
		"another replica's id": func(c *Config) { c.ID = "c" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t)
				a := w.start("a", nil)
				w.start("c", nil)
				bad := w.start("b", change)
				if _, err := bad.Call(t.Context(), "a", "echo", nil); err == nil {
					t.Error("an impostor's call was answered")
				} else {
					wantTransport(t, err, false)
				}
				_, err := a.Call(t.Context(), "b", "echo", nil)
				wantTransport(t, err, false)
				_, dial := bad.Raft()
				if c, err := dial(t.Context(), "a"); err == nil {
					t.Error("an impostor has a raft stream")
					_ = c.Close()
				}
				echo(t, a, "c")
			})
		})
	}
}

// knock makes a bare TLS handshake and waits for the greeting.
func knock(t *testing.T, w *town, cfg *tls.Config) error {
	raw := must(w.dial(t.Context(), "at a"))
	defer raw.Close()
	cfg.InsecureSkipVerify = true
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(t.Context()); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestHandshakeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.start("a", nil)
		cfg := w.config("b", nil)
		root := must(caCertificate(cfg.CA))
		good := must((&certificate{id: "b", host: cfg.Host, ca: cfg.CA, root: root}).current())
		call, own := []string{protoCall}, []tls.Certificate{*good}
		for name, c := range map[string]*tls.Config{
			"no certificate": {NextProtos: call},
			"no use":         {Certificates: own},
			"two uses":       {Certificates: own, NextProtos: []string{protoJoin, protoCall}},
			"unknown use":    {Certificates: own, NextProtos: []string{"h2"}},
			"TLS 1.2":        {Certificates: own, NextProtos: call, MaxVersion: tls.VersionTLS12},
		} {
			if err := knock(t, w, c); err == nil {
				t.Errorf("%s: let in", name)
			}
		}
		if err := knock(t, w, &tls.Config{Certificates: own, NextProtos: call}); err != nil {
			t.Errorf("a good certificate: %v", err)
		}
		time.Sleep(certAfter + time.Minute)
		if err := knock(t, w, &tls.Config{Certificates: own, NextProtos: call}); err == nil {
			t.Error("an old certificate: let in")
		}
	})
}

// A replica that runs for weeks makes itself new certificates.
func TestCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		for range 30 {
			echo(t, a, "b")
			echo(t, b, "a")
			for _, c := range append(a.open(), b.open()...) {
				c.cut()
			}
			time.Sleep(certBefore + time.Minute)
		}
	})
}

func TestRecheckCutsWhoIsStruckOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		w.start("c", nil)
		echo(t, b, "a")
		echo(t, a, "b")
		echo(t, a, "c")
		listener, _ := a.Raft()
		_, dial := b.Raft()
		stream := must(dial(t.Context(), "a"))
		accepted := must(listener.Accept())
		before := w.dialed()
		w.setGone("b")
		a.Recheck()
		for _, c := range []net.Conn{stream, accepted} {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a raft stream is still open")
			}
		}
		synctest.Wait()
		if n := len(a.open()); n != 1 {
			t.Errorf("%d connections are open, want the one to c", n)
		}
		_, err := b.Call(t.Context(), "a", "echo", nil)
		wantTransport(t, err, false)
		_, err = a.Call(t.Context(), "b", "echo", nil)
		wantTransport(t, err, false)
		refused := w.dialed()
		echo(t, a, "c")
		if w.dialed() != refused || refused == before {
			t.Error("the line to c was not kept")
		}
	})
}

// A replica struck off after its handshake was looked at, and before Recheck can see it, is not kept.
func TestStruckOffDuringTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		c := must(b.dial(t.Context(), "a", protoRaft))
		w.setGone("b")
		again, err := a.keep(c.Conn, c.raw, "b", b.cfg.Host.Public().(ed25519.PublicKey))
		if err == nil {
			t.Error("kept")
			again.cut()
		}
		c.cut()
	})
}

func TestRaftStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		listener, _ := a.Raft()
		_, dial := b.Raft()
		if got := listener.Addr().String(); got != "a" {
			t.Errorf("address %q, want the id", got)
		}
		out := must(dial(t.Context(), "a"))
		in := must(listener.Accept())
		for _, pair := range [][2]net.Conn{{out, in}, {in, out}} {
			go func() { _, _ = pair[0].Write([]byte("append")) }()
			got := make([]byte, 6)
			if _, err := io.ReadFull(pair[1], got); err != nil || string(got) != "append" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		// Raft sets deadlines of its own.
		if err := in.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		var late net.Error
		if _, err := in.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
			t.Errorf("read past the deadline: %v", err)
		}
		if _, err := dial(t.Context(), "z"); err == nil {
			t.Error("dialled a replica that nobody knows")
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after Close: %v", err)
		}
		cut := must(dial(t.Context(), "a"))
		if _, err := cut.Read(make([]byte, 1)); err == nil {
			t.Error("a stream that nobody accepts stays open")
		}
	})
}

// Streams beyond those that wait for raft are cut in time, and a flood of them holds nobody up.
func TestRaftDoesNotAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		_, dial := b.Raft()
		for range queuedStreams + 3 {
			must(dial(t.Context(), "a"))
		}
		time.Sleep(handshakeTimeout + time.Second)
		if n := len(a.open()); n != queuedStreams {
			t.Errorf("%d streams are open, want %d", n, queuedStreams)
		}
		echo(t, b, "a")
	})
}

// Somebody who connects and says nothing is sent away, and cannot take all places.
func TestSilentCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.start("a", nil)
		b := w.start("b", nil)
		var mute []net.Conn
		for range maxAddrHandshake {
			mute = append(mute, must(w.dial(t.Context(), "at a")))
		}
		synctest.Wait()
		_, err := b.Call(t.Context(), "a", "echo", nil)
		wantTransport(t, err, false)
		time.Sleep(handshakeTimeout)
		for _, c := range mute {
			if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Fatal(err)
			}
			_ = c.Close()
		}
		synctest.Wait()
		echo(t, b, "a")
	})
}

func TestPlace(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:1":           "192.0.2.7",
		"[::ffff:192.0.2.7]:9":  "192.0.2.7",
		"[2001:db8::1]:1":       "2001:db8::/64",
		"[2001:db8:0:0:9::]:77": "2001:db8::/64",
		"[fe80::1%eth0]:1":      "fe80::/64",
		"12D3KooW":              "12D3KooW",
	} {
		if got := place(idAddr(text)); got != want {
			t.Errorf("%s counts as %s, want %s", text, got, want)
		}
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		returned := false
		began := make(chan struct{})
		a.Handle("slow", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			close(began)
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return nil, ctx.Err()
		})
		failed := make(chan error)
		go func() { _, err := b.Call(t.Context(), "a", "slow", nil); failed <- err }()
		<-began
		closed := make(chan bool)
		go func() { closeMesh(t, a); closed <- returned }()
		wantTransport(t, <-failed, true)
		if !<-closed {
			t.Error("Close returned before the handler")
		}
		_, err := a.Call(t.Context(), "b", "echo", nil)
		wantTransport(t, err, false)
	})
}
