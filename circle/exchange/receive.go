package exchange

import (
	"bytes"
	"errors"

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
	p.Nx, p.Ny = b.Nx, b.Ny
	pairs.Put(tx, peerKey(peer.Circle), p)
	return Welcomed{Held: p.Held, HeadSeen: p.HeadSeen}, nil
}

func receive(tx *machine.Tx, b Receive) (Received, error) {
	peer, p, err := caller(tx)
	if err != nil {
		return Received{}, err
	}
	if p.Nx != b.Nx || p.Ny != b.Ny || p.Nx == (courier.Nonce{}) {
		return Received{}, machine.Refuse("session_void",
			"This session was ended by a newer one. Open a new one.")
	}
	for i, s := range b.Records {
		more, err := take(tx, peer, &p, s, b.Words)
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
func take(
	tx *machine.Tx, peer Peer, p *pair, s letter.Signed, words []Words,
) (more bool, err error) {
	r, h, err := letter.Open(peer.Key, s)
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
	held, err := letter.Follow(p.Held, r, h)
	switch {
	case errors.Is(err, letter.ErrOld):
		copied, ok := inbox.Get(tx, peerKey(peer.Circle).Num(r.Seq))
		if ok && bytes.Equal(copied.Bytes, s.Bytes) {
			return true, nil // a repeat
		}
		freezePair(tx, peer, p, s, r.Seq, "two letters for one place in the stream")
		return false, nil
	case errors.Is(err, letter.ErrFork), errors.Is(err, letter.ErrChain):
		freezePair(tx, peer, p, s, r.Seq, "two letters for one place in the stream")
		return false, nil
	case err != nil:
		return false, nil // a gap or another epoch: the position we answer says where to go on
	}
	after := *p
	after.Held, after.Heard = held, tx.Now()
	if r.Head.Seq > after.HeadSeen.Seq {
		after.HeadSeen = r.Head
	}
	err = tx.Try(func() error {
		inbox.Put(tx, peerKey(peer.Circle).Num(r.Seq), s)
		return obey(tx, peer, &after, r, s, words)
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

// obey does what a record says. An error means the peer broke the protocol.
func obey(tx *machine.Tx, peer Peer, p *pair, r letter.Record, s letter.Signed, words []Words) error {
	// They may be in alliance by our offer while we have moved on: their payments, and the calling back of
	// them, are answered by a rejection.
	begins := r.Kind == letter.Propose || r.Kind == letter.Cancel
	if letter.Trust(r.Kind) == letter.Trusted && p.Since == 0 && !begins {
		return machine.Refuse("no_alliance", "a letter of kind %s without an alliance", r.Kind)
	}
	switch r.Kind {
	case letter.Offer, letter.Agree:
		return gotTerms(tx, peer, p, r)
	case letter.Propose:
		return gotPropose(tx, peer, p, r, s, words)
	case letter.Cancel:
		body, err := payment.DecodeCancel(r.Body)
		if err != nil {
			return err
		}
		key := ref{Peer: peer.Circle, Side: payment.Payee, TID: body.TID}
		pm, _ := payments.Get(tx, key.key())
		return step(tx, peer, p, pm, payment.GotCancel{Peer: peer.Circle, Body: body, At: tx.Now()})
	case letter.Accept:
		body, err := payment.DecodeAccept(r.Body)
		if err != nil {
			return err
		}
		key := ref{Peer: peer.Circle, Side: payment.Payer, TID: body.TID}
		pm, _ := payments.Get(tx, key.key())
		return step(tx, peer, p, pm, payment.GotAccept{Body: body, At: tx.Now()})
	case letter.Reject:
		body, err := payment.DecodeReject(r.Body)
		if err != nil {
			return err
		}
		key := ref{Peer: peer.Circle, Side: payment.Payer, TID: body.TID}
		pm, _ := payments.Get(tx, key.key())
		return step(tx, peer, p, pm, payment.GotReject{Body: body, At: tx.Now()})
	default:
		return machine.Refuse("kind_unexpected", "a letter of kind %s", r.Kind)
	}
}

func gotPropose(
	tx *machine.Tx, peer Peer, p *pair, r letter.Record, s letter.Signed, words []Words,
) error {
	body, err := payment.DecodePropose(r.Body)
	if err != nil {
		return err
	}
	key := ref{Peer: peer.Circle, Side: payment.Payee, TID: body.TID}
	pm, _ := payments.Get(tx, key.key())
	in := payment.GotPropose{Peer: peer.Circle, Body: body, Signed: s, Note: []byte{}, At: tx.Now()}
	if pm.State == payment.None && tx.Now() < body.Expiry {
		in.Account, in.Refuse = credit(tx, peer, p, body, wordsFor(words, r.Seq))
	}
	return step(tx, peer, p, pm, in)
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
func step(tx *machine.Tx, peer Peer, p *pair, pm payment.Payment, in payment.Input) error {
	after, effects, err := payment.Step(pm, in)
	if err != nil {
		return err
	}
	for _, post := range effects.Post {
		switch post {
		case payment.Settle:
			err = coin.Finish(tx, ledger.OpSettle, tx.Fresh(), machine.ID(pm.TID))
		case payment.Void:
			err = coin.Finish(tx, ledger.OpVoid, tx.Fresh(), machine.ID(pm.TID))
		case payment.Credit: // done by credit, which had to know whether it can be
		case payment.Hold:
			panic("a hold is made where a payment begins")
		}
		if err != nil {
			panic("a hold could not be ended: " + err.Error())
		}
	}
	for _, out := range effects.Append {
		if _, err := appendRecord(tx, peer.Circle, p, out.Kind, out.Body); err != nil {
			return err
		}
	}
	if pm.Open() && !after.Open() {
		p.Open--
	}
	if effects.Told != "" {
		tell(tx, after, effects.Told)
	}
	if pm.State != after.State || pm.Cancelled != after.Cancelled {
		keep(tx, after)
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
