// Package findable is the feature by which members can be found from other circles: what each chose to show
// there, field by field, and who has answered that it is gone since it was taken back. Without a choice
// nothing is shown. The cards themselves are signed and sent by the node; what is on them is sealed here.
package findable

import (
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

const (
	dayMillis   = 24 * 60 * 60 * 1000
	lifeMillis  = 60 * dayMillis // of a card
	renewMillis = 30 * dayMillis // before its end it is renewed
)

// shown is what a member shows; after they took it back, what others have to forget. CBOR keys 8 and up are
// free.
type shown struct {
	ID     string          `cbor:"1,keyasint"` // of the card
	Person string          `cbor:"2,keyasint"`
	Seq    uint64          `cbor:"3,keyasint"`
	Until  int64           `cbor:"4,keyasint"`
	Since  int64           `cbor:"5,keyasint"` // of this choice, or of its taking back
	Card   machine.Private `cbor:"6,keyasint"` // the card without its head, encoded; empty when taken back
	Gone   bool            `cbor:"7,keyasint"`
}

type answer struct {
	At  int64         `cbor:"1,keyasint"` // by our clock
	Ack letter.Signed `cbor:"2,keyasint"`
}

var (
	cards   = machine.NewTable[shown]("findable", "card") // id
	ofWhom  = machine.NewTable[string]("findable", "of")  // person: id of what they show
	counts  = machine.NewTable[uint64]("findable", "count")
	sectors = machine.NewTable[directory.Point]("findable", "sector")
	answers = machine.NewTable[answer]("findable", "answer") // id, circle
)

var node = machine.Only(machine.ActorNode)

// Feature returns the feature's rules and views.
func Feature() machine.Feature {
	return machine.Feature{Name: "findable", Keeps: kept, Rules: append(contactRules(), []machine.Rule{
		machine.Do("findable.choose", "Choose what members of other circles may see of you.", member.Signed,
			choose),
		machine.Do("findable.withdraw", "Take back what members of other circles may see of you.",
			member.Signed, withdraw),
		machine.Do("findable.sectors", "Say where postcode sectors are.", member.Secretary, setSectors),
		machine.Do("findable.renew", "Have cards of members count for longer.", node, renew),
		machine.Do("findable.acknowledge", "Keep another circle's word that a card is gone there.", node,
			acknowledge),
	}...), Views: []machine.View{
		machine.Ask("findable.mine", "What members of other circles may see of you.", member.Signed, mine),
		machine.Ask("findable.contacts", "Whom you asked to be in touch, and who asked you.", member.Signed,
			contacts),
		machine.Ask("findable.sectors", "Where postcode sectors are.", member.Reading, listSectors),
	}}
}

// Sealed implements machine.Personal.
func (c Choose) Sealed(s machine.Sealing) (any, error) {
	if c.Closed.IsSealed() {
		return c, nil
	}
	clear, err := c.Card.private(s, s.Person())
	if err != nil {
		return nil, err
	}
	sealed, err := s.Under(s.Person(), "card", clear)
	return Choose{Closed: sealed}, err
}

// private is what was chosen as it is kept, in clear.
func (c Choice) private(r machine.Reader, person string) (machine.Private, error) {
	card, err := c.card()
	if err != nil {
		return machine.Private{}, err
	}
	if card.Sector != "" {
		at, ok := sectors.Get(r, machine.Key{}.Str(card.Sector))
		if !ok {
			return machine.Private{}, machine.Refuse("sector_unknown",
				"This circle does not know where %s is. Leave the place empty, or ask"+
					" your coordinators to enter it.", card.Sector)
		}
		card.At = at
	}
	raw, err := letter.Marshal(card)
	return machine.Private{Of: person, Data: raw}, err
}

func choose(tx *machine.Tx, b Choose) (machine.None, error) {
	person := tx.Caller().Person()
	if _, err := member.Known(tx, person); err != nil {
		return machine.None{}, err
	}
	card := b.Closed
	if !card.IsSealed() {
		var err error
		if card, err = b.Card.private(tx, person); err != nil {
			return machine.None{}, err
		}
	}
	id, ok := ofWhom.Get(tx, machine.Key{}.Str(person))
	if !ok {
		id = exchange.FreshID(tx)
		ofWhom.Put(tx, machine.Key{}.Str(person), id)
	}
	cards.Put(tx, machine.Key{}.Str(id), shown{
		ID: id, Person: person, Seq: next(tx), Until: tx.Now() + lifeMillis, Since: tx.Now(), Card: card,
	})
	tx.Emit(machine.Event{Kind: "findable.chosen", Audience: []string{person}, Subject: person})
	return machine.None{}, nil
}

// next is the number of the circle's next card.
func next(tx *machine.Tx) uint64 {
	n := Count(tx) + 1
	counts.Put(tx, machine.Key{}, n)
	return n
}

// Count is the number of the circle's newest card.
func Count(r machine.Reader) uint64 {
	n, _ := counts.Get(r, machine.Key{})
	return n
}

func withdraw(tx *machine.Tx, _ Withdraw) (machine.None, error) {
	person := tx.Caller().Person()
	id, ok := ofWhom.Get(tx, machine.Key{}.Str(person))
	if !ok {
		return machine.None{}, machine.Refuse("not_shown", "Other circles see nothing of you.")
	}
	takeBack(tx, id)
	return machine.None{}, nil
}

// takeBack has a card say nothing any more. Its number and end stay until nobody can hold it.
func takeBack(tx *machine.Tx, id string) {
	was, ok := cards.Get(tx, machine.Key{}.Str(id))
	if !ok || was.Gone {
		return
	}
	ofWhom.Delete(tx, machine.Key{}.Str(was.Person))
	cards.Put(tx, machine.Key{}.Str(id), shown{
		ID: id, Person: was.Person, Seq: next(tx), Until: max(was.Until, tx.Now()+dayMillis), Since: tx.Now(),
		Gone: true,
	})
	tx.Emit(machine.Event{Kind: "findable.withdrawn", Audience: []string{was.Person}, Subject: was.Person})
}

func setSectors(tx *machine.Tx, b Sectors) (machine.None, error) {
	for _, s := range b.Sectors {
		key := machine.Key{}.Str(normal(s.Sector))
		if s.Lat == 0 && s.Lng == 0 {
			sectors.Delete(tx, key)
			continue
		}
		sectors.Put(tx, key, directory.Point{Lat: s.Lat, Lng: s.Lng})
	}
	return machine.None{}, nil
}

func renew(tx *machine.Tx, b Renew) (machine.None, error) {
	us, _ := member.TheCircle(tx)
	for _, s := range b.Lost {
		c, err := directory.Decode(s.Bytes)
		if err != nil || directory.Verify(us.Key, s) != nil || string(c.Circle) != us.ID {
			return machine.None{}, machine.Refuse("malformed", "This is no card of ours.")
		}
		key := machine.Key{}.Str(c.ID)
		switch known := cards.Has(tx, key); {
		case !known:
			cards.Put(tx, key, shown{
				ID: c.ID, Seq: next(tx), Until: max(c.Until, tx.Now()+dayMillis), Since: tx.Now(), Gone: true,
			})
		case c.Gone:
			takeBack(tx, c.ID)
		}
	}
	behind := b.After > Count(tx)
	if behind {
		counts.Put(tx, machine.Key{}, b.After)
	}
	for _, s := range needing(tx, tx.Now(), behind) {
		key := machine.Key{}.Str(s.ID)
		switch left := hasLeft(tx, s); {
		case s.Gone && s.Until <= tx.Now():
			forget(tx, s)
		case left:
			takeBack(tx, s.ID)
		default:
			if s.Seq = next(tx); !s.Gone {
				s.Until = tx.Now() + lifeMillis
			}
			cards.Put(tx, key, s)
		}
	}
	return machine.None{}, nil
}

// forget removes what is left of a card that nobody can hold any more.
func forget(tx *machine.Tx, s shown) {
	prefix := machine.Key{}.Str(s.ID)
	var circles []machine.Key
	for key := range answers.All(tx, prefix, nil) {
		circles = append(circles, slices.Clone(key))
	}
	for _, key := range circles {
		answers.Delete(tx, key)
	}
	cards.Delete(tx, prefix)
}

func hasLeft(r machine.Reader, s shown) bool {
	p, _ := member.Find(r, s.Person)
	return !s.Gone && (p.Status == member.Left || p.Status == member.Moved)
}

// Knows tells whether a card is in the books, shown or taken back.
func Knows(r machine.Reader, id string) bool {
	return !strings.ContainsRune(id, 0) && cards.Has(r, machine.Key{}.Str(id))
}

// needing lists cards that need something: all of them, or those that soon run out, or whose owner left.
func needing(r machine.Reader, now int64, all bool) (out []shown) {
	for _, s := range cards.All(r, nil, nil) {
		due := s.Gone && s.Until <= now || !s.Gone && s.Until < now+renewMillis || hasLeft(r, s)
		if all || due && len(out) < MaxRenewedAtOnce {
			out = append(out, s)
		}
	}
	return out
}

// Due tells whether findable.renew has something to do.
func Due(r machine.Reader, now int64) bool { return len(needing(r, now, false)) > 0 }

func acknowledge(tx *machine.Tx, b Acknowledge) (machine.None, error) {
	us, _ := member.TheCircle(tx)
	var a directory.Ack
	if err := letter.Unmarshal(b.Ack.Bytes, directory.MaxCardBytes, &a); err != nil {
		return machine.None{}, machine.Refuse("malformed", "This is no word on a card.")
	}
	key, known := exchange.KeyOf(tx, a.Holder)
	if !known {
		return machine.None{}, machine.Refuse("unknown_circle", "This circle does not know %.40q.", a.Holder)
	}
	if _, err := directory.OpenAck(key, b.Ack); err != nil || string(a.Circle) != us.ID ||
		strings.ContainsRune(a.ID, 0) {
		return machine.None{}, machine.Refuse("malformed", "This is no word of %s on a card of ours.",
			a.Holder)
	}
	s, ok := cards.Get(tx, machine.Key{}.Str(a.ID))
	if !ok || !s.Gone || a.Seq != s.Seq {
		return machine.None{}, machine.Refuse("not_asked", "This card is not being taken back.")
	}
	answers.Put(tx, machine.Key{}.Str(a.ID).Str(string(a.Holder)), answer{At: tx.Now(), Ack: b.Ack})
	return machine.None{}, nil
}
