package auth

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/carecircle/carecircle/circle/machine"
)

// TooMany is the error of who asks too often.
type TooMany struct {
	Wait time.Duration // until the next request is welcome
}

// Error implements error.
func (e TooMany) Error() string { return "too many requests" }

// Refusal gives the error's code and sentence to machine.AsError.
func (e TooMany) Refusal() (code, message string) {
	unit := "seconds"
	if e.Seconds() == 1 {
		unit = "second"
	}
	return "too_many_requests", fmt.Sprintf("That was too much at once. Please try again in %d %s.",
		e.Seconds(), unit)
}

// Seconds is the wait in whole seconds, rounded up: the Retry-After header.
func (e TooMany) Seconds() int { return max(1, int(math.Ceil(e.Wait.Seconds()))) }

// Protect refuses what another site's page makes a browser send, and who asks too often: per address for
// strangers, per actor for those signed in. The operator, who holds the machine, has no limit. Mount it
// inside Identify, or everyone counts as a stranger.
func (g *Gate) Protect(next http.Handler) http.Handler {
	next = g.crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = withClient(r)
		caller, known := CallerFrom(r.Context())
		var err error
		switch {
		case !known:
			err = g.strangers.take(clientFrom(r.Context()), g.now())
		case caller.Actor != machine.ActorOperator:
			err = g.members.take(caller.Actor, g.now())
		}
		if err != nil {
			g.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Gate) denyCrossSite(w http.ResponseWriter, r *http.Request) {
	g.refuse(w, r, machine.Refuse("cross_site", "This came from another site's page. Open the circle's own"+
		" page and do it there."))
}

// attempt counts one try at signing in. Calls from inside the process carry no address and are not counted.
func (g *Gate) attempt(ctx context.Context) error {
	client := clientFrom(ctx)
	if client == "" {
		return nil
	}
	return g.attempts.take(client, g.now())
}

// tried counts a sign-in that has failed.
func (g *Gate) tried(err error) {
	if err != nil {
		g.failed()
	}
}

// limiter keeps a token bucket per key, for the keys used last.
type limiter struct {
	perSecond rate.Limit
	burst     int
	mu        sync.Mutex
	buckets   *recent[*rate.Limiter]
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{
		perSecond: rate.Limit(perSecond), burst: burst, buckets: newRecent[*rate.Limiter](MaxTracked),
	}
}

// take counts one request; its error is TooMany.
func (l *limiter) take(key string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.buckets.get(key)
	if !ok {
		bucket = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets.put(key, bucket)
	}
	turn := bucket.ReserveN(now, 1)
	if wait := turn.DelayFrom(now); wait > 0 {
		turn.CancelAt(now)
		return TooMany{Wait: wait}
	}
	return nil
}

type clientKey struct{}

// withClient notes where a request comes from, for the rate limits.
func withClient(r *http.Request) *http.Request {
	if clientFrom(r.Context()) != "" {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), clientKey{}, clientOf(r)))
}

func clientFrom(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}

// clientOf returns whose rate a stranger's request counts towards: the address, or in IPv6, where one home
// has very many, the network. What is forwarded from this same machine counts for the address that the
// forwarding server saw, which is the last one it names; no other word on addresses is believed.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if forwarded := r.Header.Values("X-Forwarded-For"); ip.IsLoopback() && len(forwarded) > 0 {
		last := forwarded[len(forwarded)-1]
		last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		if seen, err := netip.ParseAddr(last); err == nil {
			ip = seen
		}
	}
	ip = ip.Unmap().WithZone("")
	if network, err := ip.Prefix(64); ip.Is6() && err == nil {
		return network.String()
	}
	return ip.String()
}
