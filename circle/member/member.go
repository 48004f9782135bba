// Package member holds a circle's people: who they are, the hats they wear, how they sign in, and who may
// act for whom.
package member

import (
	"encoding/base32"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// The hats this version knows. A hat is a role put on for a while: it says what someone does.
const (
	HatGetting     = "getting-support"
	HatGiving      = "giving-support"
	HatArranging   = "arranging-support"
	HatCoordinator = "coordinator" // looks after the day: invites, records work for the group, welcomes
	HatSecretary   = "secretary"   // enters what the circle decided: coin policy, alliances
)

// Hats lists every hat that can be granted.
var Hats = []string{HatGetting, HatGiving, HatArranging, HatCoordinator, HatSecretary}

// Status of a person in the circle.
type Status uint8

// The statuses.
const (
	Invited Status = 1
	Active  Status = 2
	Left    Status = 3 // and erased: only the id is left
	Moved   Status = 4 // to another circle: see Forward
)

// Circle is the circle itself.
type Circle struct {
	_       struct{} `cbor:",toarray"`
	ID      string
	Key     []byte
	Name    string
	Place   string
	Aim     string
	Founded int64
}

// Hat is one hat worn.
type Hat struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Since int64
	Until int64 // 0: until ended
}

// Person is one human being, whatever they do here.
type Person struct {
	_       struct{} `cbor:",toarray"`
	ID      string
	Name    machine.Private
	Status  Status
	Hats    []Hat
	Seen    bool // other members may see the name
	Journey bool // coin journeys may name the person
	Joined  int64
}

type oneTimeLink struct {
	_      struct{} `cbor:",toarray"`
	Person string
	Until  int64
	Used   int64 // when; 0: not yet
}

type session struct {
	_      struct{} `cbor:",toarray"`
	Person string
	Opened int64
	Until  int64
}

type passkey struct {
	_      struct{} `cbor:",toarray"`
	Person string
	ID     []byte
	Name   machine.Private
	Added  int64
	Stored machine.Private
}

type acting struct {
	_        struct{} `cbor:",toarray"`
	Person   string
	Advocate string
	Kinds    []string
	Until    int64
	Evidence machine.Private
	Since    int64
}

var (
	circles  = machine.NewTable[Circle]("member", "circle")
	persons  = machine.NewTable[Person]("member", "person")
	links    = machine.NewTable[oneTimeLink]("member", "link")
	sessions = machine.NewTable[session]("member", "session")
	mine     = machine.NewTable[machine.Hash]("member", "session-of") // person, opened, hash
	passkeys = machine.NewTable[passkey]("member", "passkey")         // person, id
	actings  = machine.NewTable[acting]("member", "acting")           // person, advocate
)

// PersonID makes the id of a person from the command that made them known.
func PersonID(id machine.ID) string {
	return "p" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:]))
}

// TheCircle returns the circle; false before it is founded.
func TheCircle(r machine.Reader) (Circle, bool) { return circles.Get(r, machine.Key{}) }

// Find returns a person by id.
func Find(r machine.Reader, id string) (Person, bool) {
	if strings.ContainsRune(id, 0) {
		return Person{}, false
	}
	return persons.Get(r, machine.Key{}.Str(id))
}

// Known returns a person or the refusal to give.
func Known(r machine.Reader, id string) (Person, error) {
	p, ok := Find(r, id)
	if !ok {
		return p, machine.Refuse("person_unknown", "%.60q is nobody in this circle. Choose a member.", id)
	}
	if p.Status == Left {
		return p, machine.Refuse("person_left", "This person left the circle. Choose somebody else.")
	}
	if p.Status == Moved {
		return p, movedAway(r, id)
	}
	return p, nil
}

func put(tx *machine.Tx, p Person) { persons.Put(tx, machine.Key{}.Str(p.ID), p) }

// Wears tells whether the person wears the hat at a time.
func (p Person) Wears(hat string, now int64) bool {
	return slices.ContainsFunc(p.Hats, func(h Hat) bool {
		return h.Name == hat && (h.Until == 0 || now < h.Until)
	})
}

// Signed is the policy of what any member may do for themselves, or an advocate for them.
var Signed = machine.Policy{Name: "any member", Allow: func(rd machine.Read, _ any) error {
	p, ok := Find(rd, rd.Actor)
	if !ok || p.Status != Active {
		return machine.Refuse("not_a_member", "Only members of this circle may do this. Sign in first.")
	}
	return nil
}}

// Wearing is the policy of what takes a hat. An advocate cannot borrow the hats of whom they act for.
func Wearing(hat string) machine.Policy {
	return machine.Policy{Name: hat, Allow: func(rd machine.Read, _ any) error {
		p, ok := Find(rd, rd.Actor)
		if !ok || p.Status != Active || !p.Wears(hat, rd.Now) || rd.Person() != rd.Actor {
			return machine.Refuse("hat_missing", "This takes the hat %q. Ask somebody who wears it.", hat)
		}
		return nil
	}}
}

// MayAct checks that an advocate may act for the person named: the machine asks it of every caller.
func MayAct(rd machine.Read) error {
	a, ok := actings.Get(rd, machine.Key{}.Str(rd.OnBehalfOf).Str(rd.Actor))
	area, _, _ := strings.Cut(rd.Kind, ".")
	within := len(a.Kinds) == 0 || slices.Contains(a.Kinds, area)
	if !ok || !within || (a.Until != 0 && rd.Now >= a.Until) {
		return machine.Refuse("may_not_act",
			"You may not act for this person here. They, or a coordinator for them, can allow it.")
	}
	return nil
}

func known(hat string) bool { return slices.Contains(Hats, hat) }

func checkHat(hat string) error {
	if !known(hat) {
		return machine.Refuse("hat_unknown", "There is no hat %.40q. The hats are: %s.", hat,
			strings.Join(Hats, ", "))
	}
	return nil
}

// Policies of many kinds of command, in all features.
var (
	Coordinator = machine.AnyOf(Wearing(HatCoordinator), machine.Only(machine.ActorOperator))
	Secretary   = machine.AnyOf(Wearing(HatSecretary), machine.Only(machine.ActorOperator),
		machine.Only(machine.ActorCircle))
)

var (
	node = machine.Only(machine.ActorNode)
	self = machine.AnyOf(Signed, node)
)

// Feature returns the feature's rules and views.
func Feature() machine.Feature {
	return machine.Feature{Name: "member", Rules: rules(), Views: views(), Keeps: kept, Written: written}
}

func rules() []machine.Rule {
	return []machine.Rule{
		machine.Do("member.found", "Start the circle: its name, place, aim and first person.",
			machine.Only(machine.ActorOperator), found),
		machine.Do("member.invite", "Invite a person and ready a one-time link for them.",
			Coordinator, invite),
		machine.Do("member.link", "Ready a one-time sign-in link for a member.", Coordinator, newLink),
		machine.Do("member.enter", "Use a one-time link and open a session.", node, enter),
		machine.Do("member.signin", "Open a session after a passkey was checked.", node, openSession),
		machine.Do("member.signout", "Close one of your sessions.", self, closeSession),
		machine.Do("member.passkey-add", "Keep a passkey that was checked.", node, addPasskey),
		machine.Do("member.passkey-remove", "Forget one of your passkeys.", Signed, removePasskey),
		machine.Do("member.choose", "Choose your shown name and what others see of you.", Signed, choose),
		machine.Do("member.hat-grant", "Give a person a hat.", Coordinator, grantHat),
		machine.Do("member.hat-end", "Take a hat off a person.", Coordinator, endHat),
		machine.Do("member.acting-allow", "Let an advocate act for a person.",
			machine.AnyOf(Signed, machine.Only(machine.ActorOperator)), allowActing),
		machine.Do("member.acting-end", "End an advocate's acting for a person.",
			machine.AnyOf(Signed, machine.Only(machine.ActorOperator)), endActing),
		machine.Do("member.vault", "Take a new key of the vault into use.", node, setVault),
		machine.Do("member.key", "Keep a person's new key, wrapped.", node, addKey),
		machine.Do("member.looked", "Write down who read what is kept about a person, and why.",
			node, looked),
		machine.Do("member.erase", "Leave the circle, with all that is kept about you erased for ever.",
			mayErase, erase),
	}
}
