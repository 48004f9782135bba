package auth

import (
	"net/http"
	"time"
)

// Route is one address of the gate, in the form of http.ServeMux patterns.
type Route struct {
	Pattern string
	Handler http.HandlerFunc
}

// Entered is the answer to a used link: the token goes into "Authorization: Bearer TOKEN".
type Entered struct {
	Token  string    `json:"token"`
	Person string    `json:"person"`
	Until  time.Time `json:"until"`
}

// SignedIn is the answer to a checked passkey; the session itself is in the cookie.
type SignedIn struct {
	Person string    `json:"person"`
	Until  time.Time `json:"until"`
	Next   string    `json:"next"` // the page to go to
}

// Kept is the answer to a new passkey.
type Kept struct {
	Next string `json:"next"` // the page to go to
}

// Handlers lists the gate's own addresses, for the node to mount behind Identify and Protect. Bodies and
// answers are JSON; an error is {"code","message"} with the status of StatusOf.
func (g *Gate) Handlers() []Route {
	return []Route{
		{"POST /signin/passkey/begin", g.handle(g.beginSignIn)},
		{"POST /signin/passkey/finish", g.handle(g.finishSignIn)},
		{"POST /me/passkeys/begin", g.handle(g.beginPasskey)},
		{"POST /me/passkeys/finish", g.handle(g.finishPasskey)},
		{"POST /api/v1/enter", g.handle(g.enter)},
		{"POST /api/v1/signout", g.handle(g.signOut)},
	}
}

// handle makes a handler of a function that returns what to answer. Its errors are always JSON.
func (g *Gate) handle(fn func(w http.ResponseWriter, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r = withClient(r)
		body, err := fn(w, r)
		if err != nil {
			g.refuseAs(w, r, err, true)
			return
		}
		g.answer(w, r, http.StatusOK, body)
	}
}

func (g *Gate) enter(w http.ResponseWriter, r *http.Request) (any, error) {
	var body struct {
		Link string `json:"link"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	token, person, until, err := g.Enter(r.Context(), body.Link)
	if err != nil {
		return nil, err
	}
	return Entered{Token: token, Person: person, Until: until}, nil
}

func (g *Gate) signOut(w http.ResponseWriter, r *http.Request) (any, error) {
	if token, _ := g.tokenOf(r); token != "" {
		if err := g.SignOut(r.Context(), token); err != nil {
			return nil, err
		}
	}
	g.ClearSession(w, r)
	return struct{}{}, nil
}
