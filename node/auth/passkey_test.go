package auth_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/auth"
)

// register has a person add a passkey on the device.
func (h *house) register(person string, d *device) {
	h.t.Helper()
	b := h.signedIn(person)
	asked := b.begin("/me/passkeys/begin", `{"name":"Asha's tablet"}`)
	var kept auth.Kept
	b.send("POST", "/me/passkeys/finish", d.create(asked)).into(&kept)
	if kept.Next != "/me" {
		h.t.Fatalf("kept %+v", kept)
	}
}

// begin begins a ceremony and returns what the device is asked.
func (b *browser) begin(target, body string) asked {
	b.h.t.Helper()
	var got asked
	b.send("POST", target, body).into(&got)
	return got
}

func (b *browser) signIn(d *device) answer {
	b.h.t.Helper()
	return b.send("POST", "/signin/passkey/finish", d.get(b.begin("/signin/passkey/begin", "{}")))
}

func TestPasskeySignIn(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	for range 3 { // the count goes up each time
		b := h.browser()
		var in auth.SignedIn
		b.signIn(d).into(&in)
		if in.Person != h.asha || in.Next != "/" || !in.Until.Equal(h.clock.Now().Add(auth.SessionLife)) {
			t.Fatalf("signed in %+v", in)
		}
		if got := b.send("GET", "/", nil).who(); got != (who{Known: true, Actor: h.asha}) {
			t.Fatalf("the session is %+v", got)
		}
		if len(b.cookies) != 1 {
			t.Errorf("cookies %v: the ceremony's should be gone", b.cookies)
		}
	}
	me, err := h.circle.View(t.Context(), machine.Caller{Actor: h.asha}, "member.me", nil)
	check(t, err)
	keys := me.(member.Me).Passkeys
	if len(keys) != 1 || keys[0].Name != "Asha's tablet" || string(keys[0].ID) != string(d.id) {
		t.Errorf("passkeys %+v", keys)
	}
	if h.circle.holds([]byte("clientDataJSON")) {
		t.Error("what the device said of itself is kept")
	}
}

func TestPasskeyOptions(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	got := h.signedIn(h.asha).begin("/me/passkeys/begin", "")
	want := options{
		RP:                     rp{ID: "hb.example", Name: "Hebden Bridge"},
		User:                   user{ID: b64([]byte(h.asha)), Name: "Asha Patel"},
		AuthenticatorSelection: selection{ResidentKey: "required", UserVerification: "required"},
		Attestation:            "none",
		ExcludeCredentials:     []descriptor{{ID: b64(d.id)}},
	}
	want.Challenge = got.PublicKey.Challenge
	a, err := json.Marshal(want)
	check(t, err)
	b, err := json.Marshal(got.PublicKey)
	check(t, err)
	if string(a) != string(b) || len(want.Challenge) < 22 {
		t.Errorf("asked %s\nwant  %s", b, a)
	}
	in := h.browser().begin("/signin/passkey/begin", "").PublicKey
	if in.RPID != "hb.example" || in.UserVerification != "required" || len(in.AllowCredentials) != 0 {
		t.Errorf("asked %+v: signing in is without a name", in)
	}
}

func TestPasskeyIsRefused(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	for name, spoil := range map[string]func(d *device, a *asked){
		"wrong origin":       func(d *device, _ *asked) { d.origin = "https://hb.example.evil.example" },
		"http":               func(d *device, _ *asked) { d.origin = "http://hb.example" },
		"wrong site":         func(_ *device, a *asked) { a.PublicKey.RPID = "evil.example" },
		"wrong challenge":    func(_ *device, a *asked) { a.PublicKey.Challenge = b64(make([]byte, 32)) },
		"registration":       func(d *device, _ *asked) { d.getType = "webauthn.create" },
		"another key":        func(d *device, _ *asked) { d.key = newDevice(t, origin).key },
		"another credential": func(d *device, _ *asked) { d.id = []byte("another credential") },
		"another person":     func(d *device, _ *asked) { d.handle = []byte(h.ben) },
		"nobody":             func(d *device, _ *asked) { d.handle = []byte("pnobody") },
		"no handle":          func(d *device, _ *asked) { d.handle = nil },
		"reserved":           func(d *device, _ *asked) { d.handle = []byte("operator") },
		"holder unchecked":   func(d *device, _ *asked) { d.flags &^= userVerified },
		"holder absent":      func(d *device, _ *asked) { d.flags &^= userPresent },
	} {
		b := h.browser()
		b.address = "192.0.2.1:1"
		h.clock.pass(auth.CeremonyLife) // so that the rate is not what refuses
		copied := *d
		a := b.begin("/signin/passkey/begin", "{}")
		spoil(&copied, &a)
		got := b.send("POST", "/signin/passkey/finish", copied.get(a))
		if text := got.text(); got.StatusCode != 403 || !strings.Contains(text, `"passkey_refused"`) {
			t.Errorf("%s: %d %s", name, got.StatusCode, text)
		}
		if _, in := b.cookies["__Host-carecircle"]; in {
			t.Errorf("%s: signed in", name)
		}
	}
	h.browser().signIn(d).into(&auth.SignedIn{})
}

func TestPasskeyReplay(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	b := h.browser()
	a := b.begin("/signin/passkey/begin", "{}")
	number := b.cookies["__Host-carecircle-passkey"]
	said := d.get(a)
	b.send("POST", "/signin/passkey/finish", said).into(&auth.SignedIn{})

	thief := h.browser()
	thief.send("POST", "/signin/passkey/finish", said).refused(422, "passkey_late")
	thief.cookies["__Host-carecircle-passkey"] = number
	thief.send("POST", "/signin/passkey/finish", said).refused(422, "passkey_late")
	thief.begin("/signin/passkey/begin", "{}") // a ceremony of the thief's own, with another challenge
	thief.send("POST", "/signin/passkey/finish", said).refused(403, "passkey_refused")
	if len(thief.cookies) != 0 {
		t.Errorf("the thief holds %v", thief.cookies)
	}
}

func TestPasskeyWhileTheCircleCannotBeAsked(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	b := h.browser()
	a := b.begin("/signin/passkey/begin", "{}")
	h.circle.breakDown(errors.New("no leader"))
	b.send("POST", "/signin/passkey/finish", d.get(a)).refused(503, "unavailable")
}

func TestCeremonyEnds(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	b := h.browser()
	a := b.begin("/signin/passkey/begin", "{}")
	h.clock.pass(auth.CeremonyLife + 1)
	b.send("POST", "/signin/passkey/finish", d.get(a)).refused(422, "passkey_late")
}

func TestCopiedPasskey(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	clone := *d
	h.browser().signIn(d).into(&auth.SignedIn{})
	h.browser().signIn(d).into(&auth.SignedIn{})
	b := h.browser()
	b.signIn(&clone).refused(403, "passkey_cloned") // its count stands where the device's stood before
	if len(b.cookies) != 0 {
		t.Errorf("the copy holds %v", b.cookies)
	}
	if !strings.Contains(h.log.String(), "there may be a copy") {
		t.Error("the log says nothing of it")
	}
	h.browser().signIn(d).into(&auth.SignedIn{})
}

func TestPasskeyWithoutCount(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	d.step = 0 // passkeys that are shared between one's own devices do not count
	h.register(h.asha, d)
	for range 2 {
		h.browser().signIn(d).into(&auth.SignedIn{})
	}
}

func TestRemovedPasskey(t *testing.T) {
	h := newHouse(t, origin)
	d := newDevice(t, origin)
	h.register(h.asha, d)
	cmd, err := machine.NewCommand(newID(), machine.Caller{Actor: h.asha}, 0, "member.passkey-remove",
		member.RemovePasskey{ID: d.id})
	check(t, err)
	out, err := h.circle.Do(t.Context(), cmd)
	check(t, err)
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	h.browser().signIn(d).refused(403, "passkey_refused")
}

func TestPasskeyIsAddedByItsOwnerOnly(t *testing.T) {
	h := newHouse(t, origin)
	h.must("member.acting-allow", member.AllowActing{Person: h.asha, Advocate: h.ben})
	d := newDevice(t, origin)
	ben := h.signedIn(h.ben)
	for _, step := range []string{"begin", "finish"} {
		target := "/me/passkeys/" + step
		h.browser().send("POST", target, "{}").refused(401, "not_signed_in")
		ben.send("POST", target, "{}", auth.OnBehalfHeader, h.asha).refused(403, "may_not_act")
		h.browser().send("POST", target, "{}", "Authorization", "Bearer "+theSecrets).
			refused(403, "not_allowed")
	}
	ben.send("POST", "/me/passkeys/begin", `{"name":"x","person":"`+h.asha+`"}`).refused(422, "bad_body")
	ben.send("POST", "/me/passkeys/begin", `{"name":" x"}`).refused(422, "name_missing")

	asha := h.signedIn(h.asha) // Ben ends what Asha began
	said := d.create(asha.begin("/me/passkeys/begin", "{}"))
	ben.cookies["__Host-carecircle-passkey"] = asha.cookies["__Host-carecircle-passkey"]
	ben.send("POST", "/me/passkeys/finish", said).refused(403, "passkey_refused")
	asha.send("POST", "/me/passkeys/finish", said).refused(422, "passkey_late")

	a := asha.begin("/me/passkeys/begin", "{}") // a ceremony for adding does not sign in, nor the reverse
	asha.send("POST", "/signin/passkey/finish", d.get(a)).refused(403, "passkey_refused")
	a = asha.begin("/signin/passkey/begin", "{}")
	asha.send("POST", "/me/passkeys/finish", d.create(a)).refused(403, "passkey_refused")
}

func TestPasskeyCannotBeAdded(t *testing.T) {
	h := newHouse(t, origin)
	b := h.signedIn(h.asha)
	for name, spoil := range map[string]func(d *device, a *asked){
		"wrong origin":     func(d *device, _ *asked) { d.origin = "https://evil.example" },
		"wrong site":       func(_ *device, a *asked) { a.PublicKey.RP.ID = "evil.example" },
		"wrong challenge":  func(_ *device, a *asked) { a.PublicKey.Challenge = b64(make([]byte, 32)) },
		"holder unchecked": func(d *device, _ *asked) { d.flags &^= userVerified },
		"sign-in":          func(d *device, _ *asked) { d.createType = "webauthn.get" },
	} {
		d := newDevice(t, origin)
		a := b.begin("/me/passkeys/begin", "{}")
		spoil(d, &a)
		got := b.send("POST", "/me/passkeys/finish", d.create(a))
		if text := got.text(); got.StatusCode != 403 || !strings.Contains(text, `"passkey_refused"`) {
			t.Errorf("%s: %d %s", name, got.StatusCode, text)
		}
	}
	d := newDevice(t, origin)
	h.register(h.asha, d)
	b.send("POST", "/me/passkeys/finish", d.create(b.begin("/me/passkeys/begin", "{}"))).
		refused(409, "passkey_exists")
}

func TestPasskeysOnLocalhost(t *testing.T) {
	h := newHouse(t, "http://localhost:7001")
	d := newDevice(t, "http://localhost:7001")
	b := h.browser()
	b.cookies["carecircle-7001"] = h.token(h.asha)
	b.send("POST", "/me/passkeys/finish", d.create(b.begin("/me/passkeys/begin", "{}"))).into(&auth.Kept{})
	b = h.browser()
	b.signIn(d).into(&auth.SignedIn{})
	if b.cookies["carecircle-7001"] == "" {
		t.Error("no session cookie")
	}

	h = newHouse(t, "http://127.0.0.1:7001")
	h.browser().send("POST", "/signin/passkey/begin", nil).refused(422, "passkeys_unavailable")
}
