package member

import (
	"strings"
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/machine"
)

// MaxLooksShown bounds one answer of member.looks.
const MaxLooksShown = 100

// lookMillis is how long after a look was written down its answer may be given.
const lookMillis = 60_000

// Looked writes down that somebody read what is kept about a person, and why. The node logs it before it
// answers.
type Looked struct {
	Person string          `cbor:"1,keyasint" json:"person" doc:"who was looked at"`
	By     string          `cbor:"2,keyasint" json:"by" doc:"who looked"`
	View   string          `cbor:"3,keyasint" json:"view" doc:"what was read"`
	Reason machine.Private `cbor:"4,keyasint" json:"reason" doc:"why, for the person to see"`
}

type look struct {
	_      struct{} `cbor:",toarray"`
	At     int64
	By     string
	View   string
	Reason machine.Private
}

var looks = machine.NewTable[look]("member", "look") // person, time, command

// Check implements machine.Checker.
func (l Looked) Check() error {
	if l.Reason.IsSealed() {
		return l.Reason.CheckSealed("reason", MaxAimRunes*utf8.UTFMax)
	}
	reason := l.Reason.Clear()
	if n := utf8.RuneCountInString(reason); strings.TrimSpace(reason) == "" || n > MaxAimRunes {
		return machine.Refuse("reason_missing",
			"Say why you look, in at most %d letters. The person sees it.", MaxAimRunes)
	}
	return nil
}

func looked(tx *machine.Tx, b Looked) (machine.None, error) {
	if _, err := Known(tx, b.Person); err != nil {
		return machine.None{}, err
	}
	id := tx.ID()
	looks.Put(tx, machine.Key{}.Str(b.Person).Num(uint64(tx.Now())).Bytes(id[:]), look{
		At: tx.Now(), By: b.By, View: b.View, Reason: b.Reason,
	})
	tx.Emit(machine.Event{
		Kind: "member.looked", Audience: []string{b.Person}, Subject: b.Person, Object: b.By,
	})
	return machine.None{}, nil
}

// written tells the machine whether the reader's look at a person was written down just now.
func written(rd machine.Read, person string) bool {
	for _, l := range looks.Latest(rd, machine.Key{}.Str(person), nil) {
		if l.At < rd.Now-lookMillis {
			return false
		}
		if l.By == rd.Actor && l.View == rd.Kind {
			return true
		}
	}
	return false
}

// Look is one line of who looked, and why.
type Look struct {
	At     int64  `json:"at"`
	By     string `json:"by"` // name
	View   string `json:"view"`
	Reason string `json:"reason"`
}

// Looks is an answer of member.looks, newest first.
type Looks struct {
	Looks []Look `json:"looks"`
}

func lookers(rd machine.Read, _ machine.None) (Looks, error) {
	out := Looks{Looks: []Look{}}
	for _, l := range looks.Latest(rd, machine.Key{}.Str(rd.Person()), nil) {
		by := l.By
		if p, ok := Find(rd, l.By); ok { // who looked has no say in being named
			by = called(rd, p)
		}
		out.Looks = append(out.Looks, Look{At: l.At, By: by, View: l.View, Reason: rd.Text(l.Reason)})
		if len(out.Looks) == MaxLooksShown {
			break
		}
	}
	return out, nil
}

// FileQuery asks for all that is kept about a person.
type FileQuery struct {
	Person string `json:"person,omitempty" doc:"a person's id; empty: yourself"`
	Reason string `json:"reason,omitempty" doc:"why, where it is somebody else; they will see it"`
}

// LooksAt implements machine.Looking.
func (q FileQuery) LooksAt() (person, reason string) { return q.Person, q.Reason }

// File is all that this circle keeps about one person.
type File struct {
	Person string         `json:"person"`
	Name   string         `json:"name"`
	Kept   []machine.Kept `json:"kept"`
}

// mayRead: the person, who acts for them, a Coordinator, the operator.
var mayRead = machine.Policy{
	Name: "the person; with a reason a coordinator or the operator",
	Allow: func(rd machine.Read, body any) error {
		q, ok := body.(FileQuery)
		if ok && (q.Person == "" || q.Person == rd.Person()) {
			return Signed.Allow(rd, body)
		}
		return Coordinator.Allow(rd, body)
	},
}

func file(rd machine.Read, q FileQuery) (File, error) {
	if q.Person == "" {
		q.Person = rd.Person()
	}
	p, err := Known(rd, q.Person)
	if err != nil {
		return File{}, err
	}
	return File{Person: p.ID, Name: called(rd, p), Kept: rd.Kept(p.ID)}, nil
}

// kept is what this feature keeps about a person.
func kept(rd machine.Read, person string) []machine.Kept {
	p, ok := Find(rd, person)
	if !ok || p.Status == Left {
		return nil
	}
	out := []machine.Kept{{What: "name", At: p.Joined, Words: rd.Text(p.Name)}}
	for _, h := range p.Hats {
		out = append(out, machine.Kept{What: "hat", At: h.Since, Words: h.Name})
	}
	for _, k := range passkeys.All(rd, machine.Key{}.Str(person), nil) {
		out = append(out, machine.Kept{What: "passkey", At: k.Added, Words: rd.Text(k.Name)})
	}
	for _, hash := range mine.All(rd, machine.Key{}.Str(person), nil) {
		s, _ := sessions.Get(rd, machine.Key{}.Bytes(hash[:]))
		out = append(out, machine.Kept{What: "sign-in", At: s.Opened})
	}
	for _, a := range actings.All(rd, nil, nil) {
		switch {
		case a.Person == person:
			out = append(out, machine.Kept{
				What: "acts for you", At: a.Since, Words: strings.TrimSpace(NameFor(rd, a.Advocate) + " " +
					rd.Text(a.Evidence)),
			})
		case a.Advocate == person:
			out = append(out, machine.Kept{What: "you act for", At: a.Since, Words: NameFor(rd, a.Person)})
		}
	}
	for _, l := range looks.All(rd, machine.Key{}.Str(person), nil) {
		out = append(out, machine.Kept{What: "looked at", At: l.At, Words: rd.Text(l.Reason)})
	}
	return out
}
