package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// moves follows people who move: whom the circle knows, and the coins they take with them.
func (b *books) moves(c machine.Command, out machine.Outcome) bool {
	if out.Refusal != nil {
		return false
	}
	switch c.Kind {
	case "moving.decide":
		if d := body[moving.Decide](b, c); d.Yes {
			p := d.Person
			b.active[p], b.codes[d.Code], b.arrivals[d.Circle+d.ID] = false, p, p
			b.givesBack(coin.SuspensePrefix + p)
			b.leavesAgain(out)
		}
	case "moving.packet":
		circle, _ := c.Peer()
		k := body[moving.Packet](b, c)
		b.links[k.Link] = b.arrivals[circle+k.ID]
	case "moving.go":
		b.leaving[c.Actor] = true
		b.takesAlong(out)
		b.departs(c.Actor)
	case "moving.arrived":
		b.leavesAgain(out)
	case "moving.step":
		b.takesAlong(out)
		for person := range b.leaving {
			b.departs(person)
		}
	}
	return true
}

// leavesAgain has those leave of whom the circle had forgotten that they did.
func (b *books) leavesAgain(out machine.Outcome) {
	for _, e := range out.Events {
		if e.Kind == "moving.leaving" {
			b.leaving[e.Subject] = true
			b.takesAlong(out)
			b.departs(e.Subject)
		}
	}
}

// departs ends somebody's life in the circle when they have no coins left in it, and none on their way.
func (b *books) departs(person string) {
	if a := b.accounts[person]; a == nil || a.posted == 0 && a.out == 0 && a.in == 0 {
		delete(b.active, person)
		delete(b.leaving, person)
		b.gone[person] = true
	}
}

// takesAlong follows the payments that a command made for people who leave: all they have, as far as the
// other circle's limit lets it.
func (b *books) takesAlong(out machine.Outcome) {
	for id, p := range b.peers {
		to := b.accounts[coin.CirclePrefix+id]
		for _, raw := range exchange.Outbox(b.t.state(), letter.CircleID(id), 1, 1<<40) {
			r, err := letter.Decode(raw)
			b.must(err)
			if r.Kind != letter.Propose || r.Head.Seq != out.Position || r.At != b.at {
				continue // the time, for after a restore a place in the log may be another's
			}
			o, err := payment.DecodePropose(r.Body)
			b.must(err)
			if p.out[o.TID] != nil {
				continue // one that was taken back after a restore
			}
			who := b.holder(r)
			a := b.need(who)
			if room := to.ceiling - to.posted - to.in; !b.leaving[who] || o.Minutes != min(a.posted, room) {
				b.fail("%s takes %d minutes along; has %d, and there is room for %d", who, o.Minutes,
					a.posted, room)
			}
			b.hold(id, p, o.TID, &deal{
				minutes: o.Minutes, account: who, alias: o.Alias, began: b.at, expiry: o.Expiry,
			})
		}
	}
}
