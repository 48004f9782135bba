package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// OnBehalfHeader names, on a request to the API, the person acted for. Pages use ForField.
const OnBehalfHeader = "Carecircle-On-Behalf-Of"

// ForField is the query parameter or form field that names, on a page, the person acted for. It is part of
// the page's address so that two open pages can be for two people; a cookie could not tell them apart.
const ForField = "for"

const apiPrefix = "/api/"

type callerKey struct{}

// CallerFrom returns who is asking; false for a stranger.
func CallerFrom(ctx context.Context) (machine.Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(machine.Caller)
	return c, ok
}

// Identify finds out who is asking, from the session cookie or from "Authorization: Bearer TOKEN", and hands
// it on in the context. The operator comes by bearer token only: a browser never carries that one. A session
// that ended leaves the caller a stranger and its cookie cleared; an unknown bearer token is answered with
// 401. Whether the caller may act for whom it names is for the circle to check.
func (g *Gate) Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = withClient(r)
		caller, ok, err := g.identify(w, r)
		if err != nil {
			g.refuse(w, r, err)
			return
		}
		if ok {
			r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Gate) identify(w http.ResponseWriter, r *http.Request) (caller machine.Caller, ok bool, err error) {
	token, bearer := g.tokenOf(r)
	if token == "" && !bearer {
		return caller, false, nil
	}
	caller.Actor, err = g.actorOf(r.Context(), token, bearer)
	if err != nil {
		return caller, false, fmt.Errorf("identify: %w", err)
	}
	switch {
	case caller.Actor != "":
		caller.OnBehalfOf, err = actedFor(w, r, caller.Actor)
		return caller, err == nil, err
	case bearer:
		g.failed()
		if err := g.attempts.take("bearer "+clientFrom(r.Context()), g.now()); err != nil {
			return caller, false, err
		}
		return caller, false, machine.Refuse("not_signed_in", "This token is not known here, or its session"+
			" has ended. Sign in again.")
	default:
		g.ClearSession(w, r)
		return caller, false, nil
	}
}

// tokenOf returns the token a request carries. A bearer token goes before the cookie.
func (g *Gate) tokenOf(r *http.Request) (token string, bearer bool) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), true
	}
	if cookie, err := r.Cookie(g.sessionCookie()); err == nil {
		return cookie.Value, false
	}
	return "", false
}

// actorOf returns whose token it is; empty for nobody's.
func (g *Gate) actorOf(ctx context.Context, token string, bearer bool) (string, error) {
	if token == "" || len(token) > maxTokenBytes {
		return "", nil
	}
	hash := HashToken(token)
	if bearer && g.operator != (machine.Hash{}) && subtle.ConstantTimeCompare(hash[:], g.operator[:]) == 1 {
		return machine.ActorOperator, nil
	}
	query := member.SessionQuery{Session: hash}
	got, err := ask[member.SessionQuery, member.SignedIn](ctx, g, "member.session", query)
	if err != nil || !isPerson(got.Person) {
		return "", err
	}
	return got.Person, nil
}

// actedFor returns whom the actor names to act for; empty for itself. The header counts everywhere, the
// query and the form on pages only: in the API they belong to the view or command.
func actedFor(w http.ResponseWriter, r *http.Request, actor string) (string, error) {
	named := r.Header.Values(OnBehalfHeader)
	if !strings.HasPrefix(r.URL.Path, apiPrefix) {
		form, err := formOf(w, r)
		if err != nil {
			return "", err
		}
		named = append(append(named, r.URL.Query()[ForField]...), form...)
	}
	person := ""
	for _, name := range named {
		switch {
		case name == "" || name == person:
		case person != "":
			return "", machine.Refuse("bad_request", "The request names two people it is for. Name one.")
		case !isPerson(name):
			return "", machine.Refuse("person_unknown", "%.60q is nobody in this circle."+
				" Choose a member.", name)
		default:
			person = name
		}
	}
	if person == actor {
		return "", nil
	}
	return person, nil
}

// formOf returns whom a form of plain fields is for. A form with files names them in its address instead.
func formOf(w http.ResponseWriter, r *http.Request) ([]string, error) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method != http.MethodPost || strings.TrimSpace(kind) != "application/x-www-form-urlencoded" {
		return nil, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, MaxBodyBytes)
	if err := r.ParseForm(); err != nil {
		return nil, badBody(err)
	}
	return r.PostForm[ForField], nil
}

// isPerson tells whether text can be a person's id: neither a reserved actor nor another circle.
func isPerson(id string) bool {
	if id == "" || len(id) > maxPersonBytes {
		return false
	}
	for _, b := range []byte(id) {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			return false
		}
	}
	return id != machine.ActorCircle && id != machine.ActorNode && id != machine.ActorOperator
}

// badBody puts into words why a request's body could not be read.
func badBody(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return machine.Refuse("too_large", "The request is over %d KB. Send less at once.", large.Limit>>10)
	}
	return machine.Refuse("bad_body", "The request could not be read. Load the page again and retry.")
}
