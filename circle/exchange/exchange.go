// Package exchange is the feature that deals with other circles: whom this circle knows, its alliances, and
// coins that go to and come from them, by the federation's protocols. What it wants to send is rows in its
// outbox, written by the same command that moved the coins; nothing is ever sent from inside a rule.
package exchange

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// Peer is another circle this one knows. CBOR keys 10 and up are free.
type Peer struct {
	Circle  letter.CircleID `cbor:"1,keyasint"`
	Card    []byte          `cbor:"2,keyasint"` // as signed
	CardSeq uint64          `cbor:"3,keyasint"`
	Name    string          `cbor:"4,keyasint"`
	Place   string          `cbor:"5,keyasint"`
	Key     []byte          `cbor:"6,keyasint"`
	Met     int64           `cbor:"7,keyasint"`
}

// Terms are one side's consent to an alliance.
type Terms struct {
	LimitMinutes int64  `cbor:"1,keyasint" json:"limitMinutes"`
	ReviewOn     string `cbor:"2,keyasint" json:"reviewOn"`
	Decision     string `cbor:"3,keyasint" json:"decision"`
}

func (t Terms) same(o Terms) bool {
	return t.LimitMinutes == o.LimitMinutes && t.ReviewOn == o.ReviewOn
}

// pair is how things stand with one other circle. Statements and key changes take the next keys.
type pair struct {
	Tail     letter.Position `cbor:"1,keyasint"` // of our stream to them
	Held     letter.Position `cbor:"2,keyasint"` // of theirs to us
	HeadSeen letter.Position `cbor:"3,keyasint"` // furthest head of their log
	Nx       courier.Nonce   `cbor:"4,keyasint"` // the session their stream runs in
	Ny       courier.Nonce   `cbor:"5,keyasint"`
	Frozen   string          `cbor:"6,keyasint"` // why; empty: not
	Heard    int64           `cbor:"7,keyasint"` // ledger time of the last record from them
	Ours     Terms           `cbor:"8,keyasint"`
	Theirs   Terms           `cbor:"9,keyasint"`
	Since    int64           `cbor:"10,keyasint"` // alliance in force since; 0: it is not
	Open     uint64          `cbor:"11,keyasint"` // payments waiting for their decision
	// Fresh is the life of this circle in which the peer has said that it holds no more of ours than we do.
	Fresh courier.Nonce `cbor:"12,keyasint,omitzero"`
	// Life is that in which the session in force was opened.
	Life   courier.Nonce `cbor:"13,keyasint,omitzero"`
	Acked  uint64        `cbor:"14,keyasint,omitempty"` // how far they hold our stream, as far as we know
	Recall uint64        `cbor:"15,keyasint,omitempty"` // they hold ours as far as this, and we do not
	// HubEpoch is the hub's in which it was told all that we know of verdicts on payments with them.
	HubEpoch uint64 `cbor:"16,keyasint,omitempty"`
	// Wish is our consent where it could not be sent yet.
	Wish Terms `cbor:"17,keyasint,omitzero"`
	// Owed is how far their stream went when they were heard in this life; we hold all of it, or are to hear
	// again what we have forgotten. OwedBy is until when that is waited for.
	Owed   uint64 `cbor:"18,keyasint,omitempty"`
	OwedBy int64  `cbor:"19,keyasint,omitempty"`
}

type ref struct {
	Peer letter.CircleID `cbor:"1,keyasint"`
	Side payment.Side    `cbor:"2,keyasint"`
	TID  payment.TID     `cbor:"3,keyasint"`
}

// fork keeps the proof that a peer signed two records for one place in its stream.
type fork struct {
	Held letter.Signed `cbor:"1,keyasint"`
	Sent letter.Signed `cbor:"2,keyasint"`
	At   int64         `cbor:"3,keyasint"`
}

var (
	peers    = machine.NewTable[Peer]("exchange", "peer")
	pairs    = machine.NewTable[pair]("exchange", "pair")
	outbox   = machine.NewTable[[]byte]("exchange", "outbox")       // peer, seq: exact record bytes
	inbox    = machine.NewTable[letter.Signed]("exchange", "inbox") // peer, seq: their record, verbatim
	payments = machine.NewTable[payment.Payment]("exchange", "payment")
	ofPerson = machine.NewTable[ref]("exchange", "payment-of") // person, time, tid
	waiting  = machine.NewTable[ref]("exchange", "waiting")    // expiry, tid
	late     = machine.NewTable[ref]("exchange", "late")       // when the hub may be asked, peer, tid
	asking   = machine.NewTable[ref]("exchange", "asking")     // peer, side, tid: put to the hub
	hubs     = machine.NewTable[string]("exchange", "hub")     // the circle that decides
	lives    = machine.NewTable[courier.Nonce]("exchange", "life")
	apart    = machine.NewTable[bool]("exchange", "apart")        // see Begin.Apart
	codes    = machine.NewTable[string]("exchange", "code")       // code: person
	codeOf   = machine.NewTable[string]("exchange", "code-of")    // person: code
	forks    = machine.NewTable[fork]("exchange", "equivocation") // peer, seq
)

func peerKey(id letter.CircleID) machine.Key { return machine.Key{}.Str(string(id)) }

func (r ref) key() machine.Key {
	return peerKey(r.Peer).Num(uint64(r.Side)).Bytes(r.TID[:])
}

var node = machine.Only(machine.ActorNode)

// Feature returns the feature's rules and views.
func Feature(o Options) machine.Feature {
	o = o.Filled()
	return machine.Feature{Name: "exchange", Rules: o.rules(), Views: views(), Keeps: kept}
}

// Options are for the simulation; the zero Options are those in use.
type Options struct {
	Protocol payment.Protocol
	Verify   letter.Verifier // nil: letter.Purpose.Verify
}

// Filled returns the options with what is in use in place of nil.
func (o Options) Filled() Options {
	if o.Verify == nil {
		o.Verify = letter.Purpose.Verify
	}
	return o
}

func (o Options) rules() []machine.Rule {
	return []machine.Rule{
		machine.Do("exchange.meet", "Make another circle known by its card.", member.Secretary, meet),
		machine.Do("exchange.ally", "Record your circle's consent to exchange coins with another.",
			member.Secretary, o.ally),
		machine.Do("exchange.code", "Choose your code for receiving coins from other circles.",
			member.Signed, setCode),
		machine.Do("exchange.pay", "Send coins to a person in another circle.", member.Signed, o.pay),
		machine.Do("exchange.session", "Open a session for another circle's letters.",
			machine.PeerOnly, openSession),
		machine.Do("exchange.receive", "Take letters from another circle.", machine.PeerOnly, o.receive),
		machine.Do("exchange.expire", "Call back payments that have waited too long, and put to the hub"+
			" those that stay without an answer.", node, o.expire),
		machine.Do("exchange.hub", "Say which circle keeps the register for payments without an answer.",
			member.Secretary, setHub),
		machine.Do("exchange.begin", "Begin a new life of this circle's letters.", node, begin),
		machine.Do("exchange.welcomed", "Take another circle's word on how far it holds our letters.", node,
			o.welcomed),
		machine.Do("exchange.recall", "Take back letters of ours that another circle holds and we forgot.",
			node, o.recall),
		machine.Do("exchange.verdict", "Take the hub's verdict on a payment without an answer.", node,
			o.verdict),
		machine.Do("exchange.report", "Tell the hub, whose books were put back, what verdicts we know.",
			node, o.report),
	}
}

func knownPeer(r machine.Reader, circle string) (Peer, error) {
	id := letter.CircleID(circle)
	if id.Valid() {
		if p, ok := peers.Get(r, peerKey(id)); ok {
			return p, nil
		}
	}
	return Peer{}, machine.Refuse("unknown_circle",
		"This circle does not know %.40q. Exchange cards first.", circle)
}

// appendRecord puts one record at the end of our stream to a peer: into the same log entry as what it says.
func (o Options) appendRecord(
	tx *machine.Tx, peer Peer, p *pair, kind letter.Kind, body []byte,
) ([]byte, error) {
	if !o.fresh(tx, *p) {
		return nil, notHeard(peer)
	}
	raw, tail, err := o.next(tx, peer.Circle, p, kind, body, p.Tail.Epoch)
	if err != nil {
		return nil, err
	}
	p.Tail = tail
	outbox.Put(tx, peerKey(peer.Circle).Num(tail.Seq), raw)
	return raw, nil
}

// next makes the record that comes next in our stream, in an epoch.
func (o Options) next(
	tx *machine.Tx, to letter.CircleID, p *pair, kind letter.Kind, body []byte, epoch uint64,
) (raw []byte, tail letter.Position, err error) {
	us, _ := member.TheCircle(tx)
	position, head := tx.Head()
	r := letter.Record{
		Kind: kind, From: letter.CircleID(us.ID), To: to, Ack: p.Held, Body: body,
		Head: letter.Position{Seq: position, Hash: letter.Hash(head)}, At: tx.Now(),
	}
	if epoch != p.Tail.Epoch {
		_, raw, tail, err = letter.Begin(p.Tail, epoch, r)
	} else {
		_, raw, tail, err = letter.Next(p.Tail, r)
	}
	if err != nil {
		return nil, tail, machine.Refuse("letter_too_large",
			"This cannot be sent to the other circle: %v.", err)
	}
	return raw, tail, nil
}

// offer is what a payment says to the other circle.
func (p Pay) offer(tx *machine.Tx, tid payment.TID, from string) (payment.ProposeBody, error) {
	if p.Patience == 0 {
		p.Patience = patienceMillis
	}
	words, err := p.memo()
	if err != nil {
		return payment.ProposeBody{}, err
	}
	note, err := selfNote(tx, p.Self, from)
	return payment.ProposeBody{
		TID: tid, Minutes: p.Minutes, Alias: p.Code, Memo: words, Note: note, Expiry: tx.Now() + p.Patience,
	}, err
}

func (o Options) pay(tx *machine.Tx, b Pay) (Paid, error) {
	return o.PayFrom(tx, tx.Caller().Person(), b)
}

// PayFrom sends coins of a person to another circle.
func (o Options) PayFrom(tx *machine.Tx, from string, b Pay) (Paid, error) {
	peer, err := knownPeer(tx, b.Circle)
	if err != nil {
		return Paid{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	switch {
	case p.Frozen != "":
		return Paid{}, machine.Refuse("frozen",
			"Exchange with %s is stopped until people have looked at it.", peer.Name)
	case p.Since == 0:
		return Paid{}, machine.Refuse("no_alliance",
			"There is no alliance with %s in force, so coins cannot go there yet.", peer.Name)
	case p.Open >= MaxOpenPayments:
		return Paid{}, machine.Refuse("too_many",
			"%d payments wait for %s already. Try again later.", p.Open, peer.Name)
	case !o.fresh(tx, p):
		return Paid{}, notHeard(peer)
	}
	if err := coin.OpenPerson(tx, from); err != nil {
		return Paid{}, err
	}
	tid := payment.TID(tx.Fresh())
	before, known := payments.Get(tx, ref{Peer: peer.Circle, Side: payment.Payer, TID: tid}.key())
	if known { // forgotten, with the answer, and then taken back from the peer
		if before.Minutes != b.Minutes || before.Alias != b.Code {
			return Paid{}, machine.Refuse("id_reused", "This was asked for before, otherwise.")
		}
		return Paid{Payment: machine.ID(tid), State: word(before)}, nil
	}
	offer, err := b.offer(tx, tid, from)
	if err != nil {
		return Paid{}, machine.Refuse("bad_text", "The note cannot be sent: %v.", err)
	}
	pm, effects, err := o.Protocol.Step(payment.Payment{}, payment.Begin{
		Peer: peer.Circle, Account: from, At: tx.Now(), Body: offer,
	})
	if err != nil {
		return Paid{}, machine.Refuse("bad_payment", "This payment cannot be made: %v.", err)
	}
	b.Note.Of = from
	if _, err := coin.Move(tx, coin.Movement{
		Op: ledger.OpHold, ID: machine.ID(tid), From: from, To: coin.CirclePrefix + string(peer.Circle),
		Minutes: b.Minutes,
		Act: coin.Act{
			Reason: coin.ReasonAbroad, Activity: b.Activity, Note: b.Note, By: tx.Caller().Actor,
		},
	}); err != nil {
		return Paid{}, err
	}
	for _, out := range effects.Append {
		if pm.Propose, err = o.appendRecord(tx, peer, &p, out.Kind, out.Body); err != nil {
			return Paid{}, err
		}
	}
	p.Open++
	pairs.Put(tx, peerKey(peer.Circle), p)
	keep(tx, payment.Payment{}, pm)
	tx.Emit(machine.Event{
		Kind: "exchange.proposed", Audience: []string{from},
		Subject: from, Object: coin.CirclePrefix + b.Circle,
		Minutes: b.Minutes, Words: b.Activity,
	})
	return Paid{Payment: machine.ID(tid), State: word(pm)}, nil
}

func setCode(tx *machine.Tx, b SetCode) (machine.None, error) {
	return machine.None{}, GiveCode(tx, tx.Caller().Person(), b.Code)
}

// GiveCode gives a person a code for receiving coins from other circles, in place of the one they had.
func GiveCode(tx *machine.Tx, person, code string) error {
	key := machine.Key{}.Str(code)
	if codes.Has(tx, key) {
		return machine.Refuse("code_taken", "This code is taken. Draw another.")
	}
	if old, ok := codeOf.Get(tx, machine.Key{}.Str(person)); ok {
		codes.Delete(tx, machine.Key{}.Str(old))
	}
	codes.Put(tx, key, person)
	codeOf.Put(tx, machine.Key{}.Str(person), code)
	return nil
}
