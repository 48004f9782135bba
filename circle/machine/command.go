package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Reserved actors. People are named by their person id, other circles by PeerActor.
const (
	ActorCircle   = "circle"   // the circle itself: nested commands only, never from outside
	ActorNode     = "node"     // this circle's own node: sessions, timers
	ActorOperator = "operator" // whoever runs the node's machine
	peerPrefix    = "peer/"
)

// PeerActor names another circle as an actor.
func PeerActor(circle string) string { return peerPrefix + circle }

// EnvelopeVersion is the only layout of a logged command so far.
const EnvelopeVersion = 1

// ID names a command: 128 bits the client chooses (UUIDv7), so that a retry is recognised.
type ID [16]byte

// String returns the id in UUID form.
func (id ID) String() string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// ParseID reads an id in UUID form, with or without dashes.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, Refuse("bad_id", "%.60q is not a request id: 32 hexadecimal digits are.", s)
	}
	return ID(b), nil
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	got, err := ParseID(string(b))
	*id = got
	return err
}

// Hash is a SHA-256.
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("%.80q is not a SHA-256 in hexadecimal", b)
	}
	*h = Hash(raw)
	return nil
}

// Caller is who asks, and for whom.
type Caller struct {
	Actor      string // who is signed in
	OnBehalfOf string // the person acted for; empty: the actor
}

// Person returns the person the request is about: the one acted for, or the actor.
func (c Caller) Person() string {
	if c.OnBehalfOf != "" {
		return c.OnBehalfOf
	}
	return c.Actor
}

// Peer returns the circle id of a peer actor.
func (c Caller) Peer() (circle string, ok bool) { return strings.CutPrefix(c.Actor, peerPrefix) }

// Command is the envelope that is logged. Its CBOR keys are for ever; 8 and 9 are kept for bodies sealed
// under a person's key (the scheme and the key's name; absent means the body is in clear).
type Command struct {
	Version uint8  `cbor:"1,keyasint"`
	Kind    string `cbor:"2,keyasint"`
	ID      ID     `cbor:"3,keyasint"`
	Caller  `cbor:"-"`
	By      string          `cbor:"4,keyasint"` // Caller.Actor on the wire
	For     string          `cbor:"5,keyasint,omitempty"`
	At      int64           `cbor:"6,keyasint"` // Unix milliseconds, stamped by the leader
	Body    cbor.RawMessage `cbor:"7,keyasint"`
	Scheme  uint8           `cbor:"8,keyasint,omitempty"`
	KeyName string          `cbor:"9,keyasint,omitempty"`
}

// NewCommand encodes a body and wraps it.
func NewCommand(id ID, by Caller, at int64, kind string, body any) (Command, error) {
	raw, err := encMode.Marshal(body)
	if err != nil {
		return Command{}, fmt.Errorf("encode body of %s: %w", kind, err)
	}
	return Command{Version: EnvelopeVersion, Kind: kind, ID: id, Caller: by, At: at, Body: raw}, nil
}

// Encode returns the command's canonical bytes: what is logged, hashed and kept.
func (c Command) Encode() ([]byte, error) {
	c.Version = EnvelopeVersion
	c.By, c.For = c.Actor, c.OnBehalfOf
	return encMode.Marshal(c)
}

// DecodeCommand reads what Encode wrote, and no other spelling of it: for bytes that come from elsewhere.
func DecodeCommand(raw []byte) (Command, error) {
	c, err := decodeLogged(raw)
	if err != nil {
		return c, err
	}
	if again, err := c.Encode(); err != nil || !bytes.Equal(again, raw) {
		return c, errors.New("command is not in its one canonical form")
	}
	return c, nil
}

// decodeLogged reads what Ready has seen to before it was logged.
func decodeLogged(raw []byte) (Command, error) {
	var c Command
	if len(raw) > MaxCommandBytes {
		return c, fmt.Errorf("command of %d bytes is over the limit of %d", len(raw), MaxCommandBytes)
	}
	if err := decMode.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("decode command: %w", err)
	}
	if c.Version != EnvelopeVersion {
		return c, fmt.Errorf("command envelope version %d is not known", c.Version)
	}
	if c.Scheme != 0 {
		return c, fmt.Errorf("command body is sealed by scheme %d, which is not known", c.Scheme)
	}
	c.Caller = Caller{Actor: c.By, OnBehalfOf: c.For}
	return c, nil
}

// asked hashes what the client asked, without the time the leader stamped.
func (c Command) asked() Hash {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(c.Kind), []byte(c.Actor), []byte(c.OnBehalfOf), c.Body} {
		h.Write(bigEndian(nil, uint64(len(part))))
		h.Write(part)
	}
	return Hash(h.Sum(nil))
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  4096,
		MaxMapPairs:       256,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// mustEncode encodes what this program made itself; a failure is a broken invariant.
func mustEncode(v any) []byte { return must(encMode.Marshal(v)) }

// mustDecode reads what this program wrote itself.
func mustDecode(raw []byte, v any) {
	if err := decMode.Unmarshal(raw, v); err != nil {
		panic(fmt.Errorf("state row of %T cannot be read: %w", v, err))
	}
}

func bigEndian(b []byte, n uint64) []byte {
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(n>>shift))
	}
	return b
}
