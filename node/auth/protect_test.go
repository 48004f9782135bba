package auth_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/auth"
)

func TestCrossSite(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.asha)
	for name, c := range map[string]struct {
		method  string
		headers []string
		want    int
	}{
		"another site":       {"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a sister site":      {"POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"another origin":     {"POST", []string{"Origin", "https://evil.example"}, 403},
		"delete":             {"DELETE", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a link followed":    {"GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		"own page":           {"POST", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"own origin":         {"POST", []string{"Origin", origin}, 200},
		"a program":          {"POST", nil, 200},
		"own origin renamed": {"POST", []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"}, 200},
	} {
		if a := b.send(c.method, "http://inner.example/page", nil, c.headers...); a.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, a.StatusCode, c.want)
		}
	}
	b.send("POST", "/api/v1/signout", nil, "Sec-Fetch-Site", "cross-site").refused(403, "cross_site")
	if got := b.send("GET", "/", nil).who(); got.Actor != h.asha {
		t.Error("another site signed Asha out")
	}
	h.browser().send("POST", "/api/v1/enter", map[string]string{"link": h.link(h.asha)},
		"Origin", "https://evil.example").refused(403, "cross_site")
}

// until429 sends until it is refused and returns how many went through.
func until429(t *testing.T, send func() answer) (through int, last answer) {
	t.Helper()
	for through = range 2000 {
		if last = send(); last.StatusCode == http.StatusTooManyRequests {
			return through, last
		}
	}
	t.Fatal("never refused")
	return 0, last
}

func TestStrangersHaveARate(t *testing.T) {
	h := newHouse(t, origin)
	b := h.browser()
	get := func() answer { return b.send("GET", "/", nil) }
	through, last := until429(t, get)
	if through != 100 {
		t.Errorf("%d went through at once, want 100", through)
	}
	wait, err := strconv.Atoi(last.Header.Get("Retry-After"))
	if err != nil || wait != 1 {
		t.Errorf("Retry-After %q", last.Header.Get("Retry-After"))
	}
	const sentence = "That was too much at once. Please try again in 1 second.\n"
	if text := last.text(); text != sentence {
		t.Errorf("says %q", text)
	}
	b.send("GET", "/api/v1/x", nil).refused(429, "too_many_requests")

	elsewhere := h.browser()
	elsewhere.address = "192.0.2.8:1"
	elsewhere.send("GET", "/", nil).who()
	h.clock.pass(time.Duration(wait) * time.Second)
	if through, _ := until429(t, get); through != 10 {
		t.Errorf("%d went through after a second, want 10", through)
	}
}

func TestRateIsCountedPerAddress(t *testing.T) {
	for name, c := range map[string]struct {
		address, forwarded string
		other, otherSays   string
		shared             bool
	}{
		"another port":         {address: "192.0.2.7:1", other: "192.0.2.7:2", shared: true},
		"another address":      {address: "192.0.2.7:1", other: "192.0.2.8:1"},
		"one home's network":   {address: "[2001:db8::1]:1", other: "[2001:db8::2]:1", shared: true},
		"another home":         {address: "[2001:db8:0:1::1]:1", other: "[2001:db8:0:2::1]:1"},
		"the same one, mapped": {address: "192.0.2.7:1", other: "[::ffff:192.0.2.7]:1", shared: true},
		"says to be another": {
			address: "192.0.2.7:1", other: "192.0.2.7:1", otherSays: "192.0.2.8", shared: true,
		},
		"behind a server on this machine": {
			address: "127.0.0.1:1", forwarded: "192.0.2.7", other: "127.0.0.1:1", otherSays: "192.0.2.8",
		},
		"the client's own word comes first": {
			address: "127.0.0.1:1", forwarded: "192.0.2.7",
			other: "[::1]:1", otherSays: "192.0.2.8, 192.0.2.7", shared: true,
		},
	} {
		h := newHouse(t, origin)
		b, other := h.browser(), h.browser()
		b.address, other.address = c.address, c.other
		send := func(b *browser, says string) answer {
			if says == "" {
				return b.send("GET", "/", nil)
			}
			return b.send("GET", "/", nil, "X-Forwarded-For", says)
		}
		until429(t, func() answer { return send(b, c.forwarded) })
		got := send(other, c.otherSays).StatusCode == http.StatusTooManyRequests
		if got != c.shared {
			t.Errorf("%s: shares the rate: %v, want %v", name, got, c.shared)
		}
	}
}

func TestMembersHaveARateOfTheirOwn(t *testing.T) {
	h := newHouse(t, origin)
	asha, ben := h.signedIn(h.asha), h.signedIn(h.ben)
	through, _ := until429(t, func() answer { return asha.send("GET", "/", nil) })
	if through != 500 {
		t.Errorf("%d went through at once, want 500", through)
	}
	asha.address = "192.0.2.99:1"
	if a := asha.send("GET", "/", nil); a.StatusCode != http.StatusTooManyRequests {
		t.Error("another address gives a member another rate")
	}
	ben.send("GET", "/", nil).who() // from the same address
	h.browser().send("GET", "/", nil).who()
	for range 1000 {
		got := ben.send("GET", "/", nil, "Authorization", "Bearer "+theSecrets).who()
		if got.Actor != machine.ActorOperator {
			t.Fatalf("the operator is %+v", got)
		}
	}
}

func TestSigningInHasAStricterRate(t *testing.T) {
	for name, send := range map[string]func(b *browser, i int) answer{
		"links": func(b *browser, i int) answer {
			return b.send("POST", "/api/v1/enter", fmt.Sprintf(`{"link":"guess%d"}`, i))
		},
		"passkeys": func(b *browser, _ int) answer { return b.send("POST", "/signin/passkey/begin", nil) },
		"tokens": func(b *browser, i int) answer {
			return b.send("GET", "/api/v1/x", nil, "Authorization", fmt.Sprintf("Bearer guess%d", i))
		},
	} {
		h := newHouse(t, origin)
		b := h.browser()
		n := 0
		through, last := until429(t, func() answer { n++; return send(b, n) })
		if through != 30 || last.Header.Get("Retry-After") != "5" {
			t.Errorf("%s: %d went through, then wait %s s", name, through, last.Header.Get("Retry-After"))
		}
		last.refused(429, "too_many_requests")
		b.send("GET", "/", nil).who()
		h.clock.pass(5 * time.Second)
		if through, _ := until429(t, func() answer { return send(b, 0) }); through != 1 {
			t.Errorf("%s: %d went through after the wait", name, through)
		}
	}
}

func TestBodiesAreCapped(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.asha)
	large := `{"link":"` + strings.Repeat("a", auth.MaxBodyBytes) + `"}`
	for _, route := range h.gate.Handlers() {
		target := strings.TrimPrefix(route.Pattern, "POST ")
		if strings.HasSuffix(target, "/signout") || strings.HasSuffix(target, "/signin/passkey/begin") {
			continue // these read no body
		}
		b.send("POST", target, large).refused(413, "too_large")
	}
}

func TestManyAtOnce(t *testing.T) {
	h := newHouse(t, origin)
	token := h.token(h.asha)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := h.browser()
			b.address = fmt.Sprintf("192.0.2.%d:1", i)
			for range 20 {
				b.send("GET", "/", nil, "Authorization", "Bearer "+token).who()
				b.send("POST", "/signin/passkey/begin", nil)
				b.send("POST", "/signin/passkey/finish", "{}")
			}
		})
	}
	wg.Wait()
}
