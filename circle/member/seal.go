package member

import (
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// MaxKeysAtOnce bounds the keys one member.vault carries, so that it fits one command.
const MaxKeysAtOnce = 1500

const maxWrappedBytes = 128

// Vault says which key of the vault the people's keys are wrapped under. The key itself is in no log and no
// state: package node/vault.
type Vault struct {
	_       struct{} `cbor:",toarray"`
	Version uint32
	Mark    machine.Hash // of the vault's key
	Began   int64        // when the first of its keys came into use; what was logged before is in clear
}

// Key is a person's key, wrapped under one of the vault's.
type Key struct {
	_       struct{} `cbor:",toarray"`
	Person  string
	Version uint32 // of the vault's key
	Wrapped []byte
}

var (
	vaults = machine.NewTable[Vault]("member", "vault")
	keys   = machine.NewTable[Key]("member", "key")
)

// SetVault takes a new key of the vault into use, and carries people's keys over to it. The node sends it.
type SetVault struct {
	Version uint32       `cbor:"1,keyasint" json:"version"`
	Mark    machine.Hash `cbor:"2,keyasint" json:"mark" doc:"SHA-256 made from the vault's key"`
	Keys    []Key        `cbor:"3,keyasint,omitempty" json:"-"`
}

// AddKey keeps a person's new key, wrapped. The first one stays. The node sends it.
type AddKey struct {
	Person  string `cbor:"1,keyasint" json:"person"`
	Version uint32 `cbor:"2,keyasint" json:"version" doc:"of the vault's key it is wrapped under"`
	Wrapped []byte `cbor:"3,keyasint" json:"wrapped"`
}

// Check implements machine.Checker.
func (s SetVault) Check() error {
	if len(s.Keys) > MaxKeysAtOnce {
		return machine.Refuse("too_many", "At most %d keys go into one command.", MaxKeysAtOnce)
	}
	for _, k := range s.Keys {
		if err := checkKey(k.Person, k.Wrapped); err != nil {
			return err
		}
	}
	return nil
}

// Check implements machine.Checker.
func (a AddKey) Check() error { return checkKey(a.Person, a.Wrapped) }

func checkKey(person string, wrapped []byte) error {
	if person == "" || len(person) > 128 || strings.ContainsRune(person, 0) || len(wrapped) == 0 ||
		len(wrapped) > maxWrappedBytes {
		return machine.Refuse("bad_key", "This is not a wrapped key.")
	}
	return nil
}

// TheVault returns which key of the vault is in use; false while nothing is sealed here.
func TheVault(r machine.Reader) (Vault, bool) { return vaults.Get(r, machine.Key{}) }

// KeyOf returns a person's wrapped key; false where none was made yet, or it was erased.
func KeyOf(r machine.Reader, person string) (Key, bool) {
	if strings.ContainsRune(person, 0) {
		return Key{}, false
	}
	return keys.Get(r, machine.Key{}.Str(person))
}

// KeysUnder returns the wrapped keys that are under a version of the vault's key older than the given, at
// most MaxKeysAtOnce.
func KeysUnder(r machine.Reader, version uint32) []Key {
	var out []Key
	for _, k := range keys.All(r, nil, nil) {
		if k.Version < version {
			out = append(out, k)
		}
		if len(out) == MaxKeysAtOnce {
			break
		}
	}
	return out
}

func setVault(tx *machine.Tx, b SetVault) (machine.None, error) {
	now, _ := TheVault(tx)
	next := b.Version == now.Version+1
	if !next && (b.Version != now.Version || b.Mark != now.Mark) {
		return machine.None{}, machine.Refuse("vault_stale", "The vault stands at key %d.", now.Version)
	}
	if now.Version == 0 {
		now.Began = tx.Now()
	}
	vaults.Put(tx, machine.Key{}, Vault{Version: b.Version, Mark: b.Mark, Began: now.Began})
	for _, k := range b.Keys {
		at := machine.Key{}.Str(k.Person)
		// Whoever was erased since these keys were wrapped has no key here any more, and gets none.
		if old, ok := keys.Get(tx, at); ok && old.Version < b.Version {
			keys.Put(tx, at, Key{Person: k.Person, Version: b.Version, Wrapped: k.Wrapped})
		}
	}
	return machine.None{}, nil
}

func addKey(tx *machine.Tx, b AddKey) (machine.None, error) {
	if now, ok := TheVault(tx); !ok || now.Version != b.Version {
		return machine.None{}, machine.Refuse("vault_stale", "The vault stands at key %d.", now.Version)
	}
	if erased.Has(tx, machine.Key{}.Str(b.Person)) {
		return machine.None{}, machine.Refuse("person_left", "This person left, and was erased.")
	}
	at := machine.Key{}.Str(b.Person)
	if !keys.Has(tx, at) {
		keys.Put(tx, at, Key{Person: b.Person, Version: b.Version, Wrapped: b.Wrapped})
	}
	return machine.None{}, nil
}

// Sealed implements machine.Personal.
func (f Found) Sealed(s machine.Sealing) (any, error) {
	var err error
	f.Founder, err = s.Under(PersonID(s.ID), "founder", f.Founder)
	return f, err
}

// Sealed implements machine.Personal.
func (i Invite) Sealed(s machine.Sealing) (any, error) {
	var err error
	i.Name, err = s.Under(PersonID(s.ID), "name", i.Name)
	return i, err
}

// Sealed implements machine.Personal.
func (c Choose) Sealed(s machine.Sealing) (any, error) {
	var err error
	c.Name, err = s.Under(s.Person(), "name", c.Name)
	return c, err
}

// Sealed implements machine.Personal.
func (a AddPasskey) Sealed(s machine.Sealing) (any, error) {
	var err error
	if a.Name, err = s.Under(a.Person, "name", a.Name); err != nil {
		return nil, err
	}
	a.Stored, err = s.Under(a.Person, "stored", a.Stored)
	return a, err
}

// Sealed implements machine.Personal.
func (o OpenSession) Sealed(s machine.Sealing) (any, error) {
	var err error
	o.Stored, err = s.Under(o.Person, "stored", o.Stored)
	return o, err
}

// Sealed implements machine.Personal.
func (a AllowActing) Sealed(s machine.Sealing) (any, error) {
	var err error
	a.Evidence, err = s.Under(a.Person, "evidence", a.Evidence)
	return a, err
}

// Sealed implements machine.Personal.
func (l Looked) Sealed(s machine.Sealing) (any, error) {
	var err error
	l.Reason, err = s.Under(l.Person, "reason", l.Reason)
	return l, err
}

// The ways by which a person can ask to be erased when they do not do it themselves.
var asked = []string{"in-person", "phone", "letter", "email", "online"}

func knownWay(how string) bool { return slices.Contains(asked, how) }
