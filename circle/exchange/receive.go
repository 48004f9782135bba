package exchange

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// Welcomed is what this circle remembers of the peer's stream, for its WELCOME.
type Welcomed struct {
	Held     letter.Position `cbor:"1,keyasint" json:"held"`
	HeadSeen letter.Position `cbor:"2,keyasint" json:"headSeen"`
	Tail     uint64          `cbor:"3,keyasint,omitempty" json:"tail"` // of ours to them
}

// Received says how far the peer's stream is held now, and whether the pair was frozen on the way.
type Received struct {
	Held   letter.Position `cbor:"1,keyasint" json:"held"`
	Frozen string          `cbor:"2,keyasint" json:"frozen,omitempty"`
}

func caller(tx *machine.Tx) (Peer, pair, error) {
	id, _ := tx.Caller().Peer()
	peer, err := knownPeer(tx, id)
	if err != nil {
		return peer, pair{}, err
	}
	p, _ := pairs.Get(tx, peerKey(peer.Circle))
	if p.Frozen != "" {
		return peer, p, machine.Refuse("frozen", "Exchange between these circles is stopped: %s.", p.Frozen)
	}
	return peer, p, nil
}

// openSession voids every earlier session with the peer: from the moment our WELCOME states a position,
// nothing sent before is applied any more.
func openSession(tx *machine.Tx, b Session) (Welcomed, error) {
	peer, p, err := caller(tx)
	if err != nil {
		return Welcomed{}, err
	}
	p.Nx, p.Ny, p.Life = b.Nx, b.Ny, Life(tx)
	pairs.Put(tx, peerKey(peer.Circle), p)
	return Welcomed{Held: p.Held, HeadSeen: p.HeadSeen, Tail: p.Tail.Seq}, nil
}

func (o Options) receive(tx *machine.Tx, b Receive) (Received, error) {
	peer, p, err := caller(tx)
	if err != nil {
		return Received{}, err
	}
	void := p.Nx != b.Nx || p.Ny != b.Ny || p.Nx == (courier.Nonce{}) || p.Life != Life(tx)
	switch {
	case void && o.Protocol.Off != payment.SessionBound:
		return Received{}, machine.Refuse("session_void",
			"This session was ended by a newer one. Open a new one.")
	case !o.fresh(tx, p):
		return Received{}, machine.Later(courier.Busy, "We have to hear first how far you hold our letters.")
	}
	for i, s := range b.Records {
		more, err := o.take(tx, peer, &p, s, b)
		if err != nil && i == 0 {
			return Received{}, err
		}
		if err != nil || !more {
			break // what came before it is taken; asked again, it comes first and is refused by itself
		}
	}
	pairs.Put(tx, peerKey(peer.Circle), p)
	return Received{Held: p.Held, Frozen: p.Frozen}, nil
}

// take applies the next record of the peer's stream. A bad signature refuses it; proof of a
// broken promise freezes the pair and keeps both records; a gap stops the batch and tells how far we are.
func (o Options) take(
	tx *machine.Tx, peer Peer, p *pair, s letter.Signed, b Receive,
) (more bool, err error) {
	r, h, err := o.Verify.Open(peer.Key, s)
	us, _ := member.TheCircle(tx)
	switch {
	case errors.Is(err, letter.ErrKind), errors.Is(err, letter.ErrVersion):
		return false, machine.Refuse("unknown_kind",
			"A letter of a kind that this version does not know: %v. Update this circle.", err)
	case err != nil:
		return false, machine.Refuse("malformed", "A letter that cannot be opened: %v.", err)
	case r.Kind == letter.Amend || r.Kind == letter.End: // these wait for the governance of alliances
		return false, machine.Refuse("unknown_kind", "A letter of kind %s, which this version does not know."+
			" Update this circle.", r.Kind)
	case r.From != peer.Circle || string(r.To) != us.ID:
		return false, machine.Refuse("malformed", "A letter between other circles.")
	}
	copied, known := inbox.Get(tx, peerKey(peer.Circle).Num(r.Seq))
	if known && bytes.Equal(copied.Bytes, s.Bytes) {
		return true, nil // a repeat, perhaps of an epoch that was left
	}
	held, err := letter.Follow(p.Held, r, h)
	switch {
	case errors.Is(err, letter.ErrOld), errors.Is(err, letter.ErrFork), errors.Is(err, letter.ErrChain):
		freezePair(tx, peer, p, s, r.Seq, "two letters for one place in the stream")
		return false, nil
	case err != nil:
		return false, nil // a gap or another epoch: the position we answer says where to go on
	}
	after := *p
	after.Held, after.Heard = held, tx.Now()
	if r.Ack.Seq <= p.Tail.Seq {
		after.Acked = ackedIn(tx, after.Acked, r.Ack.Seq)
	}
	if r.Head.Seq > after.HeadSeen.Seq {
		after.HeadSeen = r.Head
	}
	err = tx.Try(func() error {
		inbox.Put(tx, peerKey(peer.Circle).Num(r.Seq), s)
		return o.obey(tx, peer, &after, r, s, b)
	})
	if err != nil {
		freezePair(tx, peer, p, s, r.Seq, err.Error())
		return false, nil
	}
	*p = after
	return true, nil
}

// freezePair stops all exchange with a peer that broke its promises, and keeps what proves it.
func freezePair(tx *machine.Tx, peer Peer, p *pair, sent letter.Signed, seq uint64, why string) {
	held, _ := inbox.Get(tx, peerKey(peer.Circle).Num(seq))
	forks.Put(tx, peerKey(peer.Circle).Num(seq), fork{Held: held, Sent: sent, At: tx.Now()})
	p.Frozen = why
	tx.Emit(machine.Event{
		Kind: "exchange.frozen", Audience: []string{machine.AudienceCircle}, Words: peer.Name,
		Subject: coin.CirclePrefix + string(peer.Circle),
	})
}

// ackedIn is how far a peer holds our stream. Logs from before there were lives do not keep it.
func ackedIn(r machine.Reader, before, now uint64) uint64 {
	if !lives.Has(r, machine.Key{}) {
		return before
	}
	return max(before, now)
}

// obey does what a record says. An error means the peer broke the protocol.
func (o Options) obey(
	tx *machine.Tx, peer Peer, p *pair, r letter.Record, s letter.Signed, b Receive,
) error {
	// They may be in alliance by our offer while we have moved on: their payments, and the calling back of
	// them, are answered by a rejection. A circle that was put back to before its alliance hears of it again.
	begins := r.Kind == letter.Propose || r.Kind == letter.Cancel
	if letter.Trust(r.Kind) == letter.Trusted && p.Since == 0 && !begins && !lives.Has(tx, machine.Key{}) {
		return machine.Refuse("no_alliance", "a letter of kind %s without an alliance", r.Kind)
	}
	switch r.Kind {
	case letter.Offer, letter.Agree:
		return o.gotTerms(tx, peer, p, r)
	case letter.Epoch:
		return nil // its place in the stream says it all
	case letter.Aborted, letter.Committed:
		return o.gotVerdict(tx, peer, p, r, b)
	default:
		return o.gotOfPayment(tx, peer, p, r, s, b)
	}
}

// gotOfPayment advances the payment that a record is about.
func (o Options) gotOfPayment(
	tx *machine.Tx, peer Peer, p *pair, r letter.Record, s letter.Signed, b Receive,
) error {
	tid, side, in, err := o.inputOf(tx, peer, r, s)
	if err != nil {
		return err
	}
	pm, _ := payments.Get(tx, ref{Peer: peer.Circle, Side: side, TID: tid}.key())
	if yes, ok := in.(payment.GotAccept); ok && pm.State == payment.None && yes.Ours {
		if o.Protocol.Off == payment.ReceiptTellsAll {
			return nil
		}
		if pm, err = o.bringBack(tx, peer, p, yes, b.Notes); err != nil {
			return err
		}
	}
	if offer, ok := in.(payment.GotPropose); ok {
		fresh := pm.State == payment.None && tx.Now() < offer.Body.Expiry
		if fresh || o.Protocol.Off == payment.DuplicateOnce && pm.State == payment.Accepted {
			w := wordsFor(b.Words, r.Seq)
			offer.Account, offer.Refuse = credit(tx, peer, p, offer.Body, w)
			if offer.Note, err = selfNote(tx, w.selfFor(offer.Account), offer.Account); err != nil {
				return err
			}
		}
		in = offer
	}
	return o.step(tx, peer, p, pm, in)
}

// inputOf reads a record about a payment.
func (o Options) inputOf(
	tx *machine.Tx, peer Peer, r letter.Record, s letter.Signed,
) (payment.TID, payment.Side, payment.Input, error) {
	switch r.Kind {
	case letter.Propose:
		body, err := payment.DecodePropose(r.Body)
		in := payment.GotPropose{Peer: peer.Circle, Body: body, Signed: s, Note: []byte{}, At: tx.Now()}
		return body.TID, payment.Payee, in, err
	case letter.Cancel:
		body, err := payment.DecodeCancel(r.Body)
		return body.TID, payment.Payee, payment.GotCancel{Peer: peer.Circle, Body: body, At: tx.Now()}, err
	case letter.Accept:
		body, err := payment.DecodeAccept(r.Body)
		in := payment.GotAccept{Body: body, Seq: r.Seq, At: tx.Now()}
		if err == nil {
			in.Ours = o.ours(tx, body)
		}
		return body.TID, payment.Payer, in, err
	case letter.Reject:
		body, err := payment.DecodeReject(r.Body)
		return body.TID, payment.Payer, payment.GotReject{Peer: peer.Circle, Body: body, At: tx.Now()}, err
	case letter.Forgiven:
		body, err := payment.DecodeForgiven(r.Body)
		in := payment.GotForgiven{Peer: peer.Circle, Body: body, At: tx.Now()}
		return body.TID, payment.Payer, in, err
	default:
		return payment.TID{}, 0, nil, machine.Refuse("kind_unexpected", "a letter of kind %s", r.Kind)
	}
}

// ours tells whether the PROPOSE in an ACCEPT is one that this circle signed.
func (o Options) ours(tx *machine.Tx, body payment.AcceptBody) bool {
	us, _ := member.TheCircle(tx)
	r, _, err := o.Verify.Open(us.Key, body.Propose)
	if err != nil || r.Kind != letter.Propose {
		return false
	}
	offer, err := payment.DecodePropose(r.Body)
	return err == nil && offer.TID == body.TID
}

// bringBack does once more a payment of ours that the peer has accepted and we have forgotten.
func (o Options) bringBack(
	tx *machine.Tx, peer Peer, p *pair, in payment.GotAccept, notes []Opened,
) (payment.Payment, error) {
	r, err := letter.Decode(in.Body.Propose.Bytes)
	if err != nil {
		return payment.Payment{}, err
	}
	err = o.step(tx, peer, p, payment.Payment{}, payment.Replay{
		Peer: peer.Circle, Record: r, Signed: in.Body.Propose, Account: holder(tx, r, notes), At: tx.Now(),
	})
	pm, _ := payments.Get(tx, ref{Peer: peer.Circle, Side: payment.Payer, TID: in.Body.TID}.key())
	return pm, err
}

func (o Options) gotVerdict(tx *machine.Tx, peer Peer, p *pair, r letter.Record, b Receive) error {
	body, err := payment.DecodeVerdict(r.Body)
	if err != nil {
		return err
	}
	c, err := o.openVerdict(tx, body.Certificate)
	if err != nil {
		return err
	}
	us, _ := member.TheCircle(tx)
	if c.TID != body.TID || c.Payer != peer.Circle || string(c.Payee) != us.ID {
		return machine.Refuse("bad_verdict", "a verdict on another payment")
	}
	return o.obeyVerdict(tx, peer, p, c, TakeVerdict{Certificate: body.Certificate, Notes: b.Notes}, false)
}

// credit pays the person behind the alias, or says why not. A refused one changed nothing.
func credit(
	tx *machine.Tx, peer Peer, p *pair, body payment.ProposeBody, opened Words,
) (person, refuse string) {
	if p.Since == 0 {
		return "", payment.ReasonClosed
	}
	person, ok := codes.Get(tx, machine.Key{}.Str(body.Alias))
	if !ok {
		return "", payment.ReasonAliasUnknown
	}
	if err := coin.OpenPerson(tx, person); err != nil {
		return "", payment.ReasonClosed
	}
	activity, note := told(body.Memo, person, opened)
	_, err := coin.Move(tx, coin.Movement{
		Op: ledger.OpPost, ID: tx.Fresh(), From: coin.CirclePrefix + string(peer.Circle), To: person,
		Minutes: body.Minutes,
		Act: coin.Act{
			Reason: coin.ReasonAbroad, Activity: activity, Place: peer.Place, Note: note,
		},
	})
	if err == nil {
		return person, ""
	}
	switch machine.AsError(err).Code {
	case "limit_reached":
		return "", payment.ReasonLimit
	case string(ledger.CodeAccountFrozen):
		return "", payment.ReasonFrozen
	default:
		return "", payment.ReasonClosed
	}
}

// step advances one payment and does what goes with it, in this same command.
func (o Options) step(tx *machine.Tx, peer Peer, p *pair, pm payment.Payment, in payment.Input) error {
	after, effects, err := o.Protocol.Step(pm, in)
	if err != nil {
		return err
	}
	for _, post := range effects.Post {
		if err := o.post(tx, peer, &after, post, effects.Forced); err != nil {
			return err
		}
	}
	for _, out := range effects.Append {
		if out.Kind == letter.Accept && o.Protocol.Off == payment.ReceiptAtOnce {
			owe(tx, after, out.Body)
			continue
		}
		if _, err := o.appendRecord(tx, peer, p, out.Kind, out.Body); err != nil {
			return err
		}
		if out.Kind == letter.Accept && lives.Has(tx, machine.Key{}) {
			after.Answer = p.Tail.Seq
		}
	}
	switch {
	case pm.Open() && !after.Open():
		p.Open--
	case !pm.Open() && after.Open():
		p.Open++
	}
	if effects.Told != "" {
		tell(tx, after, effects.Told)
	}
	if !same(pm, after) {
		keep(tx, pm, after)
	}
	return nil
}

// same tells whether a step left all that may change as it was.
func same(a, b payment.Payment) bool {
	return a.State == b.State && a.Cancelled == b.Cancelled && a.Asking == b.Asking && a.Answer == b.Answer &&
		a.Verdict == b.Verdict
}

// post does one posting of a payment.
func (o Options) post(
	tx *machine.Tx, peer Peer, pm *payment.Payment, post payment.Posting, forced bool,
) error {
	hold := machine.ID(pm.TID)
	if pm.Hold != (payment.TID{}) {
		hold = machine.ID(pm.Hold)
	}
	circle := coin.CirclePrefix + string(peer.Circle)
	m := coin.Movement{Op: ledger.OpPost, ID: tx.Fresh(), Minutes: pm.Minutes, Act: coin.Act{
		Reason: coin.ReasonAbroad, Place: peer.Place, Note: machine.Private{Of: pm.Account},
	}}
	var err error
	switch post {
	case payment.Settle:
		err = coin.Finish(tx, ledger.OpSettle, tx.Fresh(), hold, coin.ReasonAbroad)
	case payment.Void:
		err = coin.Finish(tx, ledger.OpVoid, tx.Fresh(), hold, coin.ReasonAbroad)
	case payment.Hold:
		if !forced {
			panic("a hold is made where a payment begins")
		}
		if _, used := coin.Store(tx).Record(ledger.ID(hold)); used { // since it was forgotten
			hold = tx.Fresh()
			pm.Hold = payment.TID(hold)
		}
		m.Op, m.ID, m.From, m.To = ledger.OpHold, hold, pm.Account, circle
		_, err = coin.Force(tx, m)
	case payment.Credit:
		m.From, m.To = circle, pm.Account
		switch {
		case forced:
			_, err = coin.Force(tx, m)
		default: // done by credit, which had to know whether it can be
		}
	case payment.Refund:
		m.From, m.To = circle, pm.Account
		_, err = coin.Force(tx, m)
	case payment.Charge:
		m.From, m.To = pm.Account, circle
		_, err = coin.Force(tx, m)
	case payment.WriteOff:
		m.From, m.To = coin.LossPrefix+string(peer.Circle), circle
		_, err = coin.Force(tx, m)
	}
	if err != nil {
		return fmt.Errorf("%s of payment %s: %w", post, pm.TID, err)
	}
	if strings.HasPrefix(pm.Account, coin.SuspensePrefix) {
		return coin.GiveBack(tx, pm.Account)
	}
	return nil
}

func tell(tx *machine.Tx, pm payment.Payment, told string) {
	if pm.Account == "" {
		return
	}
	tx.Emit(machine.Event{
		Kind: "exchange." + told, Audience: []string{pm.Account}, Subject: pm.Account,
		Object: coin.CirclePrefix + string(pm.Peer), Minutes: pm.Minutes, Words: pm.Reason,
	})
}
