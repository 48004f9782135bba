package auth_test

import (
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/auth"
)

const form = "application/x-www-form-urlencoded"

func TestTokens(t *testing.T) {
	h := newHouse(t, origin)
	asha, ben := h.token(h.asha), h.token(h.ben)
	for name, c := range map[string]struct {
		authorization, cookie string
		want                  string // the actor; empty: a stranger
	}{
		"nothing":            {},
		"bearer":             {authorization: "Bearer " + asha, want: h.asha},
		"any capitals":       {authorization: "bEARER " + asha, want: h.asha},
		"cookie":             {cookie: asha, want: h.asha},
		"bearer goes first":  {authorization: "Bearer " + ben, cookie: asha, want: h.ben},
		"operator":           {authorization: "Bearer " + theSecrets, want: machine.ActorOperator},
		"operator by cookie": {cookie: theSecrets},
		"not a bearer":       {authorization: "Basic " + asha},
		"a person's id":      {cookie: h.asha},
		"a hash":             {cookie: auth.HashToken(asha).String()},
		"very long":          {cookie: strings.Repeat(asha, 10)},
	} {
		b := h.browser()
		if c.cookie != "" {
			b.cookies["__Host-carecircle"] = c.cookie
		}
		got := b.send("GET", "/", nil, "Authorization", c.authorization).who()
		if got != (who{Known: c.want != "", Actor: c.want}) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
	b := h.browser()
	// the name used over http: another port of this host could have set it
	b.cookies["carecircle-7001"] = asha
	if got := b.send("GET", "/", nil).who(); got.Known {
		t.Errorf("a cookie without the __Host- prefix: %+v", got)
	}
}

func TestNoOperatorWithoutToken(t *testing.T) {
	h := newHouse(t, origin)
	gate, err := auth.New(auth.Config{Circle: h.circle, Origin: origin, Now: h.clock.Now})
	check(t, err)
	h.front = gate.Identify(h.front)
	for _, token := range []string{"", " ", theSecrets, machine.Hash{}.String()} {
		h.browser().send("GET", "/api/v1/x", nil, "Authorization", "Bearer "+token).
			refused(401, "not_signed_in")
	}
}

func TestActorCannotBeForged(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.asha)
	reserved := []string{
		"circle", "operator", "node", "peer/c2", h.ben + "\x00x", "Operator", strings.Repeat("p", 65),
	}
	for _, name := range reserved {
		b.send("GET", "/api/v1/x", nil, auth.OnBehalfHeader, name).refused(404, "person_unknown")
		b.send("POST", "/page", "for="+name, "Content-Type", form, "Accept", "application/json").
			refused(404, "person_unknown")
		h.browser().send("GET", "/api/v1/x", nil, "Authorization", "Bearer "+name).
			refused(401, "not_signed_in")
		got := b.send("GET", "/?actor=node", nil, "X-Actor", name, "Actor", name,
			"X-Forwarded-User", name).who()
		if got != (who{Known: true, Actor: h.asha}) {
			t.Errorf("headers that name %q: %+v", name, got)
		}
		got = h.browser().send("GET", "/", nil, auth.OnBehalfHeader, name).who()
		if got.Known {
			t.Errorf("a stranger for %q: %+v", name, got)
		}
	}
	for _, body := range []string{
		`{"link":"x","actor":"operator"}`, `{"link":"x","Actor":"node"}`, `{"link":"x","session":"00"}`,
		`{"link":"x","person":"` + h.ben + `"}`, `{"link":"x"}{}`, `[]`, `{`,
	} {
		h.browser().send("POST", "/api/v1/enter", body).refused(422, "bad_body")
	}
	for _, c := range h.circle.done {
		if c.Actor != machine.ActorOperator && c.Actor != machine.ActorNode {
			t.Errorf("the gate did %s as %q", c.Kind, c.Actor)
		}
	}
}

func TestOnBehalf(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.ben)
	forAsha := who{Known: true, Actor: h.ben, For: h.asha}
	for name, a := range map[string]answer{
		"header in the API": b.send("GET", "/api/v1/x", nil, auth.OnBehalfHeader, h.asha),
		"header on a page":  b.send("GET", "/page", nil, auth.OnBehalfHeader, h.asha),
		"address":           b.send("GET", "/page?for="+h.asha, nil),
		"form":              b.send("POST", "/page", "for="+h.asha, "Content-Type", form+"; a=b"),
		"address and form":  b.send("POST", "/page?for="+h.asha, "for="+h.asha, "Content-Type", form),
		"one left empty":    b.send("POST", "/page?for="+h.asha, "for=", "Content-Type", form),
	} {
		if got := a.who(); got != forAsha {
			t.Errorf("%s: %+v", name, got)
		}
	}
	own := who{Known: true, Actor: h.ben}
	for name, a := range map[string]answer{
		"the API's own query": b.send("GET", "/api/v1/x?for="+h.asha, nil),
		"for oneself":         b.send("GET", "/page?for="+h.ben, nil),
		"JSON is no form":     b.send("POST", "/page", `{"for":"`+h.asha+`"}`, "Content-Type", "text/json"),
	} {
		if got := a.who(); got != own {
			t.Errorf("%s: %+v", name, got)
		}
	}
	b.send("POST", "/page?for="+h.asha, "for="+h.ben, "Content-Type", form, "Accept", "application/json").
		refused(400, "bad_request")
	b.send("POST", "/page", "for="+strings.Repeat("a", auth.MaxBodyBytes), "Content-Type", form,
		"Accept", "application/json").refused(413, "too_large")
}

// The gate only says for whom; the circle says whether.
func TestLeaveIsTheCirclesToGive(t *testing.T) {
	h := newHouse(t, origin)
	h.token(h.ben)
	acting := machine.Caller{Actor: h.ben, OnBehalfOf: h.asha}
	if _, err := h.circle.View(t.Context(), acting, "member.me", nil); codeOf(err) != "may_not_act" {
		t.Errorf("without leave: %v", err)
	}
	h.must("member.acting-allow", member.AllowActing{Person: h.asha, Advocate: h.ben})
	if _, err := h.circle.View(t.Context(), acting, "member.me", nil); err != nil {
		t.Errorf("with leave: %v", err)
	}
}
