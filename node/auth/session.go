package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

const cookieName = "carecircle"

// Enter uses up a one-time link and opens a session. It returns the session's token, the person and when the
// session ends. The error is a machine refusal (link_unknown, link_used, link_expired), TooMany, or says that
// the circle could not be asked.
func (g *Gate) Enter(ctx context.Context, linkSecret string) (
	token, person string, until time.Time, err error,
) {
	defer func() { g.tried(err) }()
	if err := g.attempt(ctx); err != nil {
		return "", "", until, err
	}
	if linkSecret == "" || len(linkSecret) > maxSecretBytes {
		return "", "", until, machine.Refuse("link_unknown", "This link is not one of this circle's."+
			" Ask your circle for a new one.")
	}
	token, session, err := NewSecret()
	if err != nil {
		return "", "", until, err
	}
	until = g.sessionEnd()
	made, err := do[member.Made](ctx, g, "member.enter", member.Enter{
		Link: HashLink(linkSecret), Session: session, Until: until.UnixMilli(),
	})
	if err != nil {
		return "", "", time.Time{}, err
	}
	return token, made.Person, until, nil
}

// SignOut closes the session of a token. A token that has no session is fine: signing out twice is.
func (g *Gate) SignOut(ctx context.Context, token string) error {
	_, err := do[machine.None](ctx, g, "member.signout", member.CloseSession{Session: HashToken(token)})
	return err
}

// sessionEnd is when a session opened now ends, in whole milliseconds as the circle keeps it.
func (g *Gate) sessionEnd() time.Time { return g.now().Add(SessionLife).Truncate(time.Millisecond) }

// SetSession gives the browser the session's cookie.
func (g *Gate) SetSession(w http.ResponseWriter, _ *http.Request, token string, until time.Time) {
	http.SetCookie(w, g.cookie(g.sessionCookie(), token, until.Sub(g.now())))
}

// ClearSession takes the session's cookie away from the browser.
func (g *Gate) ClearSession(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, g.cookie(g.sessionCookie(), "", -time.Second))
}

func (g *Gate) sessionCookie() string  { return g.cookieName("") }
func (g *Gate) ceremonyCookie() string { return g.cookieName("-passkey") }

// cookieName has the prefix that makes browsers refuse the cookie from anyone but this very host, where
// https allows it. Over http it has the port: browsers send cookies to every port of a host, and several
// circles may be open on one machine.
func (g *Gate) cookieName(suffix string) string {
	if g.secure {
		return "__Host-" + cookieName + suffix
	}
	return cookieName + g.port + suffix
}

func (g *Gate) cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: g.secure, SameSite: http.SameSiteLaxMode,
	}
}
