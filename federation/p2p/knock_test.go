package p2p

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
)

// door is a party that knows nobody and may be knocked at.
func door(t *testing.T, listen string) (*party, *atomic.Bool) {
	t.Helper()
	var opened atomic.Bool
	opened.Store(true)
	p := start(t, listen, func(_ *party, cfg *Config) {
		cfg.Allow = func(string) bool { return false }
		cfg.Knocking = opened.Load
		cfg.Knock = func(_ context.Context, from string, request []byte) ([]byte, error) {
			return append([]byte("heard "), request...), nil
		}
	})
	return p, &opened
}

// A host that is not known can knock while that is open, and say nothing else.
func TestKnock(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			d, opened := door(t, tr.listen)
			stranger := start(t, tr.listen, nil)
			reply, err := stranger.Knock(t.Context(), d.Addrs(), []byte("may I"))
			if err != nil || string(reply) != "heard may I" {
				t.Fatalf("%q, %v", reply, err)
			}
			_, err = stranger.Knock(t.Context(), d.Addrs(), make([]byte, maxKnockBytes+1))
			if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrRefused) {
				t.Errorf("a large one: %v", err)
			}
			if _, err := stranger.Ask(t.Context(), d.Addrs(), []byte("x")); !errors.Is(err, ErrRefused) &&
				!errors.Is(err, ErrUnreachable) {
				t.Errorf("a stranger's letter: %v", err)
			}
			opened.Store(false)
			d.Drop(stranger.ID())
			_, err = stranger.Knock(t.Context(), d.Addrs(), []byte("may I"))
			if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrUnreachable) {
				t.Errorf("when it is shut: %v", err)
			}
			if d.handled.Load() != 0 {
				t.Error("a stranger's letter was handled")
			}
		})
	}
}

// Of those who come to knock only a few stay connected at once.
func TestManyKnock(t *testing.T) {
	d, _ := door(t, anyTCP)
	for range maxStrangers + 4 {
		// The last of them may be cut off before they are heard.
		_, err := start(t, anyTCP, nil).Knock(t.Context(), d.Addrs(), []byte("may I"))
		if err != nil && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	}
	eventually(t, "no more are connected", func() bool { return len(d.Connected()) <= maxStrangers })
}

// Two hosts that do not listen, as behind home routers, speak through a third.
func TestRelay(t *testing.T) {
	hub := start(t, anyTCP, nil)
	hidden := func(_ *party, cfg *Config) { cfg.Listen = nil }
	a, b := start(t, "", hidden), start(t, "", hidden)
	if _, err := a.Reserve(t.Context(), hub.Addrs()); err == nil {
		t.Fatal("a host that is no relay gave a place")
	}
	for range 2 {
		if err := hub.Relay(); err != nil {
			t.Fatal(err)
		}
	}
	place := must(a.Reserve(t.Context(), hub.Addrs()))
	if place.Relay != hub.ID() || len(place.Addrs) != 1 || !Relayed(place.Addrs[0]) ||
		PeerOf(place.Addrs[0]) != a.ID() || !a.Holds(place) {
		t.Fatalf("%+v", place)
	}
	if len(a.Addrs()) != 0 {
		t.Errorf("a listens on %q", a.Addrs())
	}
	big := []byte(strings.Repeat("x", 600<<10)) // more than relays for anybody pass on
	for range 3 {
		reply, err := b.Ask(t.Context(), place.Addrs, big)
		if err != nil || len(reply) != len(b.ID())+1+len(big) {
			t.Fatalf("%d bytes, %v", len(reply), err)
		}
	}
	if hub.handled.Load() != 0 || a.handled.Load() != 3 {
		t.Errorf("handled: hub %d, a %d", hub.handled.Load(), a.handled.Load())
	}
	a.Drop(hub.ID())
	must(a.Ask(t.Context(), hub.Addrs(), []byte("connected again")))
	if a.Holds(place) {
		t.Error("a place is held whose connection has ended")
	}
	place = must(a.Reserve(t.Context(), hub.Addrs()))
	if !a.Holds(place) {
		t.Error("the new place is not held")
	}
	hub.refuse(b.ID())
	b.Drop(a.ID())
	b.Drop(hub.ID())
	if _, err := b.Ask(t.Context(), place.Addrs, []byte("x")); err == nil {
		t.Error("the relay passed on what a host said that it does not allow")
	}
}

func TestByPeer(t *testing.T) {
	got := ByPeer([]string{
		"/ip4/1.2.3.4/tcp/1/p2p/A", "/ip4/1.2.3.5/tcp/1/p2p/B", "/dns/x/p2p/R/p2p-circuit/p2p/A",
	})
	if len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 || PeerOf(got[0][1]) != "A" {
		t.Fatalf("%q", got)
	}
	if PeerOf("/ip4/1.2.3.4/tcp/1") != "" {
		t.Error("a peer where none is named")
	}
}
