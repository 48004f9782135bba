package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// byNode follows what a circle's own node brings into the log.
func (b *books) byNode(c machine.Command, out machine.Outcome) bool {
	switch c.Kind {
	case "exchange.expire":
		for _, p := range b.peers {
			b.later(p)
		}
		return true
	case "exchange.welcomed":
		w := body[exchange.HearWelcome](b, c).Welcome
		p := b.peer(string(w.From))
		key := b.t.s.byID[w.From].public()
		if p == nil || p.frozen || w.Nx != b.life ||
			courier.VerifyWelcomeWith(b.t.s.notary.verify, key, w) != nil {
			return false
		}
		heard, ok := out.Result.(exchange.Heard) // how many letters there are, another checker knows
		if ok && heard.Fresh {
			p.fresh, p.owed = b.life, w.Tail
			b.offer(string(w.From), p)
		}
		p.frozen = heard.Frozen != ""
		return true
	case "exchange.recall":
		if out.Refusal != nil {
			return false
		}
		r := body[exchange.Recall](b, c)
		for _, s := range r.Records {
			b.remember(r.Circle, s)
		}
		return true
	default:
		v := body[exchange.TakeVerdict](b, c)
		cert, err := payment.OpenCertificate(b.t.s.notary.verify, b.t.s.hub.public(), v.Certificate)
		b.must(err)
		other := cert.Payee
		if other == b.t.id {
			other = cert.Payer
		}
		if p := b.peer(string(other)); p.fresh != b.life || out.Refusal != nil {
			return false
		}
		b.ruled(v.Certificate)
		return true
	}
}

// later calls back what is past its expiry, and puts to the hub what is long past it, once all was heard that
// the other circle had said when it was heard.
func (b *books) later(p *ally) {
	if p.fresh != b.life {
		return
	}
	for _, d := range p.out {
		if d.stage != pending {
			continue
		}
		d.called = d.called || b.at > d.expiry
		wait := max(d.expiry-d.began, 1000) / 2
		if d.called && b.at > d.expiry+wait && !d.ruled && p.held >= p.owed {
			d.asked = true
		}
	}
}

// remember does once more what a letter of ours says that a peer held for us.
func (b *books) remember(id string, s letter.Signed) {
	p := b.peer(id)
	r, err := letter.Decode(s.Bytes)
	b.must(err)
	switch r.Kind {
	case letter.Offer, letter.Agree:
		b.remembersTerms(id, p, r)
	case letter.Propose:
		o, err := payment.DecodePropose(r.Body)
		b.must(err)
		if p.out[o.TID] == nil {
			b.offeredBefore(id, p, s)
		}
	case letter.Cancel:
		call, err := payment.DecodeCancel(r.Body)
		b.must(err)
		p.out[call.TID].called = true
	case letter.Accept:
		yes, err := payment.DecodeAccept(r.Body)
		b.must(err)
		if p.in[yes.TID] == nil {
			p.in[yes.TID] = &deal{}
			b.takes(id, p.in[yes.TID], s)
		}
	case letter.Reject:
		no, err := payment.DecodeReject(r.Body)
		b.must(err)
		if p.in[no.TID] == nil {
			p.in[no.TID] = &deal{stage: refused}
		}
	case letter.Aborted, letter.Committed:
		v, err := payment.DecodeVerdict(r.Body)
		b.must(err)
		b.ruled(v.Certificate)
	case letter.Forgiven:
		f, err := payment.DecodeForgiven(r.Body)
		b.must(err)
		if d := p.in[f.TID]; d.stage == taken {
			d.stage = lost
			b.force(coin.LossPrefix+id, coin.CirclePrefix+id, d.minutes)
		}
	default: // it moves nothing
	}
}

// remembersTerms takes our own consent back.
func (b *books) remembersTerms(id string, p *ally, r letter.Record) {
	var ours exchange.Terms
	b.must(letter.Unmarshal(r.Body, len(r.Body), &ours))
	if !p.since {
		p.ours = ours
		if r.Kind == letter.Agree {
			b.inForce(id, p)
		}
		return
	}
	if r.Kind == letter.Agree {
		b.narrow(id, p, ours)
	}
}
