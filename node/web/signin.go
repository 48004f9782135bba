package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// signInBody is what templates/signin/signin.html shows.
type signInBody struct {
	form
	Next string
}

// enterBody is what templates/signin/enter.html shows.
type enterBody struct{ CircleName, Aim string }

// expiredBody is what templates/signin/expired.html shows.
type expiredBody struct{ Happened string }

// welcomeBody is what templates/signin/welcome.html shows.
type welcomeBody struct {
	form
	CircleName, ShownName string
	Seen, Journey         bool
}

func (p *Pages) first(v *visit) error {
	if v.known {
		return v.seeOther("/coins")
	}
	return v.seeOther("/signin")
}

func (p *Pages) signIn(v *visit) error {
	if v.known {
		return v.seeOther("/coins")
	}
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return v.show(f.status, "signin/signin", "Sign in", wayBack{}, signInBody{
		form: f, Next: ourPage(v.r.URL.Query().Get("next")),
	})
}

// ourPage lets an address through only if it is a page of ours; empty otherwise.
func ourPage(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return ""
	}
	return next
}

// pasteLink signs in with a link that was pasted, whole or its secret alone.
func (p *Pages) pasteLink(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	secret := v.typed("link")
	if _, after, found := strings.Cut(secret, "/enter/"); found {
		secret = strings.TrimRight(after, "/ ")
	}
	next := ourPage(v.typed("next"))
	if secret != "" {
		return p.useLink(v, secret, next)
	}
	f, err := v.newForm()
	if err != nil {
		return err
	}
	f.refuse("link", "Paste the link you were given.")
	return v.show(f.status, "signin/signin", "Sign in", wayBack{}, signInBody{form: f, Next: next})
}

// showEnter greets whoever opens a link. It does not use the link up: programs that look at links before
// people do, such as a mail programme's, must not.
func (p *Pages) showEnter(v *visit) error {
	if err := v.meetCircle(); err != nil {
		return err
	}
	return v.show(http.StatusOK, "signin/enter", "Welcome", wayBack{}, enterBody{
		CircleName: v.about.Name, Aim: v.about.Aim,
	})
}

func (p *Pages) enter(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	return p.useLink(v, v.r.PathValue("secret"), "")
}

// useLink uses a link up and opens a session.
func (p *Pages) useLink(v *visit, secret, next string) error {
	token, person, until, err := p.cfg.Gate.Enter(v.r.Context(), secret)
	if e, ok := refusalOf(err); ok && strings.HasPrefix(e.Code, "link_") {
		if v.known && e.Code == "link_used" { // pressed twice: they are in
			return v.seeOther("/coins")
		}
		body := expiredBody{Happened: e.Message}
		return v.show(p.cfg.StatusOf(e.Code), "signin/expired", "This link does not work", wayBack{}, body)
	}
	if err != nil {
		return err
	}
	p.cfg.Gate.SetSession(v.w, v.r, token, until)
	v.by = machine.Caller{Actor: person}
	first, err := p.firstTime(v, token)
	switch {
	case err != nil:
		return err
	case first:
		next = "/welcome"
	case next == "":
		next = "/coins"
	}
	return v.seeOther(next)
}

// firstTime tells whether the session just opened is the person's first: they joined in the same command.
func (p *Pages) firstTime(v *visit, token string) (bool, error) {
	me, err := ask[member.Me](v, v.by, "member.me", nil)
	if err != nil {
		return false, err
	}
	lately, err := ask[member.Events](v, v.by, "member.events", nil)
	if err != nil {
		return false, err
	}
	session, _ := sessionWith(me, token)
	return slices.ContainsFunc(lately.Events, func(e member.Happened) bool {
		return e.Kind == "member.joined" && e.Subject == me.Person && e.At == session.Opened
	}), nil
}

// welcome asks a newcomer what they want to be called and who may see them.
func (p *Pages) welcome(v *visit) error {
	f, err := v.newForm()
	if err != nil {
		return err
	}
	return p.showWelcome(v, welcomeBody{
		form: f, ShownName: v.me.Name, Seen: v.me.Seen,
		Journey: v.me.Journey,
	})
}

func (p *Pages) showWelcome(v *visit, b welcomeBody) error {
	if err := v.meetCircle(); err != nil {
		return err
	}
	b.CircleName = v.about.Name
	return v.show(b.status, "signin/welcome", "Welcome", wayBack{}, b)
}

func (p *Pages) signOut(v *visit) error {
	if token, _, ok := v.session(); ok {
		if err := p.cfg.Gate.SignOut(context.WithoutCancel(v.r.Context()), token); err != nil {
			return err
		}
	}
	p.cfg.Gate.ClearSession(v.w, v.r)
	v.by = machine.Caller{}
	return v.done("/signin", "out")
}
