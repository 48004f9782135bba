package p2p

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestStreams(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			a, b := start(t, tr.listen, nil), start(t, tr.listen, nil)
			addr := b.Addrs()[0]
			if _, err := a.Dial(t.Context(), addr); err == nil {
				t.Error("dialled a host that does not listen")
			}
			l := must(b.Listen())
			if _, err := b.Listen(); err == nil {
				t.Error("listened twice")
			}
			out := must(a.Dial(t.Context(), addr))
			if _, err := out.Write([]byte("to b")); err != nil {
				t.Fatal(err)
			}
			in := must(l.Accept())
			if in.RemoteAddr().String() != a.ID() || out.RemoteAddr().String() != l.Addr().String() {
				t.Errorf("addresses %s and %s", in.RemoteAddr(), out.RemoteAddr())
			}
			got := make([]byte, 4)
			if _, err := io.ReadFull(in, got); err != nil || string(got) != "to b" {
				t.Fatalf("%q, %v", got, err)
			}
			if err := in.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := in.Read(got); err == nil {
				t.Error("read past its deadline")
			}
			ended := make(chan error)
			go func() { _, err := out.Read(got); ended <- err }()
			if err := out.Close(); err != nil {
				t.Error(err)
			}
			if err := <-ended; err == nil {
				t.Error("a read went on after Close")
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accept on a closed host: %v", err)
			}
		})
	}
}

func TestStreamsAreGatedAndLimited(t *testing.T) {
	a, b := start(t, anyTCP, nil), start(t, anyTCP, nil)
	l := must(b.Listen())
	addr := b.Addrs()[0]
	for range replicaStreams {
		must(a.Dial(t.Context(), addr))
	}
	if _, err := a.Dial(t.Context(), addr); !errors.Is(err, ErrRefused) {
		t.Errorf("one stream too many: %v, want ErrRefused", err)
	}
	b.refuse(a.ID())
	b.Drop(a.ID())
	c, err := a.Dial(t.Context(), addr)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("a peer that is not allowed was let in")
	}
	a.refuse(b.ID())
	if _, err := a.Dial(t.Context(), addr); !errors.Is(err, ErrRefused) {
		t.Errorf("dialled a peer that is not allowed: %v, want ErrRefused", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
