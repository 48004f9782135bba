package member

import (
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// MaxPeopleListed bounds one answer of member.list.
const MaxPeopleListed = 500

// PersonQuery names a person; SessionQuery a session.
type PersonQuery struct {
	Person string `json:"person" doc:"a person's id"`
}

// SessionQuery names a session by the hash of its token.
type SessionQuery struct {
	Session machine.Hash `json:"session"`
}

// LinkQuery names a one-time link by the hash of its secret.
type LinkQuery struct {
	Link machine.Hash `json:"link"`
}

// LinkState says whom a link that can still be used is for. The other links are refused.
type LinkState struct {
	Name  string `json:"name"`
	First bool   `json:"first"` // the person has not been here before
}

// AboutCircle is what anyone may know of the circle.
type AboutCircle struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Place    string       `json:"place"`
	Aim      string       `json:"aim"`
	Key      []byte       `json:"key"`
	Founded  int64        `json:"founded"`
	Position uint64       `json:"position"`
	Head     machine.Hash `json:"head"`
}

// Listed is a person as another member sees them.
type Listed struct {
	Person string   `json:"person"`
	Name   string   `json:"name"`
	Hats   []string `json:"hats"`
	Active bool     `json:"active"`
	Seen   bool     `json:"seen"`
}

// People is an answer of member.list.
type People struct {
	People []Listed `json:"people"`
	Others int      `json:"others"` // members who chose not to be seen
}

// Me is what a person sees of themselves.
type Me struct {
	Person   string      `json:"person"`
	Name     string      `json:"name"`
	Hats     []string    `json:"hats"`
	Seen     bool        `json:"seen"`
	Journey  bool        `json:"journey"`
	Passkeys []KeyOfMine `json:"passkeys"`
	Sessions []OpenedAt  `json:"sessions"`
	ActsFor  []Listed    `json:"actsFor"`
	ActForMe []Listed    `json:"actForMe"`
}

// KeyOfMine is one passkey, by the name its owner gave the device.
type KeyOfMine struct {
	ID    []byte `json:"id"`
	Name  string `json:"name"`
	Added int64  `json:"added"`
}

// OpenedAt is one open session.
type OpenedAt struct {
	Session machine.Hash `json:"session"`
	Opened  int64        `json:"opened"`
	Until   int64        `json:"until"`
}

// SignedIn says whose session a token is.
type SignedIn struct {
	Person string `json:"person"` // empty: no such session, or it ended
	Until  int64  `json:"until"`
}

// StoredPasskeys are a person's passkeys as the sign-in library keeps them.
type StoredPasskeys struct {
	Name   string   `json:"name"`
	Stored [][]byte `json:"stored"`
}

// Happened is an event with its people named as far as the reader may know them.
type Happened struct {
	machine.Event
	SubjectName string `json:"subjectName,omitempty"`
	ObjectName  string `json:"objectName,omitempty"`
}

// Events is an answer of member.events, newest first.
type Events struct {
	Events []Happened `json:"events"`
}

// Reading is the policy of what members and whoever runs the node may read.
var Reading = machine.AnyOf(Signed, machine.Only(machine.ActorOperator), node)

func views() []machine.View {
	return []machine.View{
		machine.Ask("member.circle", "The circle: its name, place, aim and key.", machine.Anyone,
			aboutCircle),
		machine.Ask("member.list", "The members who chose to be seen.", Reading, list),
		machine.Ask("member.me", "What this circle holds about you as a member.", Signed, me),
		machine.Ask("member.session", "Whose session a token is.", node, whoseSession),
		machine.Ask("member.link-state", "Whether a one-time link can be used.", node, linkState),
		machine.Ask("member.passkeys", "A person's passkeys, for checking one.", node, storedPasskeys),
		machine.Ask("member.events", "What happened lately, as far as you may know it.", Reading, events),
		machine.Ask("member.file", "Everything this circle keeps about you, or with a reason about"+
			" somebody else.", mayRead, file).Of(machine.ClassRestricted),
		machine.Ask("member.looks", "Who read what is kept about you, and why.", Signed, lookers),
		machine.Ask("member.erasures", "Who was erased, and which backups still hold them.",
			Coordinator, erasures),
	}
}

func aboutCircle(rd machine.Read, _ machine.None) (AboutCircle, error) {
	c, ok := TheCircle(rd)
	if !ok {
		return AboutCircle{}, machine.Refuse("not_founded", "This node runs no circle yet.")
	}
	meta := machine.ReadMeta(rd)
	return AboutCircle{
		ID: c.ID, Name: c.Name, Place: c.Place, Aim: c.Aim, Key: c.Key, Founded: c.Founded,
		Position: meta.Position, Head: meta.Head,
	}, nil
}

// SeesAll tells whether the reader may know every member's name: coordinators and the node may.
func SeesAll(rd machine.Read) bool {
	if rd.Actor == machine.ActorOperator || rd.Actor == machine.ActorNode {
		return true
	}
	p, ok := Find(rd, rd.Actor)
	return ok && p.Wears(HatCoordinator, rd.Now) && rd.Person() == rd.Actor
}

// Unnamed stands for a member whose name the reader may not know.
const Unnamed = "a member"

// Gone stands for a person who was erased.
const Gone = "someone who left"

// NameFor returns a person's name as far as the reader may know it: Unnamed otherwise, and the id itself
// for what is not a person.
func NameFor(rd machine.Read, id string) string {
	p, ok := Find(rd, id)
	switch {
	case !ok:
		return id
	case p.Status == Left, p.Seen, rd.Person() == id, rd.Actor == id, SeesAll(rd):
		return called(rd, p)
	default:
		return Unnamed
	}
}

// called returns a person's name for a reader who may know it. A rule cannot read names: what it says of
// people stands in its refusals as {person:ID}, which Named puts in words for whoever reads them.
func called(rd machine.Read, p Person) string {
	name, ok := rd.Bytes(p.Name)
	switch {
	case p.Status == Left:
		return Gone
	case ok:
		return string(name)
	case !rd.CanOpen():
		return namePrefix + p.ID + "}"
	default:
		return Unnamed
	}
}

const namePrefix = "{person:"

// Named puts the people in a rule's words by name, as far as the reader may know them.
func Named(rd machine.Read, words string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(words, namePrefix)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		id, after, closed := strings.Cut(rest, "}")
		if _, ok := Find(rd, id); !closed || !ok {
			out.WriteString(namePrefix)
			words = rest
			continue
		}
		out.WriteString(NameFor(rd, id))
		words = after
	}
}

func listed(rd machine.Read, p Person) Listed {
	l := Listed{
		Person: p.ID, Name: NameFor(rd, p.ID), Active: p.Status == Active, Seen: p.Seen, Hats: []string{},
	}
	for _, h := range p.Hats {
		if p.Wears(h.Name, rd.Now) {
			l.Hats = append(l.Hats, h.Name)
		}
	}
	return l
}

func list(rd machine.Read, _ machine.None) (People, error) {
	out := People{People: []Listed{}}
	all := SeesAll(rd)
	for _, p := range persons.All(rd, nil, nil) {
		switch {
		case len(out.People) >= MaxPeopleListed, p.Status == Left, p.Status == Moved,
			!all && p.Status != Active:
		case all, p.Seen:
			out.People = append(out.People, listed(rd, p))
		default:
			out.Others++
		}
	}
	return out, nil
}

func me(rd machine.Read, _ machine.None) (Me, error) {
	p, err := Known(rd, rd.Person())
	if err != nil {
		return Me{}, err
	}
	own := listed(rd, p)
	out := Me{
		Person: p.ID, Name: called(rd, p), Hats: own.Hats, Seen: p.Seen, Journey: p.Journey,
		Passkeys: []KeyOfMine{}, Sessions: []OpenedAt{}, ActsFor: []Listed{}, ActForMe: []Listed{},
	}
	if rd.Person() == rd.Actor { // an advocate has no business with the keys and sessions
		for _, k := range passkeys.All(rd, machine.Key{}.Str(p.ID), nil) {
			out.Passkeys = append(out.Passkeys, KeyOfMine{ID: k.ID, Name: rd.Text(k.Name), Added: k.Added})
		}
		for _, hash := range mine.All(rd, machine.Key{}.Str(p.ID), nil) {
			s, _ := sessions.Get(rd, machine.Key{}.Bytes(hash[:]))
			out.Sessions = append(out.Sessions, OpenedAt{Session: hash, Opened: s.Opened, Until: s.Until})
		}
	}
	for _, a := range actings.All(rd, nil, nil) {
		if a.Until != 0 && rd.Now >= a.Until {
			continue
		}
		if a.Advocate == p.ID {
			other, _ := Find(rd, a.Person)
			out.ActsFor = append(out.ActsFor, Listed{Person: other.ID, Name: called(rd, other)})
		}
		if a.Person == p.ID {
			other, _ := Find(rd, a.Advocate)
			out.ActForMe = append(out.ActForMe, Listed{Person: other.ID, Name: called(rd, other)})
		}
	}
	return out, nil
}

func whoseSession(rd machine.Read, q SessionQuery) (SignedIn, error) {
	s, ok := sessions.Get(rd, machine.Key{}.Bytes(q.Session[:]))
	if !ok || rd.Now >= s.Until {
		return SignedIn{}, nil
	}
	return SignedIn{Person: s.Person, Until: s.Until}, nil
}

// usable refuses a link that cannot be used at a time.
func (l oneTimeLink) usable(known bool, now int64) error {
	switch {
	case !known:
		return machine.Refuse("link_unknown", "This link is not one of this circle's."+
			" Ask your circle for a new one.")
	case l.Used != 0:
		return machine.Refuse("link_used", "This link was used before. Ask your circle for a new one.")
	case now >= l.Until:
		return machine.Refuse("link_expired", "This link is too old. Ask your circle for a new one.")
	}
	return nil
}

func linkState(rd machine.Read, q LinkQuery) (LinkState, error) {
	l, ok := links.Get(rd, machine.Key{}.Bytes(q.Link[:]))
	if err := l.usable(ok, rd.Now); err != nil {
		return LinkState{}, err
	}
	p, err := Known(rd, l.Person)
	return LinkState{Name: called(rd, p), First: p.Status == Invited}, err
}

func storedPasskeys(rd machine.Read, q PersonQuery) (StoredPasskeys, error) {
	p, err := Known(rd, q.Person)
	if err != nil {
		return StoredPasskeys{}, err
	}
	out := StoredPasskeys{Name: called(rd, p), Stored: [][]byte{}}
	for _, k := range passkeys.All(rd, machine.Key{}.Str(q.Person), nil) {
		stored, ok := rd.Bytes(k.Stored)
		if !ok {
			continue
		}
		out.Stored = append(out.Stored, stored)
	}
	return out, nil
}

// asSeen gives whom an event is about as far as the reader may know them: with the name goes the id, which
// would tie everything one person does together.
func asSeen(rd machine.Read, id string) (shown, name string) {
	if id == "" {
		return "", ""
	}
	if name = NameFor(rd, id); name == Unnamed {
		return "", name
	}
	return id, name
}

func events(rd machine.Read, _ machine.None) (Events, error) {
	sees := func(e machine.Event) bool {
		return slices.Contains(e.Audience, machine.AudienceCircle) || slices.Contains(e.Audience, rd.Person())
	}
	out := Events{Events: []Happened{}}
	for _, e := range machine.Events(rd, 50, sees) {
		h := Happened{Event: e}
		h.Audience = []string{} // who else may see it is nobody's business
		h.Words = Named(rd, e.Words)
		h.Subject, h.SubjectName = asSeen(rd, e.Subject)
		h.Object, h.ObjectName = asSeen(rd, e.Object)
		out.Events = append(out.Events, h)
	}
	return out, nil
}
