package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

const (
	afterSignIn    = "/"
	afterPasskey   = "/me"
	unnamedPasskey = "My device"
)

// ceremony is a passkey being made or checked: what was asked of the device, until it answers.
type ceremony struct {
	data   webauthn.SessionData
	person string // who adds a passkey; empty when signing in
	name   string // what they call the device
	until  time.Time
}

// owner is a person as the passkey library wants them. The user handle a device keeps is the person's id.
type owner struct {
	id, name string
	keys     []webauthn.Credential
}

// WebAuthnID implements webauthn.User.
func (o owner) WebAuthnID() []byte { return []byte(o.id) }

// WebAuthnName implements webauthn.User.
func (o owner) WebAuthnName() string { return o.name }

// WebAuthnDisplayName implements webauthn.User.
func (o owner) WebAuthnDisplayName() string { return o.name }

// WebAuthnCredentials implements webauthn.User.
func (o owner) WebAuthnCredentials() []webauthn.Credential { return o.keys }

// newPasskeys sets the rules for passkeys: the device knows whose it is and checks its holder (finger, face
// or code), because a passkey is all it takes to sign in.
func newPasskeys(origin *url.URL, name string) (*webauthn.WebAuthn, error) {
	required := true
	timeout := webauthn.TimeoutConfig{Timeout: CeremonyLife, TimeoutUVD: CeremonyLife}
	w, err := webauthn.New(&webauthn.Config{
		RPID: origin.Hostname(), RPDisplayName: name, RPOrigins: []string{originText(origin)},
		AttestationPreference: protocol.PreferNoAttestation, // which make of device is none of our business
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: &required,
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
		// Some password keepers volunteer extensions. None is used here, so none can do harm.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("set up passkeys for %s: %w", origin.Host, err)
	}
	return w, nil
}

// owner reads a person's passkeys.
func (g *Gate) owner(ctx context.Context, person string) (owner, error) {
	got, err := ask[member.PersonQuery, member.StoredPasskeys](ctx, g, "member.passkeys",
		member.PersonQuery{Person: person})
	if err != nil {
		return owner{}, err
	}
	o := owner{id: person, name: got.Name}
	for _, raw := range got.Stored {
		var key webauthn.Credential
		if err := json.Unmarshal(raw, &key); err != nil {
			return owner{}, fmt.Errorf("read stored passkey: %w", err)
		}
		o.keys = append(o.keys, key)
	}
	return o, nil
}

// adder returns who may add a passkey: the one signed in, for themselves only. An advocate acts for a person
// but never gets a way to sign in as them.
func adder(ctx context.Context) (string, error) {
	caller, ok := CallerFrom(ctx)
	switch {
	case !ok:
		return "", machine.Refuse("not_signed_in", "Sign in first, with the link you were given.")
	case caller.OnBehalfOf != "":
		return "", machine.Refuse("may_not_act", "A passkey is added by its owner only. They sign in on"+
			" their own device.")
	case !isPerson(caller.Actor):
		return "", machine.Refuse("not_allowed", "Only members have passkeys.")
	}
	return caller.Actor, nil
}

func (g *Gate) beginPasskey(w http.ResponseWriter, r *http.Request) (any, error) {
	var body struct {
		Name string `json:"name"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	if body.Name == "" {
		body.Name = unnamedPasskey
	}
	if err := member.CheckName("device name", body.Name); err != nil {
		return nil, err
	}
	if err := g.passkeysHere(); err != nil {
		return nil, err
	}
	person, err := adder(r.Context())
	if err != nil {
		return nil, err
	}
	o, err := g.owner(r.Context(), person)
	if err != nil {
		return nil, err
	}
	var had []protocol.CredentialDescriptor
	for _, key := range o.keys {
		had = append(had, key.Descriptor())
	}
	asked, data, err := g.passkeys.BeginRegistration(o, webauthn.WithExclusions(had))
	if err != nil {
		return nil, fmt.Errorf("begin passkey: %w", err)
	}
	return asked, g.keep(w, ceremony{data: *data, person: person, name: body.Name})
}

func (g *Gate) finishPasskey(w http.ResponseWriter, r *http.Request) (any, error) {
	raw, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	person, err := adder(r.Context())
	if err != nil {
		return nil, err
	}
	c, err := g.takeUp(w, r)
	if err != nil {
		return nil, err
	}
	if c.person != person {
		return nil, refusedPasskey
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(raw)
	if err != nil {
		return nil, g.passkeyRefused(r, err)
	}
	o, err := g.owner(r.Context(), person)
	if err != nil {
		return nil, err
	}
	key, err := g.passkeys.CreateCredential(o, c.data, parsed)
	if err != nil {
		return nil, g.passkeyRefused(r, err)
	}
	stored, err := forKeeping(key)
	if err != nil {
		return nil, err
	}
	_, err = do[machine.None](r.Context(), g, "member.passkey-add", member.AddPasskey{
		Person: person, ID: key.ID, Name: machine.Text("", c.name), Stored: machine.Private{Data: stored},
	})
	return Kept{Next: afterPasskey}, err
}

func (g *Gate) beginSignIn(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := g.attempt(r.Context()); err != nil {
		return nil, err
	}
	if err := g.passkeysHere(); err != nil {
		return nil, err
	}
	asked, data, err := g.passkeys.BeginDiscoverableLogin()
	if err != nil {
		return nil, fmt.Errorf("begin sign-in: %w", err)
	}
	return asked, g.keep(w, ceremony{data: *data})
}

func (g *Gate) finishSignIn(w http.ResponseWriter, r *http.Request) (answer any, err error) {
	defer func() { g.tried(err) }()
	raw, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	c, err := g.takeUp(w, r)
	if err != nil {
		return nil, err
	}
	if c.person != "" { // begun to add a passkey, not to sign in
		return nil, refusedPasskey
	}
	person, key, err := g.checkPasskey(r, c, raw)
	if err != nil {
		return nil, err
	}
	stored, err := forKeeping(key)
	if err != nil {
		return nil, err
	}
	token, session, err := NewSecret()
	if err != nil {
		return nil, err
	}
	until := g.sessionEnd()
	made, err := do[member.Made](r.Context(), g, "member.signin", member.OpenSession{
		Person: person, Session: session, Until: until.UnixMilli(), Passkey: key.ID,
		Stored: machine.Private{Data: stored},
	})
	if err != nil {
		return nil, err
	}
	g.SetSession(w, r, token, until)
	return SignedIn{Person: made.Person, Until: until, Next: afterSignIn}, nil
}

// checkPasskey returns whose passkey answered, and the passkey as it stands after use. What exactly was wrong
// with one is logged but not told: it would help only those who try other people's.
func (g *Gate) checkPasskey(r *http.Request, c ceremony, raw []byte) (string, *webauthn.Credential, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(raw)
	if err != nil {
		return "", nil, g.passkeyRefused(r, err)
	}
	var failed error // the circle could not be asked: not the passkey's fault
	find := func(_, handle []byte) (webauthn.User, error) {
		if !isPerson(string(handle)) {
			return nil, errors.New("the user handle is no person's")
		}
		o, err := g.owner(r.Context(), string(handle))
		var refusal *machine.Error
		if err != nil && !errors.As(err, &refusal) {
			failed = err
		}
		return o, err
	}
	user, key, err := g.passkeys.ValidatePasskeyLogin(find, c.data, parsed)
	switch {
	case failed != nil:
		return "", nil, failed
	case err != nil:
		return "", nil, g.passkeyRefused(r, err)
	case key.Authenticator.CloneWarning:
		g.log.WarnContext(r.Context(), "a passkey counted backwards: there may be a copy of it")
		return "", nil, machine.Refuse("passkey_cloned", "This passkey may have been copied, so it no longer"+
			" opens the door. Sign in with a link from your circle and remove it.")
	}
	return string(user.WebAuthnID()), key, nil
}

// forKeeping encodes a passkey. What the device said of itself when it was made is left out: nobody asked.
func forKeeping(key *webauthn.Credential) ([]byte, error) {
	kept := *key
	kept.Attestation = webauthn.CredentialAttestation{}
	raw, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode passkey: %w", err)
	}
	return raw, nil
}

var refusedPasskey = machine.Refuse("passkey_refused", "This passkey did not open the door. Try again, or"+
	" ask your circle for a sign-in link.")

// passkeyRefused notes what kind of fault a passkey had and returns the refusal. The library's own words may
// quote ids, so they stay out of the log.
func (g *Gate) passkeyRefused(r *http.Request, err error) error {
	reason := "unreadable"
	var e *protocol.Error
	if errors.As(err, &e) {
		reason = e.Type
	}
	g.log.InfoContext(r.Context(), "passkey refused", "reason", reason)
	return refusedPasskey
}

func (g *Gate) passkeysHere() error {
	if g.passkeys == nil {
		return machine.Refuse("passkeys_unavailable", "Passkeys need the node's address to be a name, not a"+
			" number. Use a sign-in link.")
	}
	return nil
}

// keep remembers a ceremony for as long as the device may take, and gives the browser its number.
func (g *Gate) keep(w http.ResponseWriter, c ceremony) error {
	number, _, err := NewSecret()
	if err != nil {
		return err
	}
	c.until = g.now().Add(CeremonyLife)
	g.mu.Lock()
	g.ceremonies.put(number, c)
	g.mu.Unlock()
	http.SetCookie(w, g.cookie(g.ceremonyCookie(), number, CeremonyLife))
	return nil
}

// takeUp returns the ceremony that a request ends. Each ends once: its challenge is never good again.
func (g *Gate) takeUp(w http.ResponseWriter, r *http.Request) (ceremony, error) {
	late := machine.Refuse("passkey_late", "That took too long. Please start again.")
	cookie, err := r.Cookie(g.ceremonyCookie())
	if err != nil {
		return ceremony{}, late
	}
	http.SetCookie(w, g.cookie(g.ceremonyCookie(), "", -time.Second))
	g.mu.Lock()
	c, ok := g.ceremonies.take(cookie.Value)
	g.mu.Unlock()
	if !ok || g.now().After(c.until) {
		return ceremony{}, late
	}
	return c, nil
}
