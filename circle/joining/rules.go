package joining

import (
	"crypto/sha256"
	"errors"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

func invite(tx *machine.Tx, b Invite) (machine.None, error) {
	if err := atHub(tx); err != nil {
		return machine.None{}, err
	}
	if invitations.Has(tx, machine.Key{}.Bytes(b.Secret[:])) {
		return machine.None{}, machine.Refuse("link_taken", "This secret is used already. Draw another.")
	}
	open := 0
	for _, i := range invitations.All(tx, nil, nil) {
		if i.Circle == "" && tx.Now() < i.Until {
			open++
		}
	}
	if open >= maxInvitations {
		return machine.None{}, machine.Refuse("too_many",
			"%d invitations are open, the most there can be. Wait until some are used.", open)
	}
	invitations.Put(tx, machine.Key{}.Bytes(b.Secret[:]), invitation{
		For: b.For, Decision: b.Decision, Until: tx.Now() + int64(b.Days)*dayMillis,
	})
	return machine.None{}, nil
}

func atHub(r machine.Reader) error {
	if !hub.Opened(r) {
		return machine.Refuse("not_the_hub", "This circle is not the hub of a federation.")
	}
	return nil
}

func set(tx *machine.Tx, b Set) (machine.None, error) {
	if err := atHub(tx); err != nil {
		return machine.None{}, err
	}
	status, _ := charter.ParseStatus(b.Status)
	e, ok := entries.Get(tx, machine.Key{}.Str(b.Circle))
	us, _ := member.TheCircle(tx)
	switch {
	case !ok:
		return machine.None{}, machine.Refuse("unknown_circle",
			"There is no circle %.40q in this federation.", b.Circle)
	case b.Circle == us.ID && status == charter.Closed:
		return machine.None{}, machine.Refuse("is_the_hub", "The hub cannot leave its own federation.")
	case e.Status == status:
		return machine.None{}, nil
	}
	e.Status, e.Decision = status, b.Decision
	change(tx, e)
	tx.Emit(machine.Event{
		Kind: "joining." + b.Status, Audience: []string{machine.AudienceCircle},
		Words: exchange.NameOf(tx, b.Circle), Subject: b.Circle,
	})
	return machine.None{}, nil
}

// join makes the hub known, and has the node ask it.
func join(tx *machine.Tx, b Join) (exchange.Met, error) {
	if hub.Opened(tx) {
		return exchange.Met{}, machine.Refuse("is_the_hub",
			"This circle is the hub of a federation, and cannot join another.")
	}
	us, _ := member.TheCircle(tx)
	card, err := charter.OpenCard(b.Card)
	if err != nil {
		return exchange.Met{}, machine.Refuse("bad_card", "This is not a circle's card: %v.", err)
	}
	if c, ok := held(tx); ok && c.Hub != card.Circle {
		if e, in := c.Entry(letter.CircleID(us.ID)); in && e.Status != charter.Closed {
			return exchange.Met{}, machine.Refuse("joined_already", "This circle is in the federation of %s.",
				exchange.NameOf(tx, string(c.Hub)))
		}
	}
	met, err := meetAgain(tx, b.Card)
	if err != nil {
		return met, err
	}
	if c, ok := held(tx); ok && c.Hub != card.Circle { // of a federation that this circle has left
		charters.Delete(tx, only)
		forgotten.Delete(tx, only)
		through.Delete(tx, only)
	}
	asks.Put(tx, only, asked{Hub: card.Circle, Secret: b.Secret, At: tx.Now()})
	return met, nil
}

// meetAgain makes a circle known by its card, or leaves it at a newer one.
func meetAgain(tx *machine.Tx, card []byte) (exchange.Met, error) {
	met, err := exchange.MeetCard(tx, card)
	var refusal *machine.Error
	if errors.As(err, &refusal) && refusal.Code == "old_card" {
		return met, nil
	}
	return met, err
}

// ask takes a circle in: the invitation was the hub's consent.
func ask(tx *machine.Tx, b Ask) (machine.None, error) {
	if err := atHub(tx); err != nil {
		return machine.None{}, err
	}
	id, _ := tx.Caller().Peer()
	card, err := charter.OpenCard(b.Card)
	if err != nil || string(card.Circle) != id {
		return machine.None{}, machine.Refuse("malformed", "The card is not the asking circle's.")
	}
	key := secretKey(b.Secret)
	i, _ := invitations.Get(tx, key)
	if i.Circle == id {
		return machine.None{}, nil // the answer was lost on the way
	}
	if err := Admits(tx, b, id, tx.Now()); err != nil {
		return machine.None{}, err
	}
	count := 0
	for range entries.All(tx, nil, nil) {
		count++
	}
	if count >= charter.MaxCircles {
		return machine.None{}, machine.Refuse("too_many", "This federation has %d circles, the most there"+
			" can be.", count)
	}
	if _, err := meetAgain(tx, b.Card); err != nil {
		return machine.None{}, err
	}
	i.Circle, i.At = id, tx.Now()
	invitations.Put(tx, key, i)
	e, known := entries.Get(tx, machine.Key{}.Str(id))
	if !known {
		e = entry{Entry: charter.Entry{Circle: card.Circle}, Since: tx.Now()}
	}
	e.Status, e.Card, e.Decision = charter.Founding, card.Seq, i.Decision
	change(tx, e)
	tx.Emit(machine.Event{
		Kind: "joining.joined", Audience: []string{machine.AudienceCircle}, Words: card.Name, Subject: id,
	})
	return machine.None{}, nil
}

// Admits tells whether an invitation counts for a circle, for the hub's node too: what strangers send is
// looked at before it gets into the log, which is kept for ever.
func Admits(r machine.Reader, b Ask, circle string, now int64) error {
	i, ok := invitations.Get(r, secretKey(b.Secret))
	if ok && (i.Circle == circle || i.Circle == "" && now < i.Until) {
		return nil
	}
	return machine.Refuse("bad_invitation", "This invitation is not one of this hub's, or it was used, or"+
		" its time is over. Ask the hub for another.")
}

func secretKey(secret []byte) machine.Key {
	hash := sha256.Sum256(secret)
	return machine.Key{}.Bytes(hash[:])
}

func answered(tx *machine.Tx, b Answered) (machine.None, error) {
	a, ok := asks.Get(tx, only)
	if !ok || len(a.Secret) == 0 {
		return machine.None{}, nil
	}
	a.Secret, a.Why, a.At = nil, b.Why, tx.Now()
	asks.Put(tx, only, a)
	kind := "joining.refused"
	if b.Why == "" {
		kind = "joining.taken"
		if err := exchange.NameHub(tx, string(a.Hub)); err != nil {
			return machine.None{}, err
		}
	}
	tx.Emit(machine.Event{
		Kind: kind, Audience: []string{machine.AudienceCircle},
		Words: exchange.NameOf(tx, string(a.Hub)), Subject: string(a.Hub),
	})
	return machine.None{}, nil
}

// renew takes a newer card of a circle in the federation; from the hub's own node it is the hub's.
func renew(tx *machine.Tx, b Card) (machine.None, error) {
	if err := atHub(tx); err != nil {
		return machine.None{}, err
	}
	card, err := charter.OpenCard(b.Card)
	if err != nil {
		return machine.None{}, machine.Refuse("bad_card", "This is not a circle's card: %v.", err)
	}
	us, _ := member.TheCircle(tx)
	id, peer := tx.Caller().Peer()
	if !peer {
		id = us.ID
	}
	e, ok := entries.Get(tx, machine.Key{}.Str(id))
	switch {
	case string(card.Circle) != id:
		return machine.None{}, machine.Refuse("malformed", "The card is not that circle's own.")
	case !ok && peer || e.Status == charter.Closed:
		return machine.None{}, machine.Refuse("not_in_charter",
			"This circle is not in this federation.")
	case card.Seq <= e.Card:
		return machine.None{}, nil
	}
	if peer {
		if _, err := meetAgain(tx, b.Card); err != nil {
			return machine.None{}, err
		}
	} else {
		ownCards.Put(tx, only, b.Card)
	}
	if !ok {
		e = entry{Entry: charter.Entry{Circle: card.Circle, Status: charter.Giving}, Since: tx.Now()}
	}
	e.Card = card.Seq
	change(tx, e)
	return machine.None{}, nil
}

// take keeps a newer charter of the hub, whoever gives it, and makes the circles in it known by their cards.
func (f feature) take(tx *machine.Tx, b Take) (machine.None, error) {
	from, _ := tx.Caller().Peer()
	if _, known := exchange.KeyOf(tx, letter.CircleID(from)); !known {
		return machine.None{}, machine.Refuse("unknown_circle",
			"This circle does not know the one that asks.")
	}
	at, named := exchange.Hub(tx)
	key, known := exchange.KeyOf(tx, at)
	if !named || !known || hub.Opened(tx) {
		return machine.None{}, machine.Refuse("no_hub", "This circle has no hub whose charter counts.")
	}
	if len(b.Charter.Bytes) > 0 {
		c, err := charter.Open(f.Verify, key, b.Charter)
		if err != nil || c.Hub != at {
			return machine.None{}, machine.Refuse("malformed", "A charter that does not count: %v.", err)
		}
		if before, ok := held(tx); !ok || c.Seq > before.Seq {
			noteForgotten(tx, before, c)
			charters.Put(tx, only, b.Charter)
		}
	}
	c, ok := held(tx)
	if !ok {
		return machine.None{}, machine.Refuse("malformed", "Cards without a charter.")
	}
	us, _ := member.TheCircle(tx)
	for _, raw := range b.Cards {
		card, err := charter.OpenCard(raw)
		if err != nil {
			return machine.None{}, machine.Refuse("bad_card", "This is not a circle's card: %v.", err)
		}
		e, in := c.Entry(card.Circle)
		if !in || e.Status == charter.Closed || string(card.Circle) == us.ID {
			continue
		}
		if _, err := meetAgain(tx, raw); err != nil {
			return machine.None{}, err
		}
	}
	if seen, _ := through.Get(tx, only); b.Through > seen && b.Through <= c.Seq {
		through.Put(tx, only, b.Through)
	}
	return machine.None{}, nil
}
