package coin

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// What is sealed here, and what is not: notes, pictures, what pictures show and the reasons for an undoing or
// a stop are a person's; what kind of help it was, and where, are the circle's own words for its journeys.

// Sealed implements machine.Personal.
func (p Pay) Sealed(s machine.Sealing) (any, error) {
	var err error
	p.Note, err = s.Under(s.Person(), "note", p.Note)
	return p, err
}

// Sealed implements machine.Personal.
func (g Give) Sealed(s machine.Sealing) (any, error) {
	var err error
	if g.Note, err = s.Under(s.Person(), "note", g.Note); err != nil || g.Picture == nil {
		return g, err
	}
	p := *g.Picture
	if p.Alt, err = s.Under(s.Person(), "picture.alt", p.Alt); err != nil {
		return nil, err
	}
	sealed, err := s.Under(s.Person(), "picture.data", p.private(s.Person()))
	p.Data, p.Scheme, p.Key = sealed.Data, sealed.Scheme, sealed.Key
	g.Picture = &p
	return g, err
}

// Sealed implements machine.Personal.
func (f Freeze) Sealed(s machine.Sealing) (any, error) {
	var err error
	f.Why, err = s.Under(personOr(s, f.Account), "why", f.Why)
	return f, err
}

// Sealed implements machine.Personal.
func (r Reverse) Sealed(s machine.Sealing) (any, error) {
	act, _ := acts.Get(s, machine.Key{}.Bytes(r.Transfer[:]))
	of := personOr(s, act.To)
	if of == machine.OfCircle {
		of = personOr(s, act.From)
	}
	var err error
	r.Why, err = s.Under(of, "why", r.Why)
	return r, err
}

// personOr returns whose words about an account are: the person's, or the circle's where it is nobody's.
func personOr(r machine.Reader, account string) string {
	if _, err := member.Known(r, account); err == nil {
		return account
	}
	return machine.OfCircle
}

func (p Picture) private(of string) machine.Private {
	return machine.Private{Of: of, Scheme: p.Scheme, Key: p.Key, Data: p.Data}
}

// kept is what this feature keeps about a person.
func kept(rd machine.Read, person string) []machine.Kept {
	var out []machine.Kept
	for _, act := range acts.All(rd, nil, nil) {
		party := act.From == person || act.To == person
		if !party && act.By != person {
			continue
		}
		if !party { // entered for others: what they wrote is theirs
			act.Note, act.Alt = machine.Private{}, machine.Private{}
		}
		out = append(out, machine.Kept{What: "coins: " + act.Reason, At: act.At, Words: sentence(rd, act)})
	}
	if why, ok := stops.Get(rd, machine.Key{}.Str(person)); ok {
		out = append(out, machine.Kept{What: "stopped", Words: rd.Text(why)})
	}
	wish, _ := wishes.Get(rd, machine.Key{}.Str(person))
	if wish.AutoGift != "" {
		out = append(out, machine.Kept{What: "standing gift", Words: NameOf(rd, wish.AutoGift)})
	}
	return out
}

// said opens words that go with an act. Those of who was erased are not shown, not even where an older log
// has them in clear.
func said(rd machine.Read, a Act, p machine.Private) string {
	of := p.Of
	if of == "" {
		of = a.From
	}
	if who, ok := member.Find(rd, of); ok && who.Status == member.Left {
		return ""
	}
	return rd.Text(p)
}

// sentence tells an act in a line.
func sentence(rd machine.Read, a Act) string {
	words := Coins(a.Minutes) + " from " + NameOf(rd, a.From) + " to " + NameOf(rd, a.To)
	for _, more := range []string{a.Activity, a.Place} {
		if more != "" {
			words += "; " + more
		}
	}
	if note := said(rd, a, a.Note); note != "" {
		words += "; the note “" + note + "”"
	}
	if alt := said(rd, a, a.Alt); alt != "" {
		words += "; a picture of “" + alt + "”"
	}
	return words
}
