package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// Flags in an authenticator's answer.
const (
	userPresent  = 0x01
	userVerified = 0x04
	hasKey       = 0x40
)

// asked is what the gate asks of a device, as far as the tests care.
type asked struct {
	PublicKey options `json:"publicKey"`
}

type options struct {
	Challenge              string       `json:"challenge"`
	RP                     rp           `json:"rp"`
	RPID                   string       `json:"rpId"`
	User                   user         `json:"user"`
	UserVerification       string       `json:"userVerification"`
	AuthenticatorSelection selection    `json:"authenticatorSelection"`
	Attestation            string       `json:"attestation"`
	ExcludeCredentials     []descriptor `json:"excludeCredentials"`
	AllowCredentials       []descriptor `json:"allowCredentials"`
}

type rp struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type user struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type selection struct {
	ResidentKey      string `json:"residentKey"`
	UserVerification string `json:"userVerification"`
}

type descriptor struct {
	ID string `json:"id"`
}

// device is a browser with a passkey: ES256, attestation "none".
type device struct {
	t                   *testing.T
	origin              string
	createType, getType string
	key                 *ecdsa.PrivateKey
	id, handle          []byte
	flags               byte
	count, step         uint32
}

func newDevice(t *testing.T, origin string) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	id := make([]byte, 16)
	_, err = rand.Read(id)
	check(t, err)
	return &device{
		t: t, origin: origin, createType: "webauthn.create", getType: "webauthn.get",
		key: key, id: id, flags: userPresent | userVerified, step: 1,
	}
}

// create answers a registration and remembers whose the passkey is.
func (d *device) create(a asked) map[string]any {
	d.t.Helper()
	handle, err := base64.RawURLEncoding.DecodeString(a.PublicKey.User.ID)
	check(d.t, err)
	d.handle = handle
	data := d.authData(a.PublicKey.RP.ID, d.flags|hasKey)
	data = append(data, make([]byte, 16)...) // of no particular make
	data = binary.BigEndian.AppendUint16(data, uint16(len(d.id)))
	data = append(append(data, d.id...), d.publicKey()...)
	object := d.encode(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	return d.credential(map[string]any{
		"clientDataJSON": b64(d.clientData(d.createType, a)), "attestationObject": b64(object),
	})
}

// get answers a sign-in.
func (d *device) get(a asked) map[string]any {
	d.t.Helper()
	d.count += d.step
	data := d.authData(a.PublicKey.RPID, d.flags)
	client := d.clientData(d.getType, a)
	hash := sha256.Sum256(client)
	signed := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, signed[:])
	check(d.t, err)
	return d.credential(map[string]any{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature),
		"userHandle": b64(d.handle),
	})
}

func (d *device) credential(response map[string]any) map[string]any {
	return map[string]any{
		"id": b64(d.id), "rawId": b64(d.id), "type": "public-key", "response": response,
		"clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}},
	}
}

func (d *device) authData(site string, flags byte) []byte {
	hash := sha256.Sum256([]byte(site))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), d.count)
}

func (d *device) clientData(kind string, a asked) []byte {
	raw, err := json.Marshal(map[string]any{
		"type": kind, "challenge": a.PublicKey.Challenge, "origin": d.origin, "crossOrigin": false,
	})
	check(d.t, err)
	return raw
}

// publicKey encodes the key as COSE: EC2, ES256, P-256.
func (d *device) publicKey() []byte {
	point, err := d.key.PublicKey.Bytes() // 4, x, y
	check(d.t, err)
	return d.encode(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
}

func (d *device) encode(v any) []byte {
	mode, err := cbor.CTAP2EncOptions().EncMode()
	check(d.t, err)
	raw, err := mode.Marshal(v)
	check(d.t, err)
	return raw
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
