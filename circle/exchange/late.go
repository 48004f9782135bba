package exchange

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// keep writes a payment and its places in the lists.
func keep(tx *machine.Tx, before, pm payment.Payment) {
	r := ref{Peer: pm.Peer, Side: pm.Side, TID: pm.TID}
	payments.Put(tx, r.key(), pm)
	if pm.Account != "" {
		ofPerson.Put(tx, machine.Key{}.Str(pm.Account).Num(uint64(pm.At)).Bytes(pm.TID[:]), r)
	}
	list := func(t machine.Table[ref], key func(payment.Payment) machine.Key, in func(payment.Payment) bool) {
		was, is := in(before), in(pm)
		if was && (!is || string(key(before)) != string(key(pm))) {
			t.Delete(tx, key(before))
		}
		if is {
			t.Put(tx, key(pm), r)
		}
	}
	list(waiting, dueKey, isWaiting)
	if lives.Has(tx, machine.Key{}) { // logs from before ask nobody
		list(late, lateKey, isLate)
	}
	list(asking, func(payment.Payment) machine.Key { return r.key() }, payment.Payment.Unanswered)
}

// isWaiting: to be called back at its expiry.
func isWaiting(pm payment.Payment) bool { return pm.Open() && !pm.Cancelled }

// isLate: to be put to the hub some time later, by the payer when it was called back, by the payee from the
// beginning, unless the other side's word comes before.
func isLate(pm payment.Payment) bool {
	return (pm.Open() && pm.Cancelled || pm.State == payment.Accepted) && !pm.Asking && pm.Verdict == 0
}

func dueKey(pm payment.Payment) machine.Key {
	return machine.Key{}.Num(uint64(pm.Expiry)).Str(string(pm.Peer)).Bytes(pm.TID[:])
}

func lateKey(pm payment.Payment) machine.Key {
	return machine.Key{}.Num(uint64(askAt(pm))).Str(string(pm.Peer)).Num(uint64(pm.Side)).Bytes(pm.TID[:])
}

// askAt is when a payment without an answer may be put to the hub: half as long again as the payer wanted to
// wait, from when it ran out, or at the payee from when it answered. That is days, so that clocks that differ
// by minutes do not matter.
func askAt(pm payment.Payment) int64 {
	half := max(pm.Expiry-pm.At, minPatienceMillis) / 2
	if pm.Side == payment.Payer {
		return pm.Expiry + half
	}
	return pm.Decided + half
}

// HeldBy is how far a peer holds our stream, as it told the node.
type HeldBy struct {
	Circle string `cbor:"1,keyasint" json:"circle"`
	Seq    uint64 `cbor:"2,keyasint" json:"seq"`
}

func (o Options) expire(tx *machine.Tx, b Expire) (machine.None, error) {
	for _, h := range b.Held {
		id := letter.CircleID(h.Circle)
		if p, ok := pairs.Get(tx, peerKey(id)); ok && id.Valid() && h.Seq > p.Acked && h.Seq <= p.Tail.Seq {
			p.Acked = h.Seq
			pairs.Put(tx, peerKey(id), p)
		}
	}
	if o.Protocol.Off == payment.ReceiptAtOnce {
		if err := o.writeOwed(tx); err != nil {
			return machine.None{}, err
		}
	}
	_, hub := hubs.Get(tx, machine.Key{})
	most, able, asks := maxExpiredBefore, anyRef, anyRef
	if b.Most > 0 {
		most, able = int(min(b.Most, ExpiredAtOnce)), o.able
		asks = o.asks(tx.Now(), hub)
	}
	for _, r := range due(tx, tx.Now(), most, able) {
		if err := o.advance(tx, r, payment.Clock{At: tx.Now()}); err != nil {
			return machine.None{}, err
		}
	}
	for _, r := range overdue(tx, tx.Now(), most, asks) {
		pm, _ := payments.Get(tx, r.key())
		p, _ := pairs.Get(tx, peerKey(r.Peer))
		switch {
		case r.Side == payment.Payee && p.Acked >= pm.Answer:
			late.Delete(tx, lateKey(pm)) // the payer has our answer
		case hub:
			if err := o.advance(tx, r, payment.Ask{}); err != nil {
				return machine.None{}, err
			}
		}
	}
	return machine.None{}, nil
}

func anyRef(machine.Reader, ref) bool { return true }

// able tells whether something can be written to the other circle of a payment now. Those that have to wait
// are not to keep others waiting.
func (o Options) able(r machine.Reader, x ref) bool {
	p, _ := pairs.Get(r, peerKey(x.Peer))
	return o.fresh(r, p)
}

// asks tells whether a payment may be put to the hub now. A circle that was put back to an older copy may
// have forgotten the payee's answer: it hears that again first, for the hub's word on what was made already
// would unmake it.
func (o Options) asks(now int64, hub bool) func(r machine.Reader, x ref) bool {
	return func(r machine.Reader, x ref) bool {
		if !o.able(r, x) {
			return false
		}
		p, _ := pairs.Get(r, peerKey(x.Peer))
		heard := p.Held.Seq >= p.Owed || now >= p.OwedBy || o.Protocol.Off == payment.AnswersFirst
		return x.Side == payment.Payee || hub && heard
	}
}

// advance takes a payment one step by itself, if its pair may write anything now.
func (o Options) advance(tx *machine.Tx, r ref, in payment.Input) error {
	peer, _ := peers.Get(tx, peerKey(r.Peer))
	p, _ := pairs.Get(tx, peerKey(r.Peer))
	if !o.fresh(tx, p) {
		return nil
	}
	pm, _ := payments.Get(tx, r.key())
	if err := o.step(tx, peer, &p, pm, in); err != nil {
		return err
	}
	pairs.Put(tx, peerKey(r.Peer), p)
	return nil
}

// due lists payments to call back, of those that are able to.
func due(r machine.Reader, now int64, most int, able func(r machine.Reader, x ref) bool) (out []ref) {
	for key, x := range waiting.All(r, nil, nil) {
		if int64(key.First()) >= now || len(out) == most {
			break
		}
		if able(r, x) {
			out = append(out, x)
		}
	}
	return out
}

// overdue lists payments that may be put to the hub, of those that are able to.
func overdue(r machine.Reader, now int64, most int, able func(r machine.Reader, x ref) bool) (out []ref) {
	for key, x := range late.All(r, nil, nil) {
		if int64(key.First()) >= now || len(out) == most {
			break
		}
		if able(r, x) {
			out = append(out, x)
		}
	}
	return out
}

// Due tells whether exchange.expire has something to do.
func Due(r machine.Reader, now int64) bool {
	able := Options{}.able
	_, hub := hubs.Get(r, machine.Key{})
	asks := Options{}.asks(now, hub)
	return len(due(r, now, 1, able)) > 0 || len(overdue(r, now, 1, asks)) > 0
}
