package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/letter"
)

// roundBook is a round as the auditor has it.
type roundBook struct {
	changes []clearing.Obligation
	aside   bool
}

// rounds follows what is set off between circles: what is put aside, and what becomes of it.
func (b *books) rounds(c machine.Command, out machine.Outcome) bool {
	if out.Refusal != nil {
		return false
	}
	switch c.Kind {
	case "netting.proposed":
		r := b.paper(body[netting.Proposed](b, c).Paper)
		b.agrees(r, out)
	case "netting.answer":
		b.agrees(b.papers[body[netting.Answer](b, c).Number], out)
	case "netting.decided":
		r := b.paper(body[netting.Decided](b, c).Paper)
		for _, e := range out.Events {
			if e.Kind != "netting.cleared" && e.Kind != "netting.dropped" {
				continue
			}
			if r.aside {
				b.putsAside(r, -1)
			}
			if r.aside = false; e.Kind == "netting.cleared" {
				b.setsOff(r)
			}
		}
	}
	return true
}

// paper keeps what a paper changes for this circle.
func (b *books) paper(s letter.Signed) *roundBook {
	p, err := clearing.DecodePaper(s.Bytes)
	b.must(err)
	if r := b.papers[p.Number]; r != nil {
		return r
	}
	r := &roundBook{}
	for _, o := range p.Proposal.Changes {
		if o.Debtor == string(b.t.id) || o.Creditor == string(b.t.id) {
			r.changes = append(r.changes, o)
		}
	}
	b.papers[p.Number] = r
	return r
}

// agrees puts aside what a round sets off, if the circle agreed; it may do so with what is owed by its books.
func (b *books) agrees(r *roundBook, out machine.Outcome) {
	for _, e := range out.Events {
		if e.Kind != "netting.agreed" {
			continue
		}
		for _, o := range r.changes {
			var owed int64
			if o.Creditor == string(b.t.id) {
				owed = -b.need(coin.CirclePrefix + o.Debtor).posted
			} else {
				owed = b.need(coin.CirclePrefix + o.Creditor).posted
			}
			if owed < o.Minutes {
				b.fail("agrees to set off %d minutes of %d", o.Minutes, owed)
			}
		}
		r.aside = true
		b.putsAside(r, 1)
	}
}

func (b *books) putsAside(r *roundBook, sign int64) {
	for _, o := range r.changes {
		if o.Debtor == string(b.t.id) {
			b.need(coin.CirclePrefix + o.Creditor).out += sign * o.Minutes
		} else {
			b.need(coin.CirclePrefix + o.Debtor).in += sign * o.Minutes
		}
	}
}

func (b *books) setsOff(r *roundBook) {
	for _, o := range r.changes {
		if o.Debtor == string(b.t.id) {
			b.need(coin.CirclePrefix + o.Creditor).posted -= o.Minutes
		} else {
			b.need(coin.CirclePrefix + o.Debtor).posted += o.Minutes
		}
	}
}
