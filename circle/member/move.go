package member

import (
	"github.com/carecircle/carecircle/circle/machine"
)

// Forward is where a person lives who moved to another circle.
type Forward struct {
	Circle string `cbor:"1,keyasint"` // its id
	Name   string `cbor:"2,keyasint"`
	Origin string `cbor:"3,keyasint"` // the address of its pages; may be empty
	At     int64  `cbor:"4,keyasint"`
}

var forwards = machine.NewTable[Forward]("member", "forward")

// ForwardOf returns where a person who moved lives now.
func ForwardOf(r machine.Reader, person string) (Forward, bool) {
	return forwards.Get(r, machine.Key{}.Str(person))
}

// Depart ends a person's life in this circle: they live in another one now. Their hats and sessions end. What
// the circle has to keep about them stays, and their links and passkeys lead to the other circle.
func Depart(tx *machine.Tx, person string, to Forward) error {
	p, err := Known(tx, person)
	if err != nil {
		return err
	}
	for _, hash := range collect(mine, tx, machine.Key{}.Str(p.ID)) {
		endSession(tx, hash)
	}
	for _, a := range collect(actings, tx, nil) {
		if a.Person == p.ID || a.Advocate == p.ID {
			actings.Delete(tx, machine.Key{}.Str(a.Person).Str(a.Advocate))
		}
	}
	to.At = tx.Now()
	forwards.Put(tx, machine.Key{}.Str(p.ID), to)
	p.Status, p.Hats, p.Seen, p.Journey = Moved, nil, false, false
	put(tx, p)
	tx.Emit(machine.Event{
		Kind: "member.moved", Audience: []string{machine.AudienceCircle}, Subject: p.ID, Words: to.Name,
	})
	return nil
}

// Arrive makes a person known who comes from another circle. They are not a member before they enter by a
// link.
func Arrive(tx *machine.Tx, id string, name machine.Private) Person {
	p := Person{ID: id, Name: name, Status: Invited, Joined: tx.Now()}
	p.Name.Of = p.ID
	put(tx, p)
	return p
}

// AddLink gives a person a one-time link.
func AddLink(tx *machine.Tx, person string, link machine.Hash, until int64) error {
	return addLink(tx, person, link, until)
}

// movedAway is the refusal for whoever asks for somebody who moved.
func movedAway(r machine.Reader, person string) error {
	f, _ := ForwardOf(r, person)
	if f.Origin == "" {
		return machine.Refuse("person_moved", "This person lives in the circle %s now.", f.Name)
	}
	return machine.Refuse("person_moved", "This person lives in the circle %s now: %s.", f.Name, f.Origin)
}
