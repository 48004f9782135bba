package peers

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func hexText(b []byte) string { return hex.EncodeToString(b) }

func TestCallsOfThree(t *testing.T) {
	for _, real := range []bool{false, true} {
		t.Run(fmt.Sprintf("real=%t", real), func(t *testing.T) {
			w := newTown(t)
			w.real = real
			all := []*Mesh{w.start("a", nil), w.start("b", nil), w.start("c", nil)}
			for _, from := range all {
				for _, to := range all {
					if from == to {
						continue
					}
					for _, size := range []int{0, 1, 70 << 10, maxBodyBytes - 2} {
						body := bytes.Repeat([]byte("x"), size)
						got, err := from.Call(t.Context(), to.cfg.ID, "echo", body)
						if err != nil || string(got) != from.cfg.ID+" "+string(body) {
							t.Fatalf("%d bytes: %d bytes came back, %v", size, len(got), err)
						}
					}
				}
			}
		})
	}
}

func TestCallsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		b.Handle("fails", func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New("no coins left")
		})
		b.Handle("rambles", func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New(strings.Repeat("é", maxErrorBytes))
		})
		b.Handle("big", func(context.Context, string, []byte) ([]byte, error) {
			return make([]byte, maxBodyBytes+1), nil
		})
		b.Handle("waits", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for name, want := range map[string]string{
			"fails": "no coins left", "big": "at most", "rambles": strings.Repeat("é", maxErrorBytes/2),
		} {
			_, err := a.Call(t.Context(), "b", name, nil)
			var remote *RemoteError
			if !errors.As(err, &remote) || !strings.Contains(remote.Text, want) ||
				len(remote.Text) > maxErrorBytes {
				t.Errorf("%s: %v, want a remote error with %q", name, err, want)
			}
		}
		_, err := a.Call(t.Context(), "b", "nothing", nil)
		wantTransport(t, err, false)
		_, err = a.Call(t.Context(), "b", "", nil)
		wantTransport(t, err, false)
		_, err = a.Call(t.Context(), "b", "echo", make([]byte, maxBodyBytes+1))
		wantTransport(t, err, false)
		_, err = a.Call(t.Context(), "z", "echo", nil)
		wantTransport(t, err, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.Call(ctx, "b", "waits", nil)
		wantTransport(t, err, true)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
		began := time.Now()
		_, err = a.Call(t.Context(), "b", "waits", nil)
		if took := time.Since(began); took > defaultCallTime+time.Second {
			t.Errorf("a call without a deadline took %s", took)
		}
		if err == nil {
			t.Error("a call that nobody answers has an answer")
		}
		if w.dialed() != 1 {
			t.Errorf("%d connections were made, want 1", w.dialed())
		}
		echo(t, a, "b")
	})
}

// The other side's process ends in the middle of a call, and comes back.
func TestPeerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a := w.start("a", nil)
		cfg := w.config("b", nil)
		b := must(Start(cfg))
		began := make(chan struct{})
		b.Handle("waits", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		go func() { <-began; closeMesh(t, b) }()
		_, err := a.Call(t.Context(), "b", "waits", nil)
		wantTransport(t, err, true)
		_, err = a.Call(t.Context(), "b", "waits", nil)
		wantTransport(t, err, false)
		again := w.start("b", func(c *Config) { c.Host = cfg.Host })
		w.know(again)
		echo(t, a, "b")
	})
}

// Nothing arrives any more, and no error says so: the line is given up and the next one works.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a := w.start("a", nil)
		b := w.start("b", nil)
		echo(t, a, "b")
		time.Sleep(10 * silence) // quiet, but pinged
		echo(t, a, "b")
		if w.dialed() != 1 {
			t.Fatalf("%d connections, want 1: the quiet one was given up", w.dialed())
		}
		w.lose()
		began := time.Now()
		_, err := a.Call(t.Context(), "b", "echo", nil)
		wantTransport(t, err, true)
		if took := time.Since(began); took > silence+pingEvery {
			t.Errorf("noticed after %s", took)
		}
		echo(t, a, "b")
		synctest.Wait()
		if n := len(b.open()); n != 1 {
			t.Errorf("the other side has %d connections open, want 1", n)
		}
	})
}

// Many calls share one connection, each with its own answer; what is too much waits at the caller, and
// is turned away by the other side where a caller does not hold to the limit.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		var now, most atomic.Int64
		b.Handle("slow", func(_ context.Context, _ string, body []byte) ([]byte, error) {
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return body, nil
		})
		var all sync.WaitGroup
		for i := range 3 * maxCallsAtOnce {
			all.Go(func() {
				want := fmt.Sprint(i)
				got, err := a.Call(t.Context(), "b", "slow", []byte(want))
				if err != nil || string(got) != want {
					t.Errorf("%q, %v, want %s", got, err, want)
				}
			})
		}
		all.Wait()
		if most.Load() != maxCallsAtOnce || w.dialed() != 1 {
			t.Errorf("%d at once on %d connections, want %d on 1", most.Load(), w.dialed(), maxCallsAtOnce)
		}
	})
}

func TestTooManyAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		a, b := w.start("a", nil), w.start("b", nil)
		let := make(chan struct{})
		b.Handle("held", func(context.Context, string, []byte) ([]byte, error) { <-let; return nil, nil })
		const extra = 5
		var refused atomic.Int64
		var all sync.WaitGroup
		for range maxHeldBytes/maxBodyBytes + extra {
			all.Go(func() {
				_, err := a.Call(t.Context(), "b", "held", make([]byte, maxBodyBytes))
				if err != nil {
					wantTransport(t, err, false)
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if refused.Load() != extra {
			t.Errorf("%d calls were turned away, want %d", refused.Load(), extra)
		}
		close(let)
		all.Wait()
		if refused.Load() != extra {
			t.Errorf("%d calls were turned away in the end, want %d", refused.Load(), extra)
		}
		echo(t, a, "b")
	})
}

// Frames that make no sense end the connection, and nothing else.
func TestNonsenseFrames(t *testing.T) {
	for name, bad := range map[string][]byte{
		"too long":       {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"too short":      {0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"an answer":      encode(kindReply, 1),
		"an unknown one": encode(200, 1),
		"cut short":      encode(kindRequest, 1, []byte{0, 0}),
		"name cut short": encode(kindRequest, 1, []byte{0, 0, 0, 9, 40, 'a'}),
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t)
			a, b := w.start("a", nil), w.start("b", nil)
			c := must(b.dial(t.Context(), "a", protoCall))
			defer c.Close()
			_, _ = c.Write(bad)
			began := time.Now()
			if n, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: answered with %d bytes", name, n)
			}
			if took := time.Since(began); took >= silence {
				t.Errorf("%s: took %s to be refused", name, took)
			}
			echo(t, b, "a")
			echo(t, a, "b")
		})
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(request{left: time.Second, name: "echo", body: []byte("hi")}.encode(7))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, err := readFrame(bytes.NewReader(wire), 64)
		if err != nil {
			return
		}
		if back := encode(got.kind, got.call, got.rest); !bytes.HasPrefix(wire, back) {
			t.Fatalf("%x was read as %x", wire, back)
		}
		q, err := decodeRequest(got.rest)
		if err != nil {
			return
		}
		if len(q.name)+len(q.body)+requestHead != len(got.rest) || q.left > maxCallTime {
			t.Fatalf("%x was read as %+v", got.rest, q)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			w := newTown(b)
			w.real = true
			from := w.start("a", nil)
			w.start("b", nil)
			echo(b, from, "b")
			body := make([]byte, 300)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := from.Call(b.Context(), "b", "echo", body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
