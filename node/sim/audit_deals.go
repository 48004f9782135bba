package sim

import (
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// ally is another circle, and what was done with it.
type ally struct {
	ours, theirs exchange.Terms
	wish         exchange.Terms // not sent yet
	since        bool
	frozen       bool
	nx, ny, life courier.Nonce // of the session, and the life it was opened in
	fresh        courier.Nonce // the life in which they said how far they hold our letters
	owed         uint64        // how far theirs went then
	held         uint64        // letters taken
	out, in      map[payment.TID]*deal
}

// deal is a payment as one side sees it.
type deal struct {
	minutes, began, expiry int64
	account, alias         string
	stage                  stage
	called, asked, ruled   bool // back, at its expiry; the hub; by the hub
}

type stage uint8

const (
	pending stage = iota + 1 // payer
	paid
	back
	taken // payee
	refused
	lost
)

// payAbroad puts the coins aside until the other circle's letter decides.
func (b *books) payAbroad(c machine.Command, pay exchange.Pay) bool {
	p, to := b.peer(pay.Circle), coin.CirclePrefix+pay.Circle
	if p == nil || p.frozen || !p.since || p.fresh != b.life || !b.person(c.Actor) {
		return false
	}
	if d := p.out[payment.TID(c.ID)]; d != nil { // forgotten, and taken back from the peer
		return d.minutes == pay.Minutes && d.alias == pay.Code
	}
	if b.acts[c.ID] != nil || !b.room(c.Actor, to, pay.Minutes) {
		return false
	}
	if pay.Patience == 0 {
		pay.Patience = 30 * dayMillis
	}
	b.hold(pay.Circle, p, payment.TID(c.ID), &deal{
		minutes: pay.Minutes, account: c.Actor, alias: pay.Code, began: b.at, expiry: b.at + pay.Patience,
	})
	return true
}

func (b *books) hold(id string, p *ally, tid payment.TID, d *deal) {
	to := coin.CirclePrefix + id
	d.stage = pending
	b.need(d.account).out += d.minutes
	b.need(to).in += d.minutes
	p.out[tid] = d
	if b.acts[machine.ID(tid)] == nil {
		b.acts[machine.ID(tid)] = &act{from: d.account, to: to, minutes: d.minutes, final: true}
	}
}

// offered credits somebody, or nobody; either way it is decided for ever.
func (b *books) offered(id string, p *ally, o payment.ProposeBody) {
	if p.in[o.TID] != nil {
		return
	}
	d := &deal{stage: refused, minutes: o.Minutes}
	p.in[o.TID] = d
	if b.at >= o.Expiry || !p.since {
		return
	}
	person := b.codes[o.Alias]
	if person != "" && b.person(person) && b.move(coin.CirclePrefix+id, person, o.Minutes) {
		d.stage, d.account = taken, person
	}
}

// force moves coins whatever the accounts say.
func (b *books) force(from, to string, minutes int64) {
	b.need(from).posted -= minutes
	b.need(to).posted += minutes
}

// need returns an account, opened if there is none.
func (b *books) need(id string) *account {
	switch {
	case b.accounts[id] != nil || b.person(id):
	case b.gone[id]:
		b.accounts[id] = &account{floor: b.policy.FloorMinutes, ceiling: ledger.Unlimited}
	case strings.HasPrefix(id, coin.CirclePrefix):
		b.accounts[id] = &account{}
	default:
		b.accounts[id] = &account{floor: -ledger.Unlimited, ceiling: ledger.Unlimited}
	}
	return b.accounts[id]
}

// frees takes back what was put aside.
func (b *books) frees(id string, d *deal) {
	b.accounts[d.account].out -= d.minutes
	b.accounts[coin.CirclePrefix+id].in -= d.minutes
}

// pays makes a payment of ours final, whatever was thought of it before.
func (b *books) pays(id string, d *deal) {
	switch d.stage {
	case pending:
		b.frees(id, d)
		b.accounts[d.account].posted -= d.minutes
		b.accounts[coin.CirclePrefix+id].posted += d.minutes
	case back:
		b.force(d.account, coin.CirclePrefix+id, d.minutes)
	default:
	}
	d.stage = paid
	b.givesBack(d.account)
}

// returns gives the coins of a payment of ours back, whatever was thought of it before.
func (b *books) returns(id string, d *deal) {
	switch d.stage {
	case pending:
		b.frees(id, d)
	case paid:
		b.force(coin.CirclePrefix+id, d.account, d.minutes)
	default:
	}
	d.stage = back
	b.givesBack(d.account)
}

// holder is whose account a note to ourselves names, as far as they are still known.
func (b *books) holder(r letter.Record) string {
	note, _ := exchange.NoteIn(r)
	if _, known := b.active[note.Clear()]; known || b.gone[note.Clear()] {
		return note.Clear()
	}
	return coin.SuspensePrefix + note.Clear()
}

// givesBack has somebody who is known again have what was kept for them.
func (b *books) givesBack(account string) {
	who, kept := strings.CutPrefix(account, coin.SuspensePrefix)
	_, known := b.active[who]
	if a := b.accounts[account]; kept && a != nil && (known || b.gone[who]) {
		b.force(account, who, a.posted)
	}
}

// offeredBefore takes a payment of ours back that was forgotten.
func (b *books) offeredBefore(id string, p *ally, s letter.Signed) {
	r, err := letter.Decode(s.Bytes)
	b.must(err)
	o, err := payment.DecodePropose(r.Body)
	b.must(err)
	who := b.holder(r)
	b.hold(id, p, o.TID, &deal{
		minutes: o.Minutes, account: who, alias: o.Alias, began: r.At, expiry: o.Expiry,
	})
}

// ruled obeys the hub.
func (b *books) ruled(s letter.Signed) {
	c, err := payment.OpenCertificate(b.t.s.notary.verify, b.t.s.hub.public(), s)
	b.must(err)
	if c.Payer == b.t.id {
		id := string(c.Payee)
		d := b.peer(id).out[c.TID]
		if d == nil || d.ruled {
			return
		}
		d.ruled = true
		if c.Verdict == payment.Commit {
			b.pays(id, d)
		} else {
			b.returns(id, d)
		}
		return
	}
	id := string(c.Payer)
	p := b.peer(id)
	d := p.in[c.TID]
	if d == nil {
		d = &deal{stage: refused}
		p.in[c.TID] = d
	}
	switch {
	case c.Verdict == payment.Abort && d.stage == taken:
		d.stage = lost
		b.force(coin.LossPrefix+id, coin.CirclePrefix+id, d.minutes)
	case c.Verdict == payment.Commit && d.stage == refused:
		b.takes(id, d, c.Proof)
	}
}

// takes credits what an ACCEPT of ours says.
func (b *books) takes(id string, d *deal, s letter.Signed) {
	r, err := letter.Decode(s.Bytes)
	b.must(err)
	yes, err := payment.DecodeAccept(r.Body)
	b.must(err)
	offer, err := letter.Decode(yes.Propose.Bytes)
	b.must(err)
	o, err := payment.DecodePropose(offer.Body)
	b.must(err)
	d.stage, d.minutes, d.account = taken, o.Minutes, b.holder(r)
	b.force(coin.CirclePrefix+id, d.account, d.minutes)
	b.givesBack(d.account)
}
