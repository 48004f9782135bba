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

// pair is how things stand with one other circle. Epochs, statements and key changes take the next keys.
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
	ofPerson = machine.NewTable[ref]("exchange", "payment-of")    // person, time, tid
	waiting  = machine.NewTable[ref]("exchange", "waiting")       // expiry, tid
	codes    = machine.NewTable[string]("exchange", "code")       // code: person
	codeOf   = machine.NewTable[string]("exchange", "code-of")    // person: code
	forks    = machine.NewTable[fork]("exchange", "equivocation") // peer, seq
)

func peerKey(id letter.CircleID) machine.Key { return machine.Key{}.Str(string(id)) }

func (r ref) key() machine.Key {
	return peerKey(r.Peer).Num(uint64(r.Side)).Bytes(r.TID[:])
}

var (
	secretary = machine.AnyOf(member.Wearing(member.HatSecretary), machine.Only(machine.ActorOperator),
		machine.Only(machine.ActorCircle))
	node = machine.Only(machine.ActorNode)
)

// Feature returns the feature's rules and views.
func Feature() machine.Feature {
	return machine.Feature{Name: "exchange", Rules: rules(), Views: views(), Keeps: kept}
}

func rules() []machine.Rule {
	return []machine.Rule{
		machine.Do("exchange.meet", "Make another circle known by its card.", secretary, meet),
		machine.Do("exchange.ally", "Record your circle's consent to exchange coins with another.",
			secretary, ally),
		machine.Do("exchange.code", "Choose your code for receiving coins from other circles.",
			member.Signed, setCode),
		machine.Do("exchange.pay", "Send coins to a person in another circle.", member.Signed, pay),
		machine.Do("exchange.session", "Open a session for another circle's letters.",
			machine.PeerOnly, openSession),
		machine.Do("exchange.receive", "Take letters from another circle.", machine.PeerOnly, receive),
		machine.Do("exchange.expire", "Call back payments that have waited too long.", node, expire),
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
func appendRecord(
	tx *machine.Tx, to letter.CircleID, p *pair, kind letter.Kind, body []byte,
) ([]byte, error) {
	us, _ := member.TheCircle(tx)
	position, head := tx.Head()
	_, raw, tail, err := letter.Next(p.Tail, letter.Record{
		Kind: kind, From: letter.CircleID(us.ID), To: to, Ack: p.Held, Body: body,
		Head: letter.Position{Seq: position, Hash: letter.Hash(head)}, At: tx.Now(),
	})
	if err != nil {
		return nil, machine.Refuse("letter_too_large", "This cannot be sent to the other circle: %v.", err)
	}
	p.Tail = tail
	outbox.Put(tx, peerKey(to).Num(tail.Seq), raw)
	return raw, nil
}

func pay(tx *machine.Tx, b Pay) (Paid, error) {
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
	}
	from := tx.Caller().Person()
	if err := coin.OpenPerson(tx, from); err != nil {
		return Paid{}, err
	}
	if b.Patience == 0 {
		b.Patience = patienceMillis
	}
	words, err := b.memo()
	if err != nil {
		return Paid{}, machine.Refuse("bad_text", "The note cannot be sent: %v.", err)
	}
	tid := payment.TID(tx.Fresh())
	pm, effects, err := payment.Step(payment.Payment{}, payment.Begin{
		Peer: peer.Circle, Account: from, At: tx.Now(),
		Body: payment.ProposeBody{
			TID: tid, Minutes: b.Minutes, Alias: b.Code, Memo: words, Note: []byte{},
			Expiry: tx.Now() + b.Patience,
		},
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
		if pm.Propose, err = appendRecord(tx, peer.Circle, &p, out.Kind, out.Body); err != nil {
			return Paid{}, err
		}
	}
	p.Open++
	pairs.Put(tx, peerKey(peer.Circle), p)
	keep(tx, pm)
	tx.Emit(machine.Event{
		Kind: "exchange.proposed", Audience: []string{from},
		Subject: from, Object: coin.CirclePrefix + b.Circle,
		Minutes: b.Minutes, Words: b.Activity,
	})
	return Paid{Payment: machine.ID(tid), State: word(pm)}, nil
}

// keep writes a payment and its places in the lists.
func keep(tx *machine.Tx, pm payment.Payment) {
	r := ref{Peer: pm.Peer, Side: pm.Side, TID: pm.TID}
	payments.Put(tx, r.key(), pm)
	if pm.Account != "" {
		ofPerson.Put(tx, machine.Key{}.Str(pm.Account).Num(uint64(pm.At)).Bytes(pm.TID[:]), r)
	}
	due := machine.Key{}.Num(uint64(pm.Expiry)).Str(string(pm.Peer)).Bytes(pm.TID[:])
	if pm.Open() && !pm.Cancelled {
		waiting.Put(tx, due, r)
	} else if pm.Side == payment.Payer {
		waiting.Delete(tx, due)
	}
}

func setCode(tx *machine.Tx, b SetCode) (machine.None, error) {
	person := tx.Caller().Person()
	key := machine.Key{}.Str(b.Code)
	if codes.Has(tx, key) {
		return machine.None{}, machine.Refuse("code_taken", "This code is taken. Draw another.")
	}
	if old, ok := codeOf.Get(tx, machine.Key{}.Str(person)); ok {
		codes.Delete(tx, machine.Key{}.Str(old))
	}
	codes.Put(tx, key, person)
	codeOf.Put(tx, machine.Key{}.Str(person), b.Code)
	return machine.None{}, nil
}

func expire(tx *machine.Tx, _ Expire) (machine.None, error) {
	var due []ref
	for _, r := range waiting.All(tx, nil, nil) {
		pm, _ := payments.Get(tx, r.key())
		if pm.Expiry >= tx.Now() || len(due) == MaxExpiredAtOnce {
			break
		}
		due = append(due, r)
	}
	for _, r := range due {
		pm, _ := payments.Get(tx, r.key())
		after, effects, err := payment.Step(pm, payment.Clock{At: tx.Now()})
		if err != nil {
			return machine.None{}, err
		}
		p, _ := pairs.Get(tx, peerKey(r.Peer))
		for _, out := range effects.Append {
			if _, err := appendRecord(tx, r.Peer, &p, out.Kind, out.Body); err != nil {
				return machine.None{}, err
			}
		}
		pairs.Put(tx, peerKey(r.Peer), p)
		keep(tx, after)
	}
	return machine.None{}, nil
}

// Due tells whether a payment has waited past its time, so that exchange.expire has something to do.
func Due(r machine.Reader, now int64) bool {
	for _, x := range waiting.All(r, nil, nil) {
		pm, _ := payments.Get(r, x.key())
		return pm.Expiry < now
	}
	return false
}
