package moving

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// MaxWordsRunes bounds what people say with it.
const MaxWordsRunes = 500

// Ask asks another circle to become your home.
type Ask struct {
	Circle string          `cbor:"1,keyasint" json:"circle" doc:"the other circle's id"`
	Name   machine.Private `cbor:"2,keyasint" json:"name" doc:"what you want to be called there"`
	Words  machine.Private `cbor:"3,keyasint" json:"words,omitzero" doc:"a few words to the circle"`
}

// Cancel takes a move back, as long as you have not left.
type Cancel struct{}

// Go leaves for the circle that said yes: your coins go there, your hats here end.
type Go struct {
	Link machine.Hash `cbor:"1,keyasint" json:"link" doc:"SHA-256 of the secret of your first link there"`
	// Self says to ourselves who pays, sealed; the other circle keeps it for us.
	Self machine.Private `cbor:"2,keyasint,omitzero" json:"-"`
}

// Decide answers somebody of another circle who wants to move here.
type Decide struct {
	Circle string          `cbor:"1,keyasint" json:"circle"`
	ID     string          `cbor:"2,keyasint" json:"id" doc:"of what they asked"`
	Yes    bool            `cbor:"3,keyasint" json:"yes"`
	Name   machine.Private `cbor:"4,keyasint" json:"name,omitzero" doc:"as they want to be called"`
	Code   string          `cbor:"5,keyasint,omitempty" json:"code,omitempty" doc:"for receiving their coins"`
	// Who they are to be here: PersonOf what they asked, so that they are the same if this is decided once
	// more after a restore. Logs from before have none, and name a person by the command.
	Person string `cbor:"6,keyasint,omitempty" json:"-"`
}

// PersonOf is the id here of whoever moves here from a circle by the move with this id.
func PersonOf(circle, id string) string {
	sum := sha256.Sum256([]byte("carecircle arrival v1\x00" + circle + "\x00" + id))
	return member.PersonID(machine.ID(sum[:len(machine.ID{})]))
}

// Asked is what came from another circle: somebody there wants to move here.
type Asked struct {
	ID    string          `cbor:"1,keyasint" json:"id"`
	Name  machine.Private `cbor:"2,keyasint" json:"name"`
	Words machine.Private `cbor:"3,keyasint" json:"words,omitzero"`
}

// Answered is what came from another circle: whether it takes somebody of ours.
type Answered struct {
	ID     string `cbor:"1,keyasint" json:"id"`
	Yes    bool   `cbor:"2,keyasint" json:"yes"`
	Code   string `cbor:"3,keyasint,omitempty" json:"code,omitempty"`
	Origin string `cbor:"4,keyasint,omitempty" json:"origin,omitempty"`
}

// Packet is what came from another circle: somebody has left it for here.
type Packet struct {
	ID   string       `cbor:"1,keyasint" json:"id"`
	Link machine.Hash `cbor:"2,keyasint" json:"link"`
	Was  string       `cbor:"3,keyasint,omitempty" json:"was,omitempty" doc:"their id at home"`
	// The home's signature that they left, for the home itself: see courier.Leaving.
	Proof []byte `cbor:"4,keyasint,omitempty" json:"proof,omitempty"`
}

// Arrived is what came from another circle: somebody who has moved there is at home there. It is said again
// whenever this circle begins a new life of its letters, for its books may have been put back to before that.
type Arrived struct {
	ID     string `cbor:"1,keyasint" json:"id"`
	Code   string `cbor:"2,keyasint" json:"code"`
	Origin string `cbor:"3,keyasint,omitempty" json:"origin,omitempty"`
	Person string `cbor:"4,keyasint,omitempty" json:"person,omitempty" doc:"who, if we signed that they left"`
}

// Step takes moves on as far as they go: coins that are left follow, and whoever has none any more leaves.
type Step struct {
	// How many: each is some events, and there is a limit to them. Logs from before have none, and took all.
	Most uint32 `cbor:"1,keyasint,omitempty" json:"most,omitempty"`
}

// AtOnce is how many moves a step takes on.
const AtOnce = machine.MaxEventsOfOne / 4

// Delivered says that another circle has what was to go there.
type Delivered struct {
	Circle  string `cbor:"1,keyasint" json:"circle"`
	ID      string `cbor:"2,keyasint" json:"id"`
	Stage   Stage  `cbor:"3,keyasint" json:"stage"` // of which it was
	Refused bool   `cbor:"4,keyasint,omitempty" json:"refused,omitempty"`
}

func checkName(n machine.Private) error {
	if n.IsSealed() {
		return n.CheckSealed("name", 4*member.MaxNameRunes)
	}
	return member.CheckName("name", n.Clear())
}

// Check implements machine.Checker.
func (a Ask) Check() error {
	return cmp.Or(exchange.CheckCircle(a.Circle), checkName(a.Name),
		exchange.CheckWords(a.Words, MaxWordsRunes))
}

// Check implements machine.Checker.
func (g Go) Check() error {
	if g.Link == (machine.Hash{}) {
		return machine.Refuse("malformed", "A link to enter by is missing.")
	}
	return g.Self.CheckSealed("note", exchange.MaxPersonBytes)
}

// Check implements machine.Checker.
func (d Decide) Check() error {
	if err := cmp.Or(exchange.CheckCircle(d.Circle), exchange.CheckID(d.ID)); err != nil || !d.Yes {
		return err
	}
	if d.Person != "" && d.Person != PersonOf(d.Circle, d.ID) {
		return machine.Refuse("malformed", "Whoever comes gets their id from what they asked.")
	}
	return cmp.Or(checkName(d.Name), exchange.SetCode{Code: d.Code}.Check())
}

// Check implements machine.Checker.
func (a Asked) Check() error {
	return cmp.Or(exchange.CheckID(a.ID), checkName(a.Name), exchange.CheckWords(a.Words, MaxWordsRunes))
}

// Check implements machine.Checker.
func (a Answered) Check() error {
	if err := exchange.CheckID(a.ID); err != nil || !a.Yes {
		return err
	}
	if !letter.Readable(a.Origin, 200) {
		return machine.Refuse("malformed", "This is no address.")
	}
	return exchange.SetCode{Code: a.Code}.Check()
}

// Check implements machine.Checker.
func (a Arrived) Check() error {
	return cmp.Or(Answered{ID: a.ID, Yes: true, Code: a.Code, Origin: a.Origin}.Check(),
		checkLeft(a.Person, nil))
}

// Check implements machine.Checker.
func (p Packet) Check() error {
	return cmp.Or(exchange.CheckID(p.ID), Go{Link: p.Link}.Check(), checkLeft(p.Was, p.Proof))
}

func checkLeft(person string, proof []byte) error {
	if len(person) > courier.MaxPersonBytes || len(proof) > ed25519.SignatureSize {
		return machine.Refuse("malformed", "Who left is told in at most %d bytes.", courier.MaxPersonBytes)
	}
	return nil
}

// Check implements machine.Checker.
func (d Delivered) Check() error {
	return cmp.Or(exchange.CheckCircle(d.Circle), exchange.CheckID(d.ID))
}

// Sealed implements machine.Personal.
func (a Ask) Sealed(s machine.Sealing) (any, error) {
	var err error
	if a.Name, err = s.Under(s.Person(), "name", a.Name); err == nil {
		a.Words, err = s.Under(s.Person(), "words", a.Words)
	}
	return a, err
}

// Sealed implements machine.Personal.
func (g Go) Sealed(s machine.Sealing) (any, error) {
	var err error
	g.Self, err = s.Under(machine.OfCircle, "self", machine.Text(machine.OfCircle, s.Person()))
	return g, err
}

// Sealed implements machine.Personal: nobody here yet has a key of their own for it.
func (a Asked) Sealed(s machine.Sealing) (any, error) {
	var err error
	if a.Name, err = s.Under(machine.OfCircle, "name", a.Name); err == nil {
		a.Words, err = s.Under(machine.OfCircle, "words", a.Words)
	}
	return a, err
}

// Sealed implements machine.Personal.
func (d Decide) Sealed(s machine.Sealing) (any, error) {
	if !d.Yes {
		return d, nil
	}
	var err error
	d.Person = PersonOf(d.Circle, d.ID)
	d.Name, err = s.Under(d.Person, "name", d.Name)
	return d, err
}
