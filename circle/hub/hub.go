// Package hub is what the federation's hub does beyond being a circle: it keeps the register that decides on
// payments between circles which stay without an answer. It cannot move anybody's coins.
package hub

import (
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// Open has this circle keep the register.
type Open struct{}

// Register asks for a verdict. The first question about a payment decides, for ever.
type Register struct {
	Verdict payment.Verdict `cbor:"1,keyasint" json:"verdict"`
	// Proof is the payee's ACCEPT for a commit, the payer's PROPOSE for an abort.
	Proof letter.Signed `cbor:"2,keyasint" json:"proof"`
}

// Registered is the certificate, still to be signed by whoever sends it.
type Registered struct {
	Certificate []byte `cbor:"1,keyasint" json:"certificate"`
}

// key of a verdict: payer, id.
var (
	offices  = machine.NewTable[bool]("hub", "office")
	verdicts = machine.NewTable[payment.Certificate]("hub", "verdict")
	counts   = machine.NewTable[uint64]("hub", "count")
)

type office struct{ exchange.Options }

// Feature returns the feature's rules.
func Feature(o exchange.Options) machine.Feature {
	f := office{o.Filled()}
	return machine.Feature{Name: "hub", Rules: []machine.Rule{
		machine.Do("hub.open", "Have this circle decide on payments between others that get no answer.",
			member.Secretary, open),
		machine.Do("hub.register", "Decide on a payment that got no answer: the first question counts.",
			machine.PeerOnly, f.register),
		machine.Do("hub.report", "Take back verdicts that a circle knows and the hub may have forgotten.",
			machine.PeerOnly, f.report),
	}}
}

func open(tx *machine.Tx, _ Open) (machine.None, error) {
	if _, ok := member.TheCircle(tx); !ok {
		return machine.None{}, machine.Refuse("not_founded", "There is no circle here yet.")
	}
	offices.Put(tx, machine.Key{}, true)
	return machine.None{}, nil
}

// Opened tells whether this circle is the federation's hub.
func Opened(r machine.Reader) bool { return offices.Has(r, machine.Key{}) }

// Verdicts returns how many verdicts there are.
func Verdicts(r machine.Reader) uint64 {
	n, _ := counts.Get(r, machine.Key{})
	return n
}

func (f office) register(tx *machine.Tx, b Register) (Registered, error) {
	if !Opened(tx) {
		return Registered{}, machine.Refuse("not_the_hub",
			"This circle does not decide on payments of others.")
	}
	c, err := f.question(tx, b)
	if err != nil {
		return Registered{}, err
	}
	key := machine.Key{}.Str(string(c.Payer)).Bytes(c.TID[:])
	if before, ok := verdicts.Get(tx, key); ok && f.Protocol.Off != payment.FirstVerdict {
		before.Epoch = Epoch(tx) // said again in the epoch that counts now
		return certified(before)
	}
	us, _ := member.TheCircle(tx)
	c.Hub, c.Index, c.Epoch = letter.CircleID(us.ID), Verdicts(tx)+1, Epoch(tx)
	if !told(tx, c) {
		return Registered{}, machine.Refuse("not_reported",
			"The hub's books were put back; both circles have to say first which verdicts they know.")
	}
	verdicts.Put(tx, key, c)
	counts.Put(tx, machine.Key{}, c.Index)
	return certified(c)
}

func certified(c payment.Certificate) (Registered, error) {
	raw, err := c.Encode()
	if err != nil {
		return Registered{}, machine.Refuse("malformed", "This question cannot be decided: %v.", err)
	}
	return Registered{Certificate: raw}, nil
}

// question checks that a question is about a payment of the one who asks, and that its proof is one.
func (f office) question(tx *machine.Tx, b Register) (payment.Certificate, error) {
	var c payment.Certificate
	asker, _ := tx.Caller().Peer()
	bad := func(why string) (payment.Certificate, error) {
		return c, machine.Refuse("bad_question", "This question cannot be decided: %s.", why)
	}
	head, err := letter.Decode(b.Proof.Bytes)
	if err != nil {
		return bad("its proof is no letter")
	}
	r, err := f.opened(tx, head.From, b.Proof)
	if err != nil {
		return bad("its proof is not signed by " + string(head.From))
	}
	c.Verdict, c.Proof = b.Verdict, b.Proof
	switch {
	case b.Verdict == payment.Abort && r.Kind == letter.Propose:
		offer, err := payment.DecodePropose(r.Body)
		if err != nil {
			return bad("its proof offers nothing")
		}
		if tx.Now() <= offer.Expiry {
			return c, machine.Refuse("too_early", "This payment may still be answered.")
		}
		c.Payer, c.Payee, c.TID = r.From, r.To, offer.TID
	case b.Verdict == payment.Commit && r.Kind == letter.Accept:
		yes, err := payment.DecodeAccept(r.Body)
		if err != nil {
			return bad("its proof accepts nothing")
		}
		offer, err := f.opened(tx, r.To, yes.Propose)
		if err != nil || offer.Kind != letter.Propose || offer.To != r.From {
			return bad("what its proof accepts was not offered")
		}
		c.Payer, c.Payee, c.TID = r.To, r.From, yes.TID
	default:
		return bad("its proof is not of the kind it takes")
	}
	if asker != string(c.Payer) && asker != string(c.Payee) {
		return bad("it is about other circles")
	}
	return c, nil
}

// opened opens a record of a circle that the hub knows.
func (f office) opened(tx *machine.Tx, from letter.CircleID, s letter.Signed) (letter.Record, error) {
	key, _ := exchange.KeyOf(tx, from)
	r, _, err := f.Verify.Open(key, s)
	return r, err
}
