package findable

import (
	"cmp"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
)

// Who is found is asked through their own circle whether they want to be in touch. What they answer, such as
// a telephone number, goes back the same way; nothing of how to reach somebody is on a card.

// Limits of asking.
const (
	MaxContactRunes = 500
	MaxOpenAsked    = 20 // of one person, without an answer
	MaxContacts     = 200
)

// Ask asks somebody who was found whether they want to be in touch.
type Ask struct {
	Circle string          `cbor:"1,keyasint" json:"circle" doc:"their home circle's id, from their card"`
	Card   string          `cbor:"2,keyasint" json:"card" doc:"the id on their card"`
	Words  machine.Private `cbor:"3,keyasint" json:"words" doc:"who you are and why you ask"`
}

// Answer answers somebody who asked to be in touch.
type Answer struct {
	Circle string          `cbor:"1,keyasint" json:"circle" doc:"the circle they are of"`
	ID     string          `cbor:"2,keyasint" json:"id" doc:"of what they asked"`
	Yes    bool            `cbor:"3,keyasint" json:"yes"`
	Words  machine.Private `cbor:"4,keyasint" json:"words,omitzero" doc:"such as how to reach you"`
}

// Contact is what came from another circle: somebody there asks one of our members to be in touch.
type Contact struct {
	ID    string          `cbor:"1,keyasint" json:"id"`
	Card  string          `cbor:"2,keyasint" json:"card"`
	Words machine.Private `cbor:"3,keyasint" json:"words"`
}

// Reply is what came from another circle: somebody there answers one of our members.
type Reply struct {
	ID    string          `cbor:"1,keyasint" json:"id"`
	Yes   bool            `cbor:"2,keyasint" json:"yes"`
	Words machine.Private `cbor:"3,keyasint" json:"words,omitzero"`
}

// Delivered says that another circle has what was to go there, or why it does not take it.
type Delivered struct {
	Circle  string `cbor:"1,keyasint" json:"circle"`
	ID      string `cbor:"2,keyasint" json:"id"`
	Answer  bool   `cbor:"3,keyasint" json:"answer"` // an answer of ours, not a question
	Refused string `cbor:"4,keyasint,omitempty" json:"refused,omitempty"`
}

// contact is one question and its answer, at either end. CBOR keys 12 and up are free.
type contact struct {
	ID        string          `cbor:"1,keyasint"`
	Circle    string          `cbor:"2,keyasint"` // the other one
	Person    string          `cbor:"3,keyasint"` // ours
	Card      string          `cbor:"4,keyasint"`
	Words     machine.Private `cbor:"5,keyasint"`
	At        int64           `cbor:"6,keyasint"`
	Delivered bool            `cbor:"7,keyasint"` // to the other circle: the question; of theirs, our answer
	Refused   string          `cbor:"8,keyasint"`
	Answered  int64           `cbor:"9,keyasint"`
	Yes       bool            `cbor:"10,keyasint"`
	Reply     machine.Private `cbor:"11,keyasint"`
}

var (
	asked = machine.NewTable[contact]("findable", "asked") // by ours: circle, id
	got   = machine.NewTable[contact]("findable", "got")   // by theirs: circle, id
)

func contactKey(circle, id string) machine.Key { return machine.Key{}.Str(circle).Str(id) }

func contactRules() []machine.Rule {
	return []machine.Rule{
		machine.Do("findable.ask", "Ask somebody who was found whether they want to be in touch.",
			member.Signed, ask),
		machine.Do("findable.answer", "Answer somebody of another circle who wants to be in touch.",
			member.Signed, answerContact),
		machine.Do("findable.contact", "Take a question to be in touch from another circle.",
			machine.PeerOnly, takeContact),
		machine.Do("findable.reply", "Take an answer on being in touch from another circle.",
			machine.PeerOnly, takeReply),
		machine.Do("findable.delivered", "Note that another circle has a question or an answer of ours.",
			node, delivered),
	}
}

// checkQuestion refuses a question without words.
func checkQuestion(w machine.Private) error {
	if !w.IsSealed() && strings.TrimSpace(w.Clear()) == "" {
		return machine.Refuse("words_missing", "Write a few words: who you are, and why you ask.")
	}
	return exchange.CheckWords(w, MaxContactRunes)
}

// Check implements machine.Checker.
func (a Ask) Check() error {
	return cmp.Or(exchange.CheckCircle(a.Circle), exchange.CheckID(a.Card), checkQuestion(a.Words))
}

// Check implements machine.Checker.
func (a Answer) Check() error {
	return cmp.Or(exchange.CheckCircle(a.Circle), exchange.CheckID(a.ID),
		exchange.CheckWords(a.Words, MaxContactRunes))
}

// Check implements machine.Checker.
func (c Contact) Check() error {
	return cmp.Or(exchange.CheckID(c.ID), exchange.CheckID(c.Card), checkQuestion(c.Words))
}

// Check implements machine.Checker.
func (r Reply) Check() error {
	return cmp.Or(exchange.CheckID(r.ID), exchange.CheckWords(r.Words, MaxContactRunes))
}

// Check implements machine.Checker.
func (d Delivered) Check() error {
	if !letter.Readable(d.Refused, 100) {
		return machine.Refuse("malformed", "This is no reason.")
	}
	return cmp.Or(exchange.CheckCircle(d.Circle), exchange.CheckID(d.ID))
}

// Sealed implements machine.Personal.
func (a Ask) Sealed(s machine.Sealing) (any, error) {
	var err error
	a.Words, err = s.Under(s.Person(), "words", a.Words)
	return a, err
}

// Sealed implements machine.Personal.
func (a Answer) Sealed(s machine.Sealing) (any, error) {
	var err error
	a.Words, err = s.Under(s.Person(), "words", a.Words)
	return a, err
}

// Sealed implements machine.Personal: the words are for the one whose card it is, and sealed under their key.
func (c Contact) Sealed(s machine.Sealing) (any, error) {
	owner, err := shownBy(s, c.Card)
	if err != nil {
		return nil, err
	}
	c.Words, err = s.Under(owner, "words", c.Words)
	return c, err
}

// Sealed implements machine.Personal.
func (r Reply) Sealed(s machine.Sealing) (any, error) {
	circle, _ := s.Peer()
	was, ok := asked.Get(s, contactKey(circle, r.ID))
	if !ok {
		return nil, notAsked()
	}
	var err error
	r.Words, err = s.Under(was.Person, "words", r.Words)
	return r, err
}

func notAsked() error {
	return machine.Refuse("not_asked", "Nobody here asked that.")
}

// shownBy is whose card it is, while they show it.
func shownBy(r machine.Reader, card string) (string, error) {
	s, ok := cards.Get(r, machine.Key{}.Str(card))
	if !ok || s.Gone {
		return "", machine.Refuse("not_shown", "This card is not shown any more.")
	}
	return s.Person, nil
}

func ask(tx *machine.Tx, b Ask) (machine.None, error) {
	person := tx.Caller().Person()
	us, _ := member.TheCircle(tx)
	if _, known := exchange.KeyOf(tx, letter.CircleID(b.Circle)); !known && b.Circle != us.ID {
		return machine.None{}, machine.Refuse("unknown_circle", "This circle does not know %.40q.", b.Circle)
	}
	open := 0
	for _, c := range asked.All(tx, nil, nil) {
		if c.Person != person || c.Answered != 0 || c.Refused != "" {
			continue
		}
		if open++; c.Circle == b.Circle && c.Card == b.Card {
			return machine.None{}, machine.Refuse("asked_already", "You have asked them already. They answer"+
				" when they want to.")
		}
	}
	if open >= MaxOpenAsked {
		return machine.None{}, machine.Refuse("too_many", "You have asked %d people who did not answer yet."+
			" Wait for some of them first.", open)
	}
	b.Words.Of = person
	c := contact{
		ID: exchange.FreshID(tx), Circle: b.Circle, Person: person, Card: b.Card,
		Words: b.Words, At: tx.Now(),
	}
	if c.Circle == us.ID {
		owner, err := shownBy(tx, c.Card)
		if err != nil {
			return machine.None{}, err
		}
		c.Delivered = true
		at := c
		at.Person, at.Delivered = owner, false
		got.Put(tx, contactKey(c.Circle, c.ID), at)
		tx.Emit(machine.Event{Kind: "findable.asked", Audience: []string{owner}, Subject: owner})
	}
	asked.Put(tx, contactKey(c.Circle, c.ID), c)
	return machine.None{}, nil
}

func takeContact(tx *machine.Tx, b Contact) (machine.None, error) {
	circle, _ := tx.Caller().Peer()
	if _, known := exchange.KeyOf(tx, letter.CircleID(circle)); !known {
		return machine.None{}, machine.Refuse("unknown_circle", "This circle does not know %.40q.", circle)
	}
	owner, err := shownBy(tx, b.Card)
	if err != nil {
		return machine.None{}, err
	}
	key := contactKey(circle, b.ID)
	if got.Has(tx, key) {
		return machine.None{}, nil // a repeat
	}
	open := 0
	for _, c := range got.All(tx, machine.Key{}.Str(circle), nil) {
		if c.Answered == 0 {
			open++
		}
	}
	if open >= MaxContacts {
		return machine.None{}, machine.Refuse("too_many", "%d questions from there wait for an answer.", open)
	}
	b.Words.Of = owner
	got.Put(tx, key, contact{
		ID: b.ID, Circle: circle, Person: owner, Card: b.Card, Words: b.Words, At: tx.Now(),
	})
	tx.Emit(machine.Event{Kind: "findable.asked", Audience: []string{owner}, Subject: owner})
	return machine.None{}, nil
}

func answerContact(tx *machine.Tx, b Answer) (machine.None, error) {
	key := contactKey(b.Circle, b.ID)
	c, ok := got.Get(tx, key)
	if !ok || c.Person != tx.Caller().Person() {
		return machine.None{}, machine.Refuse("not_asked", "Nobody asked you that.")
	}
	if c.Answered != 0 {
		return machine.None{}, machine.Refuse("answered", "You have answered already.")
	}
	b.Words.Of = c.Person
	c.Answered, c.Yes, c.Reply = tx.Now(), b.Yes, b.Words
	if by, ours := asked.Get(tx, key); ours { // of this very circle
		c.Delivered = true
		by.Answered, by.Yes, by.Reply = c.Answered, c.Yes, c.Reply
		asked.Put(tx, key, by)
		tx.Emit(machine.Event{
			Kind: "findable.answered", Audience: []string{by.Person}, Subject: by.Person,
		})
	}
	got.Put(tx, key, c)
	return machine.None{}, nil
}

func takeReply(tx *machine.Tx, b Reply) (machine.None, error) {
	circle, _ := tx.Caller().Peer()
	key := contactKey(circle, b.ID)
	c, ok := asked.Get(tx, key)
	if !ok {
		return machine.None{}, notAsked()
	}
	if c.Answered != 0 {
		return machine.None{}, nil // a repeat
	}
	b.Words.Of = c.Person
	c.Answered, c.Yes, c.Reply, c.Delivered = tx.Now(), b.Yes, b.Words, true
	asked.Put(tx, key, c)
	tx.Emit(machine.Event{Kind: "findable.answered", Audience: []string{c.Person}, Subject: c.Person})
	return machine.None{}, nil
}

func delivered(tx *machine.Tx, b Delivered) (machine.None, error) {
	table := asked
	if b.Answer {
		table = got
	}
	key := contactKey(b.Circle, b.ID)
	c, ok := table.Get(tx, key)
	if !ok {
		return machine.None{}, notAsked()
	}
	c.Delivered, c.Refused = true, cmp.Or(b.Refused, c.Refused)
	table.Put(tx, key, c)
	return machine.None{}, nil
}

// Contacts are the person's questions to people of other circles, and theirs to the person, newest first.
type Contacts struct {
	Asked []Question `json:"asked"`
	Got   []Question `json:"got"`
}

// Question is one of them.
type Question struct {
	ID       string `json:"id"`
	Circle   string `json:"circle"`
	Card     string `json:"card"`
	Words    string `json:"words"`
	At       int64  `json:"at"`
	Sent     bool   `json:"sent"`              // it is in the other circle; of theirs: our answer is
	Refused  string `json:"refused,omitempty"` // why the other circle does not take it: a code
	Answered int64  `json:"answered"`          // 0: not yet
	Yes      bool   `json:"yes"`
	Reply    string `json:"reply"`
}

func contacts(rd machine.Read, _ machine.None) (Contacts, error) {
	list := func(t machine.Table[contact]) []Question {
		out := []Question{}
		for _, c := range t.All(rd, nil, nil) {
			if c.Person == rd.Person() {
				out = append(out, Question{
					ID: c.ID, Circle: c.Circle, Card: c.Card, Words: rd.Text(c.Words), At: c.At,
					Sent: c.Delivered, Refused: c.Refused, Answered: c.Answered, Yes: c.Yes,
					Reply: rd.Text(c.Reply),
				})
			}
		}
		slices.SortFunc(out, func(a, b Question) int { return cmp.Compare(b.At, a.At) })
		return out
	}
	return Contacts{Asked: list(asked), Got: list(got)}, nil
}

// Outgoing is a question or an answer that another circle has not got yet.
type Outgoing struct {
	Circle letter.CircleID
	ID     string
	Answer bool
	Yes    bool
	Card   string
	Words  string
}

// Outgoings lists what is to go to other circles. Open gives private data in clear; what cannot be read any
// more is left out.
func Outgoings(r machine.Reader, open func(p machine.Private) ([]byte, bool)) []Outgoing {
	var out []Outgoing
	for _, c := range asked.All(r, nil, nil) {
		if c.Delivered {
			continue
		}
		if words, ok := open(c.Words); ok {
			out = append(out, Outgoing{
				Circle: letter.CircleID(c.Circle), ID: c.ID, Card: c.Card, Words: string(words),
			})
		}
	}
	for _, c := range got.All(r, nil, nil) {
		if c.Answered == 0 || c.Delivered {
			continue
		}
		if words, ok := open(c.Reply); ok {
			out = append(out, Outgoing{
				Circle: letter.CircleID(c.Circle), ID: c.ID, Answer: true, Yes: c.Yes, Words: string(words),
			})
		}
	}
	return out
}

// keptContacts is what is kept of a person's questions and answers.
func keptContacts(rd machine.Read, person string) []machine.Kept {
	var out []machine.Kept
	for _, c := range asked.All(rd, nil, nil) {
		if c.Person == person {
			out = append(out, machine.Kept{
				What: "a question to be in touch", At: c.At, Words: rd.Text(c.Words),
			})
		}
	}
	for _, c := range got.All(rd, nil, nil) {
		if c.Person == person {
			out = append(out, machine.Kept{What: "asked to be in touch", At: c.At, Words: rd.Text(c.Words)})
		}
	}
	return out
}
