package member

import (
	"strings"
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/machine"
)

// Limits on what a person or circle may be called.
const (
	MaxNameRunes  = 50
	MaxAimRunes   = 400
	MaxHats       = 12
	MaxGrants     = 20
	MaxPasskeys   = 10
	MaxSessions   = 20
	maxBlobBytes  = 8 << 10
	maxLinkMillis = 30 * 24 * 60 * 60 * 1000
)

// Found starts a circle: its name, place and aim, and the first person, who invites the others.
type Found struct {
	Circle  string          `cbor:"1,keyasint" json:"circle" doc:"the circle's id, made from its key"`
	Key     []byte          `cbor:"2,keyasint" json:"key" doc:"the circle's public key (Ed25519, base64)"`
	Name    string          `cbor:"3,keyasint" json:"name" doc:"what the circle is called"`
	Place   string          `cbor:"4,keyasint" json:"place" doc:"where it is"`
	Aim     string          `cbor:"5,keyasint" json:"aim" doc:"what the circle is for"`
	Founder machine.Private `cbor:"6,keyasint" json:"founder" doc:"name of the first person"`
}

// Invite makes a person known to the circle and readies a one-time link for their first sign-in.
type Invite struct {
	Name  machine.Private `cbor:"1,keyasint" json:"name" doc:"what the person likes to be called"`
	Hats  []string        `cbor:"2,keyasint,omitempty" json:"hats,omitempty" doc:"worn from the start"`
	Link  machine.Hash    `cbor:"3,keyasint" json:"link" doc:"SHA-256 of the link's secret"`
	Until int64           `cbor:"4,keyasint" json:"until" doc:"when the link ends, Unix milliseconds"`
}

// Link readies a one-time sign-in link for a person the circle knows.
type Link struct {
	Person string       `cbor:"1,keyasint" json:"person" doc:"the person's id"`
	Link   machine.Hash `cbor:"2,keyasint" json:"link" doc:"SHA-256 of the link's secret"`
	Until  int64        `cbor:"3,keyasint" json:"until" doc:"when the link ends, Unix milliseconds"`
}

// Enter uses up a one-time link and opens a session. The node sends it; no one else can.
type Enter struct {
	Link    machine.Hash `cbor:"1,keyasint" json:"link"`
	Session machine.Hash `cbor:"2,keyasint" json:"session" doc:"SHA-256 of the session's token"`
	Until   int64        `cbor:"3,keyasint" json:"until" doc:"when the session ends, Unix milliseconds"`
}

// OpenSession opens a session after the node checked a passkey.
type OpenSession struct {
	Person  string          `cbor:"1,keyasint" json:"person"`
	Session machine.Hash    `cbor:"2,keyasint" json:"session"`
	Until   int64           `cbor:"3,keyasint" json:"until"`
	Passkey []byte          `cbor:"4,keyasint" json:"passkey" doc:"id of the passkey used"`
	Stored  machine.Private `cbor:"5,keyasint" json:"stored" doc:"the passkey as it stands after use"`
}

// CloseSession signs out one session.
type CloseSession struct {
	Session machine.Hash `cbor:"1,keyasint" json:"session"`
}

// AddPasskey keeps a passkey that the node verified.
type AddPasskey struct {
	Person string          `cbor:"1,keyasint" json:"person"`
	ID     []byte          `cbor:"2,keyasint" json:"id"`
	Name   machine.Private `cbor:"3,keyasint" json:"name" doc:"what the person calls the device"`
	Stored machine.Private `cbor:"4,keyasint" json:"stored" doc:"public key and counters"`
}

// RemovePasskey forgets one passkey.
type RemovePasskey struct {
	ID []byte `cbor:"1,keyasint" json:"id"`
}

// Choose sets what a person shows of themselves.
type Choose struct {
	Name    machine.Private `cbor:"1,keyasint" json:"name" doc:"what you like to be called"`
	Seen    bool            `cbor:"2,keyasint" json:"seen" doc:"members may see your name"`
	Journey bool            `cbor:"3,keyasint" json:"journey" doc:"coin journeys may name you"`
}

// GrantHat gives a person a hat; EndHat takes it back.
type GrantHat struct {
	Person string `cbor:"1,keyasint" json:"person"`
	Hat    string `cbor:"2,keyasint" json:"hat" doc:"one of the circle's hats"`
	Until  int64  `cbor:"3,keyasint,omitempty" json:"until,omitempty" doc:"Unix ms; 0: no end"`
}

// EndHat takes a hat off a person.
type EndHat struct {
	Person string `cbor:"1,keyasint" json:"person"`
	Hat    string `cbor:"2,keyasint" json:"hat"`
}

// AllowActing lets an advocate act for a person, within limits. DisallowActing ends it.
type AllowActing struct {
	Person   string          `cbor:"1,keyasint" json:"person" doc:"who is acted for"`
	Advocate string          `cbor:"2,keyasint" json:"advocate" doc:"who may act"`
	Kinds    []string        `cbor:"3,keyasint,omitempty" json:"kinds,omitempty" doc:"as coin; none: all"`
	Until    int64           `cbor:"4,keyasint,omitempty" json:"until,omitempty" doc:"Unix ms; 0: no end"`
	Evidence machine.Private `cbor:"5,keyasint" json:"evidence,omitzero" doc:"asked in person"`
}

// DisallowActing ends an advocate's acting for a person.
type DisallowActing struct {
	Person   string `cbor:"1,keyasint" json:"person"`
	Advocate string `cbor:"2,keyasint" json:"advocate"`
}

// Check implements machine.Checker.
func (f Found) Check() error {
	if f.Circle == "" || len(f.Key) == 0 {
		return machine.Refuse("name_missing", "A circle needs its id and key. carecircle init makes them.")
	}
	if err := CheckName("circle name", f.Name); err != nil {
		return err
	}
	if err := CheckName("place", f.Place); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(f.Aim); n == 0 || n > MaxAimRunes {
		return machine.Refuse("bad_text", "Say what the circle is for, in at most %d letters.", MaxAimRunes)
	}
	return checkPrivateName("founder's name", f.Founder)
}

// Check implements machine.Checker.
func (i Invite) Check() error {
	if len(i.Hats) > MaxHats {
		return machine.Refuse("too_many", "A person wears at most %d hats.", MaxHats)
	}
	for _, hat := range i.Hats {
		if err := checkHat(hat); err != nil {
			return err
		}
	}
	if i.Link == (machine.Hash{}) {
		return machine.Refuse("link_missing", "An invitation needs a link.")
	}
	return checkPrivateName("name", i.Name)
}

// Check implements machine.Checker.
func (c Choose) Check() error { return checkPrivateName("name", c.Name) }

// Check implements machine.Checker.
func (g GrantHat) Check() error { return checkHat(g.Hat) }

// Check implements machine.Checker.
func (a AddPasskey) Check() error {
	if len(a.ID) == 0 || len(a.ID) > 1024 || len(a.Stored.Data) > maxBlobBytes+machine.SealOverhead {
		return machine.Refuse("bad_passkey", "This passkey cannot be kept. Try another device.")
	}
	return checkPrivateName("device name", a.Name)
}

// Check implements machine.Checker.
func (a AllowActing) Check() error {
	if a.Person == a.Advocate {
		return machine.Refuse("acting_for_self", "Nobody needs leave to act for themselves.")
	}
	if len(a.Kinds) > MaxHats || len(a.Evidence.Data) > MaxAimRunes+machine.SealOverhead {
		return machine.Refuse("bad_text", "Say the limits and the evidence in fewer words.")
	}
	return a.Evidence.CheckSealed("evidence", MaxAimRunes)
}

// checkPrivateName checks a name while it can be read, and its size once it is sealed.
func checkPrivateName(what string, name machine.Private) error {
	if name.IsSealed() {
		return name.CheckSealed(what, MaxNameRunes*utf8.UTFMax)
	}
	return CheckName(what, name.Clear())
}

// CheckName refuses an empty name, one of more than MaxNameRunes letters, and control characters.
func CheckName(what, name string) error {
	n := utf8.RuneCountInString(name)
	if n == 0 || strings.TrimSpace(name) != name {
		return machine.Refuse("name_missing", "Fill in the %s, without spaces around it.", what)
	}
	if n > MaxNameRunes {
		return machine.Refuse("bad_text", "The %s has %d letters; at most %d fit.", what, n, MaxNameRunes)
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if !utf8.ValidString(name) || strings.ContainsFunc(name, control) {
		return machine.Refuse("bad_text", "The %s has signs in it that cannot be shown.", what)
	}
	return nil
}
