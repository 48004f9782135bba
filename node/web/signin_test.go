package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/api"
)

func TestStrangersAreSentToSignIn(t *testing.T) {
	s := story(t)
	v := s.stranger()
	for _, path := range append(memberPages, "/circle/coordinate", "/circle/allies", "/coins/done",
		"/pictures/0192f3a1-7c2e-7b11-9d35-5f0c6c1f2a01") {
		got := v.get(path)
		got.leads(t, "/signin?next=")
		if next, _ := url.QueryUnescape(strings.TrimPrefix(got.location, "/signin?next=")); next != path {
			t.Errorf("%s: after signing in they would go to %s", path, next)
		}
	}
	before := s.position()
	for _, path := range []string{
		"/signout", "/coins/give", "/coins/pay", "/coins/abroad", "/coins/autogift", "/coins/code",
		"/circle/coordinate",
		"/circle/allies/meet", "/circle/allies/consent", "/me/choose", "/me/passkeys/remove",
		"/me/sessions/close",
	} {
		v.post(path, url.Values{"id": {"0192f3a1-7c2e-7b11-9d35-5f0c6c1f2a01"}}).leads(t, "/signin")
	}
	v.get("/").leads(t, "/signin")
	if s.position() != before {
		t.Error("a stranger's form became a command")
	}
}

func (s *site) position() uint64 {
	return view[member.AboutCircle](s.town, "operator", "member.circle").Position
}

func TestHeaders(t *testing.T) {
	s := story(t)
	for _, got := range []answer{
		s.stranger().get("/signin"), s.signedIn("Alice").get("/coins"), s.stranger().get("/nowhere"),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';" +
				" img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self';" +
				" base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cache-Control": "no-store",
			"Content-Type":  "text/html; charset=utf-8",
		} {
			if got := got.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

func TestFirstVisit(t *testing.T) {
	s := story(t)
	v := s.stranger()
	secret := s.invite("Łukasz")
	for range 3 { // programs that look at a link must not use it up
		v.get("/enter/"+secret).says(t, http.StatusOK, "Welcome to Hebden Bridge care circle", "Come in")
	}
	v.post("/enter/"+secret, nil).leads(t, "/welcome")
	fields := v.form("/welcome", "shownName")
	empty := v.post("/me/choose", with(fields, "shownName", "", "seen", "yes"))
	empty.says(t, http.StatusUnprocessableEntity, "Please check these", "Fill in the name",
		"Welcome to Hebden")
	fields = hidden(t, empty.body, "shownName")
	v.post("/me/choose", with(fields, "shownName", "Lukasz", "seen", "yes")).leads(t, "/me?offer=")
	me := view[member.Me](s.town, "Łukasz", "member.me")
	if me.Name != "Lukasz" || !me.Seen || me.Journey {
		t.Errorf("chosen: %+v", me)
	}
	v.post("/enter/"+secret, nil).leads(t, "/coins") // pressed twice
	s.stranger().post("/enter/"+secret, nil).says(t, http.StatusUnprocessableEntity, "was used before",
		"new one")
	s.stranger().post("/enter/nonsense", nil).says(t, http.StatusNotFound, "not one of this circle's")
	s.signedIn("Łukasz").get("/").leads(t, "/coins")
}

func TestPastedLink(t *testing.T) {
	s := story(t)
	paste := func(link, next string) answer {
		v := s.stranger()
		return v.post("/signin/link", with(v.form("/signin", "link"), "link", link, "next", next))
	}
	paste(" https://hb.example/enter/"+s.link("Wendy")+"/ ", "").leads(t, "/coins")
	paste(strings.ToUpper(s.link("Wendy")), "/circle").leads(t, "/circle")
	paste(s.link("Wendy"), "//evil.example/").leads(t, "/coins")
	paste("", "").says(t, http.StatusUnprocessableEntity, "Please check these",
		"Paste the link you were given")
	paste("https://hb.example/enter/xyz", "").says(t, http.StatusNotFound, "This link does not work")
}

func TestSignOut(t *testing.T) {
	s := story(t)
	v, other := s.signedIn("Wendy"), s.signedIn("Wendy")
	v.post("/signout", nil).leads(t, "/signin?done=out")
	v.get("/coins").leads(t, "/signin")
	v.get("/signin?done=out").says(t, http.StatusOK, "You are signed out")
	if got := other.get("/coins"); got.status != http.StatusOK {
		t.Error("signing out here signed out elsewhere")
	}
}

func TestSettings(t *testing.T) {
	s := story(t)
	v, second, third := s.signedIn("Wendy"), s.signedIn("Wendy"), s.signedIn("Wendy")
	fields := with(v.form("/me", "shownName"), "shownName", "Wendy B", "journey", "yes")
	v.post("/me/choose", fields).leads(t, "/me?done=chosen")
	v.post("/me/choose", fields).leads(t, "/me?done=chosen") // the same form twice
	v.get("/me?done=chosen").says(t, http.StatusOK, "Your choices are saved", "Where I am signed in")
	me := view[member.Me](s.town, "Wendy", "member.me")
	if me.Name != "Wendy B" || me.Seen || !me.Journey {
		t.Errorf("chosen: %+v", me)
	}
	v.post("/me/choose", with(v.form("/me", "shownName"), "shownName", strings.Repeat("W", 51))).
		says(t, http.StatusUnprocessableEntity, "at most 50 fit")
	session := second.form("/me", "session")
	second.post("/me/sessions/close", session).leads(t, "/me?done=closed")
	if s.open(v, second, third) != 2 {
		t.Error("closing one session did not close one")
	}
	v = s.signedIn("Wendy")
	v.post("/me/sessions/close", url.Values{"all": {"yes"}}).leads(t, "/me?done=closed")
	if s.open(v) != 1 || s.open(second, third) != 0 {
		t.Error("closing all others did not leave this one alone")
	}
}

func (s *site) open(visitors ...*visitor) (open int) {
	for _, v := range visitors {
		if v.get("/coins").status == http.StatusOK {
			open++
		}
	}
	return open
}

func TestRemovePasskey(t *testing.T) {
	s := story(t)
	for _, name := range []string{"My tablet", "My phone"} {
		s.must("node", "member.passkey-add", member.AddPasskey{
			Person: s.people["Wendy"], ID: []byte(name), Name: machine.Text("", name),
			Stored: machine.Text("", "key"),
		})
	}
	v := s.signedIn("Wendy")
	fields := v.form("/me", "My tablet")
	v.post("/me/passkeys/remove", fields).leads(t, "/me?done=passkey-off")
	v.post("/me/passkeys/remove", fields).leads(t, "/me?done=passkey-off")
	if got := v.get("/me"); strings.Contains(got.body, "My tablet") || !strings.Contains(got.body,
		"My phone") {
		t.Error("the wrong passkey was removed, or none")
	}
	id, err := api.NewID()
	if err != nil {
		t.Fatal(err)
	}
	s.signedIn("Alice").post("/me/passkeys/remove", with(fields, "passkey", "TXkgcGhvbmU", "id",
		id.String())).
		says(t, http.StatusNotFound, "no such passkey")
}
