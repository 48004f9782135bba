package exchange

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// SetHub says which of the known circles decides on payments that stay without an answer.
type SetHub struct {
	Circle string `cbor:"1,keyasint" json:"circle" doc:"the hub's circle id"`
}

// TakeVerdict brings the hub's certificate into the log.
type TakeVerdict struct {
	Certificate letter.Signed `cbor:"1,keyasint" json:"certificate"`
	Notes       []Opened      `cbor:"2,keyasint,omitempty" json:"-"`
}

func setHub(tx *machine.Tx, b SetHub) (machine.None, error) {
	return machine.None{}, NameHub(tx, b.Circle)
}

// NameHub has a known circle decide on payments without an answer.
func NameHub(tx *machine.Tx, circle string) error {
	peer, err := knownPeer(tx, circle)
	if err == nil {
		hubs.Put(tx, machine.Key{}, string(peer.Circle))
	}
	return err
}

// Hub returns the circle that decides; false where none was named.
func Hub(r machine.Reader) (letter.CircleID, bool) {
	id, ok := hubs.Get(r, machine.Key{})
	return letter.CircleID(id), ok
}

// LifeOf is the life of another circle's letters, as of its newest session with us.
func LifeOf(r machine.Reader, circle letter.CircleID) courier.Nonce {
	p, _ := pairs.Get(r, peerKey(circle))
	return p.Nx
}

// KeyOf returns the key that a known circle signs with.
func KeyOf(r machine.Reader, circle letter.CircleID) ([]byte, bool) {
	if !circle.Valid() {
		return nil, false
	}
	p, ok := peers.Get(r, peerKey(circle))
	return p.Key, ok
}

// NameOf is the name of a known circle; of others the id.
func NameOf(r machine.Reader, circle string) string {
	if p, err := knownPeer(r, circle); err == nil {
		return p.Name
	}
	return circle
}

// PlaceOf is the place of a known circle; of others empty.
func PlaceOf(r machine.Reader, circle string) string {
	p, _ := knownPeer(r, circle) //nolint:errcheck // then it is empty
	return p.Place
}

// CardOf is the card of a known circle, as it signed it; of others empty.
func CardOf(r machine.Reader, circle letter.CircleID) []byte {
	p, _ := knownPeer(r, string(circle)) //nolint:errcheck // then it is empty
	return p.Card
}

// Question is what the hub is to be asked: a verdict, and the record it is to go by. A record of our own is
// still to be signed.
type Question struct {
	Verdict payment.Verdict
	TID     payment.TID
	Proof   letter.Signed
	Own     bool
}

// Questions lists what is to be asked, at most so many.
func Questions(r machine.Reader, most int) (out []Question) {
	for _, x := range asking.All(r, nil, nil) {
		if len(out) == most {
			break
		}
		pm, _ := payments.Get(r, x.key())
		q := Question{TID: x.TID, Verdict: payment.Commit}
		accept, have := inbox.Get(r, peerKey(x.Peer).Num(pm.Answer))
		switch {
		case x.Side == payment.Payee:
			q.Proof.Bytes, have = outbox.Get(r, peerKey(x.Peer).Num(pm.Answer))
			q.Own = true
		case have && pm.Answer != 0:
			q.Proof = accept
		default:
			q.Verdict, q.Proof.Bytes, q.Own, have = payment.Abort, pm.Propose, true, true
		}
		if have {
			out = append(out, q)
		}
	}
	return out
}

func (o Options) verdict(tx *machine.Tx, b TakeVerdict) (machine.None, error) {
	c, err := o.openVerdict(tx, b.Certificate)
	if err != nil {
		return machine.None{}, err
	}
	us, _ := member.TheCircle(tx)
	other := c.Payee
	if string(c.Payee) == us.ID {
		other = c.Payer
	}
	peer, err := knownPeer(tx, string(other))
	if err != nil {
		return machine.None{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	if !o.fresh(tx, p) {
		return machine.None{}, notHeard(peer)
	}
	if c.Epoch != p.HubEpoch {
		return machine.None{}, machine.Refuse("epoch_old", "This verdict is of a time that the hub has left.")
	}
	if err := o.obeyVerdict(tx, peer, &p, c, b, true); err != nil {
		return machine.None{}, machine.Refuse("bad_verdict", "This verdict cannot be followed: %v.", err)
	}
	pairs.Put(tx, peerKey(peer.Circle), p)
	return machine.None{}, nil
}

func (o Options) openVerdict(tx *machine.Tx, s letter.Signed) (payment.Certificate, error) {
	id, ok := Hub(tx)
	if !ok {
		return payment.Certificate{}, machine.Refuse("no_hub", "This circle has not named a hub.")
	}
	key, _ := KeyOf(tx, id)
	c, err := payment.OpenCertificate(o.Verify, key, s)
	us, _ := member.TheCircle(tx)
	if err != nil || c.Hub != id || string(c.Payer) != us.ID && string(c.Payee) != us.ID {
		return payment.Certificate{}, machine.Refuse("bad_verdict", "This is no verdict of our hub for us.")
	}
	return c, nil
}

// obeyVerdict does what a certificate says. The hub alone cannot move coins: a commit takes the payer's
// signature and the payee's.
func (o Options) obeyVerdict(
	tx *machine.Tx, peer Peer, p *pair, c payment.Certificate, b TakeVerdict, fromHub bool,
) error {
	in := payment.GotVerdict{
		Peer: peer.Circle, Side: payment.Payer, TID: c.TID, Verdict: c.Verdict, Certificate: b.Certificate,
		FromHub: fromHub, At: tx.Now(),
	}
	if c.Payer == peer.Circle {
		in.Side = payment.Payee
	}
	pm, _ := payments.Get(tx, ref{Peer: peer.Circle, Side: in.Side, TID: c.TID}.key())
	if c.Verdict == payment.Commit {
		if err := o.proven(tx, peer, c, b.Notes, &in); err != nil {
			return err
		}
		if in.Side == payment.Payer && pm.State != payment.None && in.Body.Minutes != pm.Minutes {
			return machine.Refuse("bad_verdict", "a verdict on another amount")
		}
	}
	certificates.Put(tx, peerKey(peer.Circle).Num(uint64(in.Side)).Bytes(c.TID[:]), b.Certificate)
	return o.step(tx, peer, p, pm, in)
}

// proven opens what a commit goes by: the payee's ACCEPT, with the payer's PROPOSE in it.
func (o Options) proven(
	tx *machine.Tx, peer Peer, c payment.Certificate, notes []Opened, in *payment.GotVerdict,
) error {
	us, _ := member.TheCircle(tx)
	payee, payer := us.Key, peer.Key
	if in.Side == payment.Payer {
		payee, payer = payer, payee
	}
	r, _, err := o.Verify.Open(payee, c.Proof)
	if err != nil {
		return err
	}
	yes, err := payment.DecodeAccept(r.Body)
	if err != nil {
		return err
	}
	offer, _, err := o.Verify.Open(payer, yes.Propose)
	if err != nil {
		return err
	}
	if in.Body, err = payment.DecodePropose(offer.Body); err != nil {
		return err
	}
	if yes.TID != c.TID || in.Body.TID != c.TID || r.Kind != letter.Accept || offer.Kind != letter.Propose {
		return machine.Refuse("bad_verdict", "a verdict on another payment")
	}
	in.Propose = yes.Propose.Bytes
	if in.Side == payment.Payee {
		in.Account = holder(tx, r, notes)
	}
	return nil
}
