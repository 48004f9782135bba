package machine

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// How the data of a Private is kept.
const (
	SchemeClear  uint8 = 0 // as typed: in logs from before sealing, and on the way to the edge
	SchemeSealed uint8 = 1 // AES-256-GCM under the person's key: package node/vault
)

// SealOverhead is what sealing adds to the length of a text.
const SealOverhead = 12 + 16

// OfCircle owns private words that are about no one person: a key like a person's that is never erased.
const OfCircle = ActorCircle

// Private is personal data inside a body or a row: kept and passed on as it is by rules, which hold no keys,
// and opened only by views, for those who may read it.
type Private struct {
	_      struct{} `cbor:",toarray"`
	Of     string   // the person under whose key it is: erasing the key erases it
	Scheme uint8
	Key    uint32 // which of the person's keys; so far there is one, 0
	Data   []byte
}

// Text makes clear-text personal data about a person.
func Text(of, text string) Private { return Private{Of: of, Data: []byte(text)} }

// Clear returns the text of data that is not sealed; empty where it is, or was erased.
func (p Private) Clear() string {
	if p.Scheme != SchemeClear {
		return ""
	}
	return string(p.Data)
}

// IsSealed tells whether it takes a key to read the data.
func (p Private) IsSealed() bool { return p.Scheme != SchemeClear }

// CheckSealed refuses sealed data of a scheme this version does not know, or that is longer than a clear text
// of maxBytes would be. Rules cannot check more: whoever sealed it checked the text.
func (p Private) CheckSealed(what string, maxBytes int) error {
	if p.Scheme > SchemeSealed || p.Key != 0 {
		return Refuse("bad_text", "The %s is sealed in a way that this circle cannot keep.", what)
	}
	if p.IsSealed() && (len(p.Data) <= SealOverhead || len(p.Data) > maxBytes+SealOverhead || p.Of == "") {
		return Refuse("bad_text", "The %s has %d bytes; at most %d fit.", what, len(p.Data), maxBytes)
	}
	return nil
}

// UnmarshalCBOR reads a Private, and the plain text or bytes that stood in its place before it was one.
func (p *Private) UnmarshalCBOR(raw []byte) error {
	const bytesType, textType = 2, 3
	switch raw[0] >> 5 {
	case bytesType:
		*p = Private{}
		return decMode.Unmarshal(raw, &p.Data)
	case textType:
		var s string
		err := decMode.Unmarshal(raw, &s)
		*p = Private{Data: []byte(s)}
		return err
	default:
		type row Private
		return decMode.Unmarshal(raw, (*row)(p))
	}
}

// MarshalJSON writes the clear text: JSON is for the edge, after a view decided who may read it.
func (p Private) MarshalJSON() ([]byte, error) { return json.Marshal(p.Clear()) }

// UnmarshalJSON reads clear text.
func (p *Private) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*p = Private{Data: []byte(s)}
	return nil
}

// Sealing is a command about to be logged, for its body to have the personal data in it sealed.
type Sealing struct {
	Reader // the state as it stands
	Caller
	ID ID
	// Under seals p under a person's key. Place names where p stands in the body: equal words in two places
	// look different, and the same command asked again looks the same.
	Under func(of, place string, p Private) (Private, error)
	// Letter seals what goes to another circle, under a key of this one command made from the person's.
	Letter func(of string, text []byte) ([]byte, error)
}

// Personal is a body that holds personal data. Sealed returns the body with all of it sealed.
type Personal interface {
	Sealed(s Sealing) (any, error)
}

var personalType = reflect.TypeFor[Personal]()

// Seal returns the command with the personal data in its body sealed. A body that makes no sense is refused
// here, while its words can still be read.
func (m *Machine) Seal(c Command, s Sealing) (Command, error) {
	r, ok := m.rule(c.Kind, ReadMeta(s).RulesVersion)
	if !ok || !r.Body.Implements(personalType) {
		return c, nil
	}
	body, err := r.decode(c.Body)
	if err != nil {
		return c, err
	}
	s.Caller, s.ID = c.Caller, c.ID
	sealed, err := body.(Personal).Sealed(s)
	if err != nil {
		return c, err
	}
	if c.Body, err = encMode.Marshal(sealed); err != nil {
		return c, fmt.Errorf("encode sealed body of %s: %w", c.Kind, err)
	}
	return c, nil
}

// IsPersonal tells whether bodies of the kind hold personal data.
func (m *Machine) IsPersonal(kind string) bool {
	for _, r := range m.rules {
		if r.Kind == kind && r.Body.Implements(personalType) {
			return true
		}
	}
	return false
}

// May tells whether the caller of a command may do it as the state stands; its rule may still refuse it.
func (m *Machine) May(rd Read, c Command) error {
	rule, ok := m.rule(c.Kind, ReadMeta(rd).RulesVersion)
	if !ok {
		return nil // the log's own answer says it better
	}
	body, err := rule.decode(c.Body)
	if err != nil {
		return err
	}
	rd.Caller, rd.Kind = c.Caller, c.Kind
	if err := m.authorise(rd); err != nil {
		return err
	}
	return rule.Policy.Allow(rd, body)
}

// Opening returns the same machine with views that can open what is sealed. Rules never can.
func (m *Machine) Opening(open func(r Reader, p Private) ([]byte, bool)) *Machine {
	opens := *m
	opens.open = open
	return &opens
}

// Opened returns a read that can open what is sealed, as views get it.
func (m *Machine) Opened(rd Read) Read {
	rd.open = m.open
	return rd
}

// CanOpen tells whether this is a view's read; a rule's is not.
func (rd Read) CanOpen() bool { return rd.open != nil }

// Bytes returns private data in clear; false where it is sealed and this read cannot open it, or its key is
// erased.
func (rd Read) Bytes(p Private) ([]byte, bool) {
	switch {
	case !p.IsSealed():
		return p.Data, true
	case rd.open == nil:
		return nil, false
	default:
		return rd.open(rd.Reader, p)
	}
}

// Text is Bytes as a text; empty where it cannot be read.
func (rd Read) Text(p Private) string {
	b, _ := rd.Bytes(p)
	return string(b)
}
