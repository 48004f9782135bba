package member

import (
	"bytes"
	"slices"

	"github.com/carecircle/carecircle/circle/machine"
)

// Made names the person a command made known.
type Made struct {
	Person string `cbor:"1,keyasint" json:"person"`
}

func found(tx *machine.Tx, b Found) (Made, error) {
	if c, ok := TheCircle(tx); ok {
		return Made{}, machine.Refuse("already_founded", "This node already runs the circle %q.", c.Name)
	}
	circles.Put(tx, machine.Key{}, Circle{
		ID: b.Circle, Key: b.Key, Name: b.Name, Place: b.Place, Aim: b.Aim, Founded: tx.Now(),
	})
	id := PersonID(tx.ID())
	b.Founder.Of = id
	put(tx, Person{
		ID: id, Name: b.Founder, Status: Invited, Joined: tx.Now(),
		Hats: []Hat{{Name: HatCoordinator, Since: tx.Now()}, {Name: HatSecretary, Since: tx.Now()}},
	})
	tx.Emit(machine.Event{Kind: "circle.founded", Audience: []string{machine.AudienceCircle}, Words: b.Name})
	return Made{Person: id}, nil
}

func invite(tx *machine.Tx, b Invite) (Made, error) {
	if _, ok := TheCircle(tx); !ok {
		return Made{}, machine.Refuse("not_founded", "Found the circle first: carecircle init.")
	}
	id := PersonID(tx.ID())
	b.Name.Of = id
	p := Person{ID: id, Name: b.Name, Status: Invited, Joined: tx.Now()}
	for _, hat := range b.Hats {
		if !p.Wears(hat, tx.Now()) {
			p.Hats = append(p.Hats, Hat{Name: hat, Since: tx.Now()})
		}
	}
	put(tx, p)
	return Made{Person: id}, addLink(tx, id, b.Link, b.Until)
}

func newLink(tx *machine.Tx, b Link) (machine.None, error) {
	if _, err := Known(tx, b.Person); err != nil {
		return machine.None{}, err
	}
	// The person sees it: a link made by somebody else must never go unnoticed.
	tx.Emit(machine.Event{
		Kind: "member.link-made", Audience: []string{b.Person}, Subject: b.Person, Object: tx.Caller().Actor,
	})
	return machine.None{}, addLink(tx, b.Person, b.Link, b.Until)
}

func addLink(tx *machine.Tx, person string, link machine.Hash, until int64) error {
	if until <= tx.Now() || until > tx.Now()+maxLinkMillis {
		return machine.Refuse("bad_time", "A link lasts at least a moment and at most 30 days.")
	}
	key := machine.Key{}.Bytes(link[:])
	if link == (machine.Hash{}) || links.Has(tx, key) {
		return machine.Refuse("link_reused", "This link exists already. Make a new one.")
	}
	links.Put(tx, key, oneTimeLink{Person: person, Until: until})
	return nil
}

func enter(tx *machine.Tx, b Enter) (Made, error) {
	key := machine.Key{}.Bytes(b.Link[:])
	l, ok := links.Get(tx, key)
	if err := l.usable(ok, tx.Now()); err != nil {
		return Made{}, err
	}
	l.Used = tx.Now()
	links.Put(tx, key, l)
	p, err := Known(tx, l.Person)
	if err != nil {
		return Made{}, err
	}
	if p.Status == Invited {
		p.Status, p.Joined = Active, tx.Now()
		put(tx, p)
		tx.Emit(machine.Event{
			Kind: "member.joined", Audience: []string{machine.AudienceCircle}, Subject: p.ID,
		})
	}
	return Made{Person: p.ID}, addSession(tx, p.ID, b.Session, b.Until)
}

func addSession(tx *machine.Tx, person string, hash machine.Hash, until int64) error {
	key := machine.Key{}.Bytes(hash[:])
	if hash == (machine.Hash{}) || sessions.Has(tx, key) {
		return machine.Refuse("session_reused", "Sign in again.")
	}
	if until <= tx.Now() || until > tx.Now()+maxLinkMillis {
		return machine.Refuse("bad_time", "A session lasts at most 30 days.")
	}
	var open []machine.Hash
	for _, h := range mine.All(tx, machine.Key{}.Str(person), nil) {
		open = append(open, h)
	}
	for _, old := range open[:max(0, len(open)-MaxSessions+1)] {
		endSession(tx, old)
	}
	sessions.Put(tx, key, session{Person: person, Opened: tx.Now(), Until: until})
	mine.Put(tx, machine.Key{}.Str(person).Num(uint64(tx.Now())).Bytes(hash[:]), hash)
	return nil
}

func endSession(tx *machine.Tx, hash machine.Hash) {
	key := machine.Key{}.Bytes(hash[:])
	if s, ok := sessions.Get(tx, key); ok {
		sessions.Delete(tx, key)
		mine.Delete(tx, machine.Key{}.Str(s.Person).Num(uint64(s.Opened)).Bytes(hash[:]))
	}
}

func openSession(tx *machine.Tx, b OpenSession) (Made, error) {
	key := machine.Key{}.Str(b.Person).Bytes(b.Passkey)
	k, ok := passkeys.Get(tx, key)
	p, known := Find(tx, b.Person)
	switch {
	case known && p.Status == Moved:
		return Made{}, movedAway(tx, b.Person)
	case !ok || !known || p.Status != Active:
		return Made{}, machine.Refuse("passkey_unknown", "This passkey is not one of yours any more.")
	}
	if n := len(b.Stored.Data); n > 0 && n <= maxBlobBytes+machine.SealOverhead {
		k.Stored = b.Stored
		passkeys.Put(tx, key, k)
	}
	return Made{Person: b.Person}, addSession(tx, b.Person, b.Session, b.Until)
}

func closeSession(tx *machine.Tx, b CloseSession) (machine.None, error) {
	s, ok := sessions.Get(tx, machine.Key{}.Bytes(b.Session[:]))
	if !ok {
		return machine.None{}, nil // signing out twice is fine
	}
	if by := tx.Caller(); by.Actor != machine.ActorNode && by.Person() != s.Person {
		return machine.None{}, machine.Refuse("not_allowed", "This is somebody else's session.")
	}
	endSession(tx, b.Session)
	return machine.None{}, nil
}

func addPasskey(tx *machine.Tx, b AddPasskey) (machine.None, error) {
	if _, err := Known(tx, b.Person); err != nil {
		return machine.None{}, err
	}
	n := 0
	for _, k := range passkeys.All(tx, machine.Key{}.Str(b.Person), nil) {
		if bytes.Equal(k.ID, b.ID) {
			return machine.None{}, machine.Refuse("passkey_exists", "This passkey is kept already.")
		}
		n++
	}
	if n >= MaxPasskeys {
		return machine.None{}, machine.Refuse("too_many", "You have %d passkeys, the most there can be."+
			" Remove one first.", n)
	}
	passkeys.Put(tx, machine.Key{}.Str(b.Person).Bytes(b.ID), passkey{
		Person: b.Person, ID: b.ID, Name: b.Name, Added: tx.Now(), Stored: b.Stored,
	})
	return machine.None{}, nil
}

func removePasskey(tx *machine.Tx, b RemovePasskey) (machine.None, error) {
	by := tx.Caller()
	if by.Person() != by.Actor {
		return machine.None{}, machine.Refuse("not_allowed", "Passkeys are their owner's own business.")
	}
	key := machine.Key{}.Str(by.Actor).Bytes(b.ID)
	if !passkeys.Has(tx, key) {
		return machine.None{}, machine.Refuse("passkey_unknown", "You have no such passkey.")
	}
	passkeys.Delete(tx, key)
	return machine.None{}, nil
}

func choose(tx *machine.Tx, b Choose) (machine.None, error) {
	p, err := Known(tx, tx.Caller().Person())
	if err != nil {
		return machine.None{}, err
	}
	b.Name.Of = p.ID
	p.Name, p.Seen, p.Journey = b.Name, b.Seen, b.Journey
	put(tx, p)
	return machine.None{}, nil
}

func grantHat(tx *machine.Tx, b GrantHat) (machine.None, error) {
	p, err := Known(tx, b.Person)
	if err != nil {
		return machine.None{}, err
	}
	if b.Until != 0 && b.Until <= tx.Now() {
		return machine.None{}, machine.Refuse("bad_time", "The hat's end lies in the past.")
	}
	p.Hats = slices.DeleteFunc(p.Hats, func(h Hat) bool { return h.Name == b.Hat })
	p.Hats = append(p.Hats, Hat{Name: b.Hat, Since: tx.Now(), Until: b.Until})
	put(tx, p)
	tx.Emit(machine.Event{
		Kind: "member.hat-granted", Audience: []string{machine.AudienceCircle}, Subject: p.ID, Words: b.Hat,
	})
	return machine.None{}, nil
}

func endHat(tx *machine.Tx, b EndHat) (machine.None, error) {
	p, err := Known(tx, b.Person)
	if err != nil {
		return machine.None{}, err
	}
	if !p.Wears(b.Hat, tx.Now()) {
		return machine.None{}, machine.Refuse("hat_missing", "This person does not wear the hat %q.", b.Hat)
	}
	p.Hats = slices.DeleteFunc(p.Hats, func(h Hat) bool { return h.Name == b.Hat })
	put(tx, p)
	return machine.None{}, nil
}

// mayArrange allows the person concerned, a coordinator or the operator to say who acts for the person.
func mayArrange(tx *machine.Tx, person string) error {
	by := tx.Caller()
	if by.Actor == machine.ActorOperator || by.Actor == person {
		return nil
	}
	rd := machine.Read{Reader: tx, Caller: by, Now: tx.Now()}
	return Wearing(HatCoordinator).Allow(rd, nil)
}

func allowActing(tx *machine.Tx, b AllowActing) (machine.None, error) {
	if err := mayArrange(tx, b.Person); err != nil {
		return machine.None{}, err
	}
	for _, id := range []string{b.Person, b.Advocate} {
		if _, err := Known(tx, id); err != nil {
			return machine.None{}, err
		}
	}
	n := 0
	for range actings.All(tx, machine.Key{}.Str(b.Person), nil) {
		n++
	}
	if n >= MaxGrants {
		return machine.None{}, machine.Refuse("too_many", "%d people act for this person already.", n)
	}
	actings.Put(tx, machine.Key{}.Str(b.Person).Str(b.Advocate), acting{
		Person: b.Person, Advocate: b.Advocate, Kinds: b.Kinds, Until: b.Until, Evidence: b.Evidence,
		Since: tx.Now(),
	})
	tx.Emit(machine.Event{
		Kind: "member.acting-allowed", Audience: []string{b.Person, b.Advocate},
		Subject: b.Person, Object: b.Advocate,
	})
	return machine.None{}, nil
}

func endActing(tx *machine.Tx, b DisallowActing) (machine.None, error) {
	if tx.Caller().Actor != b.Advocate {
		if err := mayArrange(tx, b.Person); err != nil {
			return machine.None{}, err
		}
	}
	key := machine.Key{}.Str(b.Person).Str(b.Advocate)
	if !actings.Has(tx, key) {
		return machine.None{}, machine.Refuse("may_not_act", "There is no such leave to end.")
	}
	actings.Delete(tx, key)
	return machine.None{}, nil
}
