package joining

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// A hub that was put back to an older copy has forgotten who joined since, and does not even answer them any
// more. Its newer charter lacks what an earlier one says: every circle that finds so keeps the earlier, and
// shows it to the hub until nothing is lacking.

// lacking returns the entries of an earlier charter that a later one does not know, or knows as they were
// before.
func lacking(earlier, later charter.Charter) []charter.Entry {
	var out []charter.Entry
	for _, e := range earlier.Circles {
		if known, ok := later.Entry(e.Circle); !ok || known.Changed < e.Changed {
			out = append(out, e)
		}
	}
	return out
}

// noteForgotten keeps the charter that was held before, if the newer one lacks a part of it, and lets go of
// an earlier one of which nothing is lacking any more.
func noteForgotten(tx *machine.Tx, before, now charter.Charter) {
	if s, ok := forgotten.Get(tx, only); ok {
		kept, err := charter.Decode(s.Bytes)
		if err == nil && len(lacking(kept, now)) > 0 {
			return
		}
		forgotten.Delete(tx, only)
	}
	if s, ok := charters.Get(tx, only); ok && len(lacking(before, now)) > 0 {
		forgotten.Put(tx, only, s)
	}
}

// ShowFor is what to show the hub; false where it has forgotten nothing.
func ShowFor(r machine.Reader) (courier.CharterShow, bool) {
	s, ok := forgotten.Get(r, only)
	if !ok {
		return courier.CharterShow{}, false
	}
	us, _ := member.TheCircle(r)
	kept, err := charter.Decode(s.Bytes)
	now, known := held(r)
	if err != nil || !known {
		return courier.CharterShow{}, false
	}
	show := courier.CharterShow{From: letter.CircleID(us.ID), To: kept.Hub, Charter: s}
	size := 0
	for _, e := range lacking(kept, now) {
		card := exchange.CardOf(r, e.Circle)
		size += len(card)
		if len(show.Cards) == courier.MaxCircleCards || size > courier.MaxCircleCardsBytes {
			break
		}
		if len(card) > 0 {
			show.Cards = append(show.Cards, card)
		}
	}
	return show, true
}

// Forgot tells whether there is anything in what is shown that this hub has forgotten.
func Forgot(r machine.Reader, m courier.CharterShow) bool {
	c, err := charter.Decode(m.Charter.Bytes)
	if err != nil {
		return false
	}
	for _, e := range c.Circles {
		if ours, ok := entries.Get(r, machine.Key{}.Str(string(e.Circle))); ok && e.Changed > ours.Changed {
			return true
		}
	}
	for _, raw := range m.Cards {
		card, err := charter.OpenCard(raw)
		if err != nil {
			return false
		}
		_, in := c.Entry(card.Circle)
		if in && !entries.Has(r, machine.Key{}.Str(string(card.Circle))) {
			return true
		}
	}
	return false
}

// show takes back what the hub itself has signed: the later of two changes of an entry counts.
func (f feature) show(tx *machine.Tx, b Show) (machine.None, error) {
	if err := atHub(tx); err != nil {
		return machine.None{}, err
	}
	from, _ := tx.Caller().Peer()
	if _, known := exchange.KeyOf(tx, letter.CircleID(from)); !known {
		return machine.None{}, machine.Refuse("unknown_circle",
			"This hub does not know the circle that asks.")
	}
	us, _ := member.TheCircle(tx)
	c, err := charter.Open(f.Verify, us.Key, b.Charter)
	if err != nil || string(c.Hub) != us.ID {
		return machine.None{}, machine.Refuse("malformed", "This is no charter of ours: %v.", err)
	}
	for _, e := range c.Circles {
		if ours, ok := entries.Get(tx, machine.Key{}.Str(string(e.Circle))); ok && e.Changed > ours.Changed {
			if string(e.Circle) != us.ID {
				ours.Status = e.Status
			}
			change(tx, ours) // of us too, so that nobody finds it lacking
		}
	}
	for _, raw := range b.Cards {
		card, err := charter.OpenCard(raw)
		if err != nil {
			return machine.None{}, machine.Refuse("bad_card", "This is not a circle's card: %v.", err)
		}
		e, in := c.Entry(card.Circle)
		if _, ok := entries.Get(tx, machine.Key{}.Str(string(card.Circle))); !in || ok {
			continue
		}
		if _, err := meetAgain(tx, raw); err != nil {
			return machine.None{}, err
		}
		e.Card = card.Seq
		change(tx, entry{Entry: e, Since: tx.Now()})
	}
	return machine.None{}, nil
}
