// Package auth is the gate of a node: it finds out who is asking, opens and closes sessions, checks passkeys
// and one-time links, and keeps strangers' requests in bounds. It is the only place that sets a command's
// actor. Mount it as gate.Identify(gate.Protect(pages)).
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"github.com/carecircle/carecircle/circle/machine"
)

// Limits of the gate.
const (
	SessionLife  = 12 * time.Hour  // how long one sign-in lasts
	CeremonyLife = 5 * time.Minute // how long a device may take over a passkey

	MaxBodyBytes   = 64 << 10 // of a request to the gate, and of a form that names whom it is for
	MaxCeremonies  = 1000     // passkeys being made or checked at one time; the oldest gives way
	MaxTracked     = 10_000   // addresses, and as many actors, whose rate is remembered
	maxTokenBytes  = 128
	maxSecretBytes = 256
	maxPersonBytes = 64

	// Requests a second and at once: of an address not signed in, of one signed in, and to sign in.
	strangerPerSecond, strangerBurst = 10, 100
	memberPerSecond, memberBurst     = 50, 500
	attemptEvery, attemptBurst       = 5 * time.Second, 30
)

// Circle is the running circle.
type Circle interface {
	// Do has a command decided; id, caller, kind and body are set, the time is stamped behind it. A refusal
	// is in the outcome; an error says that it is not known whether the command was done.
	Do(ctx context.Context, c machine.Command) (machine.Outcome, error)
	// View asks the circle a question. set receives a pointer to the view's query.
	View(ctx context.Context, by machine.Caller, name string, set func(query any) error) (any, error)
}

// Config is what a Gate is made from.
type Config struct {
	Circle        Circle
	Origin        string           // where people reach the node: https://hb.example, http://localhost:7001
	Name          string           // the circle's name as devices show it; empty: the origin's host
	OperatorToken machine.Hash     // HashToken of the operator's token; zero: nobody signs in as operator
	Now           func() time.Time // nil: time.Now
	Log           *slog.Logger     // nil: nothing is logged. It is never given tokens or names
	Failed        func()           // called for every sign-in that does not succeed; nil: nothing is
}

// Gate signs people in and says who is asking. It may be used by many goroutines at once.
type Gate struct {
	circle   Circle
	operator machine.Hash
	now      func() time.Time
	log      *slog.Logger
	failed   func()
	secure   bool   // cookies travel over https only
	port     string // "-7001": of an http origin that names one

	passkeys    *webauthn.WebAuthn // nil where the origin cannot have any
	crossOrigin *http.CrossOriginProtection
	strangers   *limiter
	members     *limiter
	attempts    *limiter

	mu         sync.Mutex
	ceremonies *recent[ceremony]
}

func portOf(origin *url.URL) string {
	if p := origin.Port(); p != "" {
		return "-" + p
	}
	return ""
}

// New makes a Gate. It fails on an origin that would send sessions over an open network in clear text.
func New(cfg Config) (*Gate, error) {
	if cfg.Circle == nil {
		return nil, errors.New("make gate: there is no circle")
	}
	origin, err := parseOrigin(cfg.Origin)
	if err != nil {
		return nil, fmt.Errorf("make gate: %w", err)
	}
	if cfg.Name == "" {
		cfg.Name = origin.Hostname()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Failed == nil {
		cfg.Failed = func() {}
	}
	g := &Gate{
		circle: cfg.Circle, operator: cfg.OperatorToken, now: cfg.Now, log: cfg.Log, failed: cfg.Failed,
		secure:     origin.Scheme == "https",
		port:       portOf(origin),
		strangers:  newLimiter(strangerPerSecond, strangerBurst),
		members:    newLimiter(memberPerSecond, memberBurst),
		attempts:   newLimiter(1/attemptEvery.Seconds(), attemptBurst),
		ceremonies: newRecent[ceremony](MaxCeremonies),
	}
	g.crossOrigin = http.NewCrossOriginProtection()
	if err := g.crossOrigin.AddTrustedOrigin(originText(origin)); err != nil {
		return nil, fmt.Errorf("make gate: trust own origin: %w", err)
	}
	g.crossOrigin.SetDenyHandler(http.HandlerFunc(g.denyCrossSite))
	if net.ParseIP(origin.Hostname()) == nil { // a passkey belongs to a name, never to an address
		if g.passkeys, err = newPasskeys(origin, cfg.Name); err != nil {
			return nil, fmt.Errorf("make gate: %w", err)
		}
	}
	return g, nil
}

func parseOrigin(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Path != "" && u.Path != "/") || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("%.100q is not an origin: write it as https://hb.example", text)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("origin %.100q is neither https nor this machine's own http://localhost:"+
			" sessions would travel in clear text", text)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func originText(u *url.URL) string { return u.Scheme + "://" + u.Host }

// do has the node itself do a command and returns its result, or its refusal as the error.
func do[R any](ctx context.Context, g *Gate, kind string, body any) (R, error) {
	var none R
	id, err := uuid.NewV7()
	if err != nil {
		return none, fmt.Errorf("%s: make id: %w", kind, err)
	}
	c, err := machine.NewCommand(machine.ID(id), machine.Caller{Actor: machine.ActorNode}, 0, kind, body)
	if err != nil {
		return none, err
	}
	out, err := g.circle.Do(ctx, c)
	if err != nil {
		return none, fmt.Errorf("%s: %w", kind, err)
	}
	if out.Refusal != nil {
		return none, out.Refusal
	}
	result, ok := out.Result.(R)
	if !ok {
		return none, fmt.Errorf("%s: the result is a %T, not a %T", kind, out.Result, none)
	}
	return result, nil
}

// ask has the node itself read a view.
func ask[Q, A any](ctx context.Context, g *Gate, name string, query Q) (A, error) {
	var none A
	set := func(q any) error {
		p, ok := q.(*Q)
		if !ok {
			return fmt.Errorf("the query is a %T, not a %T", q, p)
		}
		*p = query
		return nil
	}
	got, err := g.circle.View(ctx, machine.Caller{Actor: machine.ActorNode}, name, set)
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	answer, ok := got.(A)
	if !ok {
		return none, fmt.Errorf("%s: the answer is a %T, not a %T", name, got, none)
	}
	return answer, nil
}
