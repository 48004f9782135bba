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
		b.peers[id] = &ally{out: map[payment.TID]*act{}, done: map[payment.TID]bool{}}
	}
	return b.peers[id]
}

func (b *books) ally(c exchange.Ally) bool {
	p := b.peer(c.Circle)
	ours := exchange.Terms{LimitMinutes: c.LimitMinutes, ReviewOn: c.ReviewOn}
	if p == nil || p.frozen || p.since && !alike(ours, p.ours) {
		return false
	}
	p.ours = ours
	b.agreed(c.Circle, p)
	return true
}

func alike(a, b exchange.Terms) bool {
	return a.LimitMinutes == b.LimitMinutes && a.ReviewOn == b.ReviewOn
}

// agreed puts an alliance in force once both sides have named the same terms.
func (b *books) agreed(id string, p *ally) {
	if p.since || !alike(p.ours, p.theirs) {
		return
	}
	p.since = true
	b.accounts[coin.CirclePrefix+id] = &account{floor: -p.ours.LimitMinutes, ceiling: p.ours.LimitMinutes}
}

// payAbroad puts the coins aside until the other circle's letter decides.
func (b *books) payAbroad(c machine.Command, pay exchange.Pay) bool {
	p, to := b.peer(pay.Circle), coin.CirclePrefix+pay.Circle
	if p == nil || p.frozen || !p.since || !b.person(c.Actor) || !b.room(c.Actor, to, pay.Minutes) {
		return false
	}
	b.accounts[c.Actor].out += pay.Minutes
	b.accounts[to].in += pay.Minutes
	held := &act{from: c.Actor, to: to, minutes: pay.Minutes, final: true}
	b.acts[c.ID], p.out[payment.TID(c.ID)] = held, held
	return true
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
		p.nx, p.ny = o.Nx, o.Ny
		return true
	}
	r := body[exchange.Receive](b, c)
	if r.Nx != p.nx || r.Ny != p.ny {
		return false
	}
	if got, ok := out.Result.(exchange.Received); ok && got.Frozen != "" {
		p.frozen = true // another checker tells of it
		return true
	}
	key := b.t.s.byID[letter.CircleID(id)].public()
	for i, s := range r.Records {
		l, _, err := letter.Open(key, s)
		if err != nil {
			return i > 0 // what came before it counts
		}
		if l.Seq == p.held+1 {
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
			p.ours.LimitMinutes = min(p.ours.LimitMinutes, p.theirs.LimitMinutes)
			a := b.accounts[coin.CirclePrefix+id]
			a.floor, a.ceiling = -p.ours.LimitMinutes, p.ours.LimitMinutes
		}
	case letter.Propose:
		offer, err := payment.DecodePropose(l.Body)
		b.must(err)
		b.offered(id, p, offer)
	case letter.Cancel:
		call, err := payment.DecodeCancel(l.Body)
		b.must(err)
		p.done[call.TID] = true
	case letter.Accept:
		yes, err := payment.DecodeAccept(l.Body)
		b.must(err)
		b.decided(p, yes.TID, true)
	case letter.Reject:
		no, err := payment.DecodeReject(l.Body)
		b.must(err)
		b.decided(p, no.TID, false)
	default:
		b.fail("a letter of kind %s", l.Kind)
	}
}

func (b *books) must(err error) {
	if err != nil {
		b.fail("a letter's body: %v", err)
	}
}

// offered credits somebody, or nobody; either way it is decided for ever.
func (b *books) offered(id string, p *ally, o payment.ProposeBody) {
	if p.done[o.TID] {
		return
	}
	p.done[o.TID] = true
	if b.at >= o.Expiry || !p.since {
		return
	}
	if person := b.codes[o.Alias]; person != "" && b.person(person) {
		b.move(coin.CirclePrefix+id, person, o.Minutes)
	}
}

// decided ends a payment of ours, once.
func (b *books) decided(p *ally, tid payment.TID, yes bool) {
	held := p.out[tid]
	if held == nil {
		return
	}
	delete(p.out, tid)
	from, to := b.accounts[held.from], b.accounts[held.to]
	from.out -= held.minutes
	to.in -= held.minutes
	if yes {
		from.posted -= held.minutes
		to.posted += held.minutes
	}
}
