package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// peer is the auditor's page for another circle; nil for one that is not in this run.
func (b *books) peer(id string) *ally {
	other := b.t.s.byID[letter.CircleID(id)]
	if other == nil || other == b.t {
		return nil
	}
	if b.peers[id] == nil {
		b.peers[id] = &ally{out: map[payment.TID]*deal{}, in: map[payment.TID]*deal{}}
	}
	return b.peers[id]
}

func (b *books) ally(c exchange.Ally) bool {
	p := b.peer(c.Circle)
	ours := exchange.Terms{LimitMinutes: c.LimitMinutes, ReviewOn: c.ReviewOn}
	if p == nil || p.frozen || p.since && !alike(ours, p.ours) {
		return false
	}
	if p.since {
		return true
	}
	p.wish = ours
	if p.fresh == b.life {
		b.offer(c.Circle, p)
	}
	return true
}

// offer sends what was consented to.
func (b *books) offer(id string, p *ally) {
	if p.wish.LimitMinutes != 0 && !p.since {
		p.ours = p.wish
		b.agreed(id, p)
	}
	p.wish = exchange.Terms{}
}

func alike(a, b exchange.Terms) bool {
	return a.LimitMinutes == b.LimitMinutes && a.ReviewOn == b.ReviewOn
}

// agreed puts an alliance in force once both sides have named the same terms.
func (b *books) agreed(id string, p *ally) {
	if !p.since && alike(p.ours, p.theirs) {
		b.inForce(id, p)
	}
}

func (b *books) inForce(id string, p *ally) {
	p.since = true
	a := b.need(coin.CirclePrefix + id)
	a.floor, a.ceiling = -p.ours.LimitMinutes, p.ours.LimitMinutes
}

// narrow has both sides keep to the lower of two limits that both agreed to.
func (b *books) narrow(id string, p *ally, other exchange.Terms) {
	p.ours.LimitMinutes = min(p.ours.LimitMinutes, other.LimitMinutes)
	a := b.accounts[coin.CirclePrefix+id]
	a.floor, a.ceiling = -p.ours.LimitMinutes, p.ours.LimitMinutes
}

// fromPeer opens sessions and takes letters.
func (b *books) fromPeer(c machine.Command, out machine.Outcome) bool {
	id, _ := c.Peer()
	p := b.peer(id)
	if p == nil || p.frozen {
		return false
	}
	if c.Kind == "exchange.session" {
		o := body[exchange.Session](b, c)
		p.nx, p.ny, p.life = o.Nx, o.Ny, b.life
		return true
	}
	r := body[exchange.Receive](b, c)
	if r.Nx != p.nx || r.Ny != p.ny || p.life != b.life || p.fresh != b.life {
		return false
	}
	last := ^uint64(0)
	if got, ok := out.Result.(exchange.Received); ok && got.Frozen != "" {
		last, p.frozen = got.Held.Seq, true // another checker tells of it
	}
	key := b.t.s.byID[letter.CircleID(id)].public()
	for i, s := range r.Records {
		l, _, err := letter.Verifier(b.t.s.notary.verify).Open(key, s)
		if err != nil || string(l.From) != id || l.To != b.t.id {
			return i > 0 // what came before it counts
		}
		if l.Seq == p.held+1 && l.Seq <= last {
			p.held++
			b.obey(id, p, l)
		}
	}
	return true
}

// obey does what one letter says.
func (b *books) obey(id string, p *ally, l letter.Record) {
	switch l.Kind {
	case letter.Offer, letter.Agree:
		b.must(letter.Unmarshal(l.Body, len(l.Body), &p.theirs))
		b.agreed(id, p)
		if l.Kind == letter.Agree && p.since { // consents that crossed: both agreed to the lower limit
			if !alike(p.ours, p.theirs) {
				b.t.s.res.Seen["alliance narrowed"]++
			}
			b.narrow(id, p, p.theirs)
		}
	case letter.Propose:
		offer, err := payment.DecodePropose(l.Body)
		b.must(err)
		b.offered(id, p, offer)
	case letter.Cancel:
		call, err := payment.DecodeCancel(l.Body)
		b.must(err)
		if p.in[call.TID] == nil {
			p.in[call.TID] = &deal{stage: refused}
		}
	case letter.Accept:
		yes, err := payment.DecodeAccept(l.Body)
		b.must(err)
		if p.out[yes.TID] == nil {
			b.offeredBefore(id, p, yes.Propose)
		}
		if d := p.out[yes.TID]; d.stage == pending && !d.asked && !d.ruled {
			b.pays(id, d)
		}
	case letter.Reject:
		no, err := payment.DecodeReject(l.Body)
		b.must(err)
		switch d := p.out[no.TID]; {
		case d == nil:
			p.out[no.TID] = &deal{stage: back}
		case d.stage == pending && !d.asked && !d.ruled:
			b.returns(id, d)
		}
	case letter.Aborted, letter.Committed:
		v, err := payment.DecodeVerdict(l.Body)
		b.must(err)
		b.ruled(v.Certificate)
	case letter.Forgiven:
		f, err := payment.DecodeForgiven(l.Body)
		b.must(err)
		if p.out[f.TID] == nil {
			p.out[f.TID] = &deal{stage: back}
		}
		p.out[f.TID].ruled = true
		b.returns(id, p.out[f.TID])
	case letter.Epoch:
	default:
		b.fail("a letter of kind %s", l.Kind)
	}
}

func (b *books) must(err error) {
	if err != nil {
		b.fail("a letter's body: %v", err)
	}
}
