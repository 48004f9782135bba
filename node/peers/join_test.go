package peers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func circlePin() Pin { return PinOf(testCA().Public().(ed25519.PublicKey)) }

func (w *town) join(t *testing.T, addr string, pin Pin, request string) (string, error) {
	got, err := Join(t.Context(), w.dial, addr, pin, []byte(request))
	return string(got), err
}

func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a := w.start("a", nil)
		if _, err := w.join(t, "at a", circlePin(), "early"); err == nil {
			t.Error("joined before anybody may")
		}
		a.HandleJoin(func(_ context.Context, request []byte) ([]byte, error) {
			switch string(request) {
			case "bad secret":
				return nil, errors.New("that secret has been used")
			case "much":
				return make([]byte, maxJoinReply), nil
			case "too much":
				return make([]byte, maxJoinReply+1), nil
			}
			return append([]byte("welcome "), request...), nil
		})
		time.Sleep(time.Hour) // for the limit on tries to rest
		for _, request := range []string{"", "secret", strings.Repeat("x", maxJoinBytes)} {
			if got, err := w.join(t, "at a", circlePin(), request); err != nil || got != "welcome "+request {
				t.Errorf("%d bytes: %d bytes, %v", len(request), len(got), err)
			}
		}
		time.Sleep(time.Hour)
		if got, err := w.join(t, "at a", circlePin(), "much"); err != nil || len(got) != maxJoinReply {
			t.Errorf("a long answer: %d bytes, %v", len(got), err)
		}
		for request, want := range map[string]string{"bad secret": "has been used", "too much": "at most"} {
			_, err := w.join(t, "at a", circlePin(), request)
			var remote *RemoteError
			if !errors.As(err, &remote) || !strings.Contains(remote.Text, want) {
				t.Errorf("%s: %v, want a remote error with %q", request, err, want)
			}
		}
		if _, err := w.join(t, "at a", circlePin(), strings.Repeat("x", maxJoinBytes+1)); err == nil {
			t.Error("a request that is too long was sent")
		}
	})
}

// The joiner's secret must not reach anybody but the circle it is for.
func TestJoinChecksThePin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		asked := 0
		count := func(context.Context, []byte) ([]byte, error) { asked++; return nil, nil }
		w.start("a", nil).HandleJoin(count)
		other := func(c *Config) { c.CA = must(CircleCA(bytes.Repeat([]byte{1}, 32))) }
		w.start("x", other).HandleJoin(count)
		for _, addr := range []string{"at x", "nowhere"} {
			if _, err := w.join(t, addr, circlePin(), "secret"); err == nil {
				t.Errorf("joined %s", addr)
			}
		}
		// The right CA's certificate shown beside a leaf that it did not sign.
		mixed := w.start("y", other)
		mixed.cert.root = must(caCertificate(testCA()))
		mixed.cert.cert.Certificate[1] = mixed.cert.root.Raw
		mixed.HandleJoin(count)
		if _, err := w.join(t, "at y", circlePin(), "secret"); err == nil {
			t.Error("joined a circle that borrows the CA's certificate")
		}
		if asked != 0 {
			t.Errorf("%d requests went to the wrong circle", asked)
		}
		if _, err := w.join(t, "at a", circlePin(), "secret"); err != nil || asked != 1 {
			t.Errorf("the right one: asked %d times, %v", asked, err)
		}
	})
}

func TestJoinIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		asked := 0
		count := func(context.Context, []byte) ([]byte, error) { asked++; return nil, nil }
		w.start("a", nil).HandleJoin(count)
		b := w.start("b", nil)
		for range 4 * joinBurst {
			_, _ = w.join(t, "at a", circlePin(), "guess")
		}
		if asked != joinBurst {
			t.Errorf("%d guesses were looked at, want %d", asked, joinBurst)
		}
		echo(t, b, "a") // replicas are not held up by it
		time.Sleep(joinEvery)
		if _, err := w.join(t, "at a", circlePin(), "later"); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// The limit's memory is bounded, and does not forget who has just tried.
func TestJoinLimitForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d door
		for i := range maxJoinAddresses {
			if !d.mayJoin(fmt.Sprint(i)) {
				t.Fatal("a first try is over the limit")
			}
		}
		if d.mayJoin("one more") {
			t.Error("the limit forgets those who have just tried")
		}
		time.Sleep(joinEvery + time.Second)
		if !d.mayJoin("one more") || len(d.joins) != 1 {
			t.Errorf("%d places are remembered, want 1", len(d.joins))
		}
	})
}

// Joiners who ask for nothing hold their places for a short time only.
func TestSlowJoiners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a := w.start("a", nil)
		for range 2 * maxJoinsAtOnce {
			if a.door.beginJoin() {
				defer a.door.endJoin()
			}
		}
		if a.door.joining != maxJoinsAtOnce {
			t.Errorf("%d joins at once, want %d", a.door.joining, maxJoinsAtOnce)
		}
		if _, err := w.join(t, "at a", circlePin(), "one too many"); err == nil {
			t.Error("one too many was served")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a := w.start("a", nil)
		a.HandleJoin(func(context.Context, []byte) ([]byte, error) { return nil, nil })
		raw := must(w.dial(t.Context(), "at a"))
		defer raw.Close()
		began := time.Now()
		if err := muteJoin(t, raw); err == nil {
			t.Error("a joiner who asks nothing is answered")
		}
		if took := time.Since(began); took > 2*handshakeTimeout {
			t.Errorf("a mute joiner held a place for %s", took)
		}
	})
}
