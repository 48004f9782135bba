package machine

import "strings"

// Class is how closely what a view shows is kept.
type Class uint8

// The classes of which every read by somebody else is written down, with a reason that the person sees.
const (
	ClassOpen       Class = 0 // up to a person's plan: shared as its view decides
	ClassCare       Class = 5 // care records
	ClassRestricted Class = 6 // vetting, safeguarding, signing in, and the whole of somebody's file
)

// Looking is the query of a view that shows what is kept closely about one person.
type Looking interface {
	// LooksAt returns who is looked at, empty for the reader, and the reason given.
	LooksAt() (person, reason string)
}

// Of declares a view's class.
func (v View) Of(class Class) View {
	v.Class = class
	return v
}

// Look is a read that has to be written down before it is answered.
type Look struct{ Person, View, Reason string }

// ToWrite returns the look that a read of a view is, if it is one that must be written down; refused where
// the reader may not read it, or gives no reason.
func (m *Machine) ToWrite(rd Read, name string, set func(query any) error) (Look, bool, error) {
	v, ok := m.view(name)
	if !ok || v.Class < ClassCare {
		return Look{}, false, nil
	}
	q, err := v.query(set)
	if err != nil {
		return Look{}, false, err
	}
	rd.Kind = name
	if err := m.authorise(rd); err != nil {
		return Look{}, false, err
	}
	if err := v.Policy.Allow(rd, q); err != nil {
		return Look{}, false, err
	}
	look, other := lookOf(rd, q)
	if other && strings.TrimSpace(look.Reason) == "" {
		return Look{}, false, Refuse("reason_missing",
			"Say why you want to read this. The person it is about will see who looked, and why.")
	}
	return look, other, nil
}

// lookOf returns whom a read looks at, and whether that is somebody other than the reader.
func lookOf(rd Read, query any) (Look, bool) {
	person, reason := query.(Looking).LooksAt()
	if person == "" {
		person = rd.Person()
	}
	return Look{Person: person, View: rd.Kind, Reason: reason}, person != rd.Actor
}

// mayLook refuses an answer about somebody else that was not written down first.
func (m *Machine) mayLook(rd Read, v View, query any) error {
	if v.Class < ClassCare {
		return nil
	}
	look, other := lookOf(rd, query)
	if other && (m.written == nil || !m.written(rd, look.Person)) {
		return Refuse("reason_missing",
			"Say why you want to read this. The person it is about will see who looked, and why.")
	}
	return nil
}

// Kept is one thing that the circle keeps about a person.
type Kept struct {
	What  string `json:"what"`
	At    int64  `json:"at"` // Unix milliseconds
	Words string `json:"words,omitempty"`
}

// Kept returns what every feature keeps about a person.
func (rd Read) Kept(person string) []Kept {
	out := []Kept{}
	for _, keeps := range rd.keeps {
		out = append(out, keeps(rd, person)...)
	}
	return out
}
