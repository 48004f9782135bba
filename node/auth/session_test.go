package auth_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/auth"
)

func TestLinksOpenOnce(t *testing.T) {
	h := newHouse(t, origin)
	b := h.browser()
	used := h.link(h.asha)
	var entered auth.Entered
	b.send("POST", "/api/v1/enter", map[string]string{"link": used}).into(&entered)
	if entered.Person != h.asha || !entered.Until.Equal(h.clock.Now().Add(auth.SessionLife)) {
		t.Fatalf("entered %+v", entered)
	}
	if got := b.send("GET", "/", nil, "Authorization", "Bearer "+entered.Token).who(); got.Actor != h.asha {
		t.Fatalf("the token is %q's, want Asha's", got.Actor)
	}
	b.send("POST", "/api/v1/enter", map[string]string{"link": used}).refused(422, "link_used")

	old := h.link(h.asha)
	h.clock.pass(time.Hour)
	b.send("POST", "/api/v1/enter", map[string]string{"link": old}).refused(422, "link_expired")

	never, _, err := auth.NewSecret()
	check(t, err)
	b.send("POST", "/api/v1/enter", map[string]string{"link": never}).refused(404, "link_unknown")
	b.send("POST", "/api/v1/enter", map[string]string{}).refused(404, "link_unknown")
	b.send("POST", "/api/v1/enter", map[string]string{"link": strings.Repeat("a", 300)}).
		refused(404, "link_unknown")
	for _, secret := range []string{used, old, never, entered.Token} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds a secret:\n%s", h.log.String())
		}
	}
}

func TestLinkFromPaper(t *testing.T) {
	h := newHouse(t, origin)
	secret := h.link(h.asha)
	if len(secret) != 32 || auth.Grouped(secret) != strings.Join(fours(secret), "-") {
		t.Fatalf("secret %q is written %q", secret, auth.Grouped(secret))
	}
	asRead := strings.ToUpper(strings.ReplaceAll(auth.Grouped(secret), "-", " - "))
	asRead = strings.NewReplacer("O", "0", "L", "1", "B", "8").Replace(asRead)
	if _, person, _, err := h.gate.Enter(t.Context(), " "+asRead+"\n"); err != nil || person != h.asha {
		t.Fatalf("a link read from paper: %q, %v", person, err)
	}
}

func fours(s string) (out []string) {
	for ; s != ""; s = s[4:] {
		out = append(out, s[:4])
	}
	return out
}

func TestOneOfManyWhoUseALinkGetsIn(t *testing.T) {
	h := newHouse(t, origin)
	secret := h.link(h.asha)
	var wg sync.WaitGroup
	codes := make([]string, 16)
	for i := range codes {
		wg.Go(func() {
			_, _, _, err := h.gate.Enter(t.Context(), secret)
			codes[i] = codeOf(err)
		})
	}
	wg.Wait()
	in := 0
	for _, code := range codes {
		switch code {
		case "":
			in++
		case "link_used":
		default:
			t.Errorf("code %q", code)
		}
	}
	if in != 1 {
		t.Errorf("%d got in with one link", in)
	}
}

func TestOnlyHashesAreKept(t *testing.T) {
	h := newHouse(t, origin)
	secret := h.link(h.asha)
	token, _, _, err := h.gate.Enter(t.Context(), secret)
	check(t, err)
	if token == secret {
		t.Fatal("the session's token is the link's secret")
	}
	session, link := auth.HashToken(token), auth.HashLink(secret)
	if !h.circle.holds(session[:]) || !h.circle.holds(link[:]) {
		t.Error("the circle does not hold the hashes, so this test looks in the wrong place")
	}
	if h.circle.holds([]byte(token)) || h.circle.holds([]byte(secret)) {
		t.Error("the circle holds a secret in clear")
	}
}

func TestSessionsEnd(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.asha)
	token := b.cookies["__Host-carecircle"]
	h.clock.pass(auth.SessionLife - time.Millisecond)
	if got := b.send("GET", "/", nil).who(); got.Actor != h.asha {
		t.Fatalf("before its end the session is %+v", got)
	}
	h.clock.pass(time.Millisecond)
	if got := b.send("GET", "/", nil).who(); got.Known {
		t.Fatalf("after its end the session is %+v", got)
	}
	if len(b.cookies) != 0 {
		t.Errorf("cookies left: %v", b.cookies)
	}
	a := b.send("GET", "/api/v1/x", nil, "Authorization", "Bearer "+token)
	if a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Error("a 401 without WWW-Authenticate")
	}
	a.refused(http.StatusUnauthorized, "not_signed_in")
}

func TestSignOut(t *testing.T) {
	h := newHouse(t, origin)
	b, other := h.signedIn(h.asha), h.token(h.asha)
	token := b.cookies["__Host-carecircle"]
	b.send("POST", "/api/v1/signout", nil).into(&struct{}{})
	if len(b.cookies) != 0 {
		t.Errorf("cookies left: %v", b.cookies)
	}
	b.send("GET", "/", nil, "Authorization", "Bearer "+token, "Accept", "application/json").
		refused(401, "not_signed_in")
	if err := h.gate.SignOut(t.Context(), token); err != nil {
		t.Errorf("signing out twice: %v", err)
	}
	if got := b.send("GET", "/", nil, "Authorization", "Bearer "+other).who(); got.Actor != h.asha {
		t.Errorf("signing out one session ended the other: %+v", got)
	}
	b.send("POST", "/api/v1/signout", nil, "Authorization", "bearer "+other).into(&struct{}{})
	b.send("GET", "/api/v1/x", nil, "Authorization", "Bearer "+other).refused(401, "not_signed_in")
}

func TestCookies(t *testing.T) {
	for at, want := range map[string]http.Cookie{
		"https://hb.example":    {Name: "__Host-carecircle", Secure: true},
		"http://localhost:7001": {Name: "carecircle-7001"},
	} {
		h := newHouse(t, at)
		w := &headers{h: http.Header{}}
		h.gate.SetSession(w, nil, "tok", h.clock.Now().Add(time.Minute))
		h.gate.ClearSession(w, nil)
		got := (&http.Response{Header: w.h}).Cookies()
		if len(got) != 2 || got[0].Value != "tok" || got[0].MaxAge != 60 || got[1].MaxAge != -1 {
			t.Fatalf("%s: cookies %v", at, got)
		}
		for _, c := range got {
			if c.Name != want.Name || c.Secure != want.Secure || !c.HttpOnly || c.Path != "/" ||
				c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
				t.Errorf("%s: cookie %v", at, c)
			}
		}
	}
}

type headers struct {
	http.ResponseWriter
	h http.Header
}

func (h *headers) Header() http.Header { return h.h }

func TestCircleThatCannotBeAsked(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.asha)
	h.circle.breakDown(errors.New("no leader"))
	a := b.send("GET", "/", nil)
	if a.StatusCode != http.StatusServiceUnavailable || strings.Contains(a.text(), "leader") {
		t.Errorf("status %d", a.StatusCode)
	}
	b.send("GET", "/api/v1/x", nil).refused(503, "unavailable")
	h.browser().send("POST", "/api/v1/enter", map[string]string{"link": "abc"}).refused(503, "unavailable")
	if !strings.Contains(h.log.String(), "no leader") {
		t.Error("the log does not say why")
	}
	h.circle.breakDown(nil)
	if got := b.send("GET", "/", nil).who(); got.Actor != h.asha {
		t.Errorf("a moment's trouble signed Asha out: %+v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	h := newHouse(t, origin)
	for _, at := range []string{
		"", "hb.example", "ftp://hb.example", "https://", "https://hb.example/pages",
		"https://hb.example?x=1",
		"https://me@hb.example", "http://hb.example", "http://192.0.2.7:7001", "http://localhost.example",
	} {
		if _, err := auth.New(auth.Config{Circle: h.circle, Origin: at}); err == nil {
			t.Errorf("origin %q was taken", at)
		}
	}
	for _, at := range []string{
		"https://hb.example/", "http://localhost", "http://127.0.0.1:1", "http://[::1]:7001",
	} {
		if _, err := auth.New(auth.Config{Circle: h.circle, Origin: at}); err != nil {
			t.Errorf("origin %q: %v", at, err)
		}
	}
	if _, err := auth.New(auth.Config{Origin: origin}); err == nil {
		t.Error("a gate without a circle")
	}
}

func TestStatusOf(t *testing.T) {
	for code, want := range map[string]int{
		"not_allowed": 403, "hat_missing": 403, "may_not_act": 403, "not_a_member": 401, "not_signed_in": 401,
		"person_unknown": 404, "link_unknown": 404, "unknown_kind": 404, "id_reused": 409,
		"already_founded": 409, "passkey_exists": 409, "too_large": 413, "too_many_requests": 429,
		"unavailable": 503, "bad_body": 422, "link_used": 422, "anything": 422,
	} {
		if got := auth.StatusOf(code); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}

func TestSecretsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		secret, hash, err := auth.NewSecret()
		check(t, err)
		if seen[secret] || hash != auth.HashToken(secret) || hash != auth.HashLink(secret) ||
			hash == (machine.Hash{}) {
			t.Fatalf("secret %q with hash %v", secret, hash)
		}
		seen[secret] = true
	}
}
