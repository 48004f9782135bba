package payment

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Input is something that happens to a payment: one of the types below. All times are this circle's own
// ledger time in Unix milliseconds.
type Input interface{ input() }

// Begin starts a payment at the payer, after the circle has checked limits and balances.
type Begin struct {
	Peer    letter.CircleID
	Account string // the local account that pays
	Body    ProposeBody
	At      int64
}

// GotPropose is a PROPOSE from the peer's stream.
type GotPropose struct {
	Peer    letter.CircleID
	Body    ProposeBody
	Signed  letter.Signed // the record Body was in
	Refuse  string        // a Reason code for which the circle will not take it; "" to take it
	Account string        // the local account the alias stands for; unused when refused
	Note    []byte        // sealed note to ourselves for the ACCEPT
	At      int64
}

// GotAccept is an ACCEPT from the peer's stream. A payment that this circle has forgotten, having been put
// back to an older copy, is given to Replay first, with the PROPOSE that is in the body.
type GotAccept struct {
	Body AcceptBody
	Seq  uint64 // its place in the stream
	Ours bool   // the PROPOSE in it carries this circle's signature, this TID and this amount
	At   int64
}

// GotReject is a REJECT from the peer's stream.
type GotReject struct {
	Peer letter.CircleID
	Body RejectBody
	At   int64
}

// GotCancel is a CANCEL from the peer's stream.
type GotCancel struct {
	Peer letter.CircleID
	Body CancelBody
	At   int64
}

// Clock says what the time is. Give it to open payments now and then.
type Clock struct{ At int64 }

func (Begin) input()      {}
func (GotPropose) input() {}
func (GotAccept) input()  {}
func (GotReject) input()  {}
func (GotCancel) input()  {}
func (Clock) input()      {}

// ErrBegin: this payment cannot be begun; the caller's mistake, not the peer's.
var ErrBegin = errors.New("payment cannot begin")

// ErrMismatch: the payment given is not the one the input is about; the caller's mistake.
var ErrMismatch = errors.New("input is for another payment")

// Violation is a breach of the protocol by the peer, found with errors.As: freeze the pair of circles.
type Violation struct {
	Code string // one of the codes below
	TID  TID
}

// Codes of violations.
const (
	ViolationUnknown = "unknown_payment"  // an answer to a payment we never proposed
	ViolationForeign = "foreign_proposal" // an answer to another PROPOSE than the one we sent
	ViolationReverse = "reversed"         // ACCEPT after REJECT, or REJECT after ACCEPT
	ViolationVerdict = "two_verdicts"     // another verdict than the one known
)

// Error implements error.
func (v *Violation) Error() string {
	return "payment " + v.TID.String() + ": peer broke the protocol: " + v.Code
}

// Step takes a payment as it stands and one input, and returns the payment as it is then and what goes with
// it. Nothing else is read. On an error nothing has happened: p and zero Effects come back, with a
// *Violation, ErrBegin, ErrMismatch, or what encoding a body gives.
func Step(p Payment, in Input) (Payment, Effects, error) { return Protocol{}.Step(p, in) }

// Step is the function Step under rules of which some may be off.
func (o Protocol) Step(p Payment, in Input) (Payment, Effects, error) {
	after, effects, err := o.step(p, in)
	if err != nil {
		return p, Effects{}, fmt.Errorf("payment step: %w", err)
	}
	return after, effects, nil
}

func (o Protocol) step(p Payment, in Input) (Payment, Effects, error) {
	switch in := in.(type) {
	case Begin:
		return begin(p, in)
	case GotPropose:
		if err := about(p, Payee, in.Body.TID); err != nil {
			return p, Effects{}, err
		}
		return o.propose(p, in)
	case GotCancel:
		if err := about(p, Payee, in.Body.TID); err != nil {
			return p, Effects{}, err
		}
		return cancel(p, in)
	case GotAccept:
		if err := about(p, Payer, in.Body.TID); err != nil {
			return p, Effects{}, err
		}
		return o.accept(p, in)
	case GotReject:
		if err := about(p, Payer, in.Body.TID); err != nil {
			return p, Effects{}, err
		}
		return o.reject(p, in)
	case Clock:
		return o.clock(p, in)
	case Ask:
		return ask(p)
	case GotVerdict:
		return o.verdict(p, in)
	case GotForgiven:
		if err := about(p, Payer, in.Body.TID); err != nil {
			return p, Effects{}, err
		}
		return forgiven(p, in)
	case Replay:
		return replay(p, in)
	}
	return p, Effects{}, fmt.Errorf("input %T: %w", in, ErrMismatch)
}

// about refuses a payment looked up under another key than the input's.
func about(p Payment, side Side, tid TID) error {
	if p.State != None && (p.Side != side || p.TID != tid) {
		return fmt.Errorf("%s %s, kept as %s %s: %w", side, tid, p.Side, p.TID, ErrMismatch)
	}
	return nil
}

func begin(p Payment, in Begin) (Payment, Effects, error) {
	switch {
	case p.State != None:
		return p, Effects{}, fmt.Errorf("id %s is taken: %w", in.Body.TID, ErrBegin)
	case in.Body.Expiry <= in.At:
		return p, Effects{}, fmt.Errorf("expiry %d is not after now, %d: %w", in.Body.Expiry, in.At, ErrBegin)
	case !in.Peer.Valid():
		return p, Effects{}, fmt.Errorf("peer %.40q is not a circle id: %w", in.Peer, ErrBegin)
	}
	body, err := in.Body.Encode()
	if err != nil {
		return p, Effects{}, fmt.Errorf("%w: %w", ErrBegin, err)
	}
	p = Payment{
		TID: in.Body.TID, Peer: in.Peer, Side: Payer, State: Held, Minutes: in.Body.Minutes,
		Account: in.Account, Alias: in.Body.Alias, Expiry: in.Body.Expiry, At: in.At, Memo: in.Body.Memo,
	}
	return p, effects(ToldHeld, Hold, letter.Propose, body), nil
}

// propose decides, once and for ever. For a decided payment the receipt is already in the stream.
func (o Protocol) propose(p Payment, in GotPropose) (Payment, Effects, error) {
	if o.Off == DuplicateOnce && p.State == Accepted && in.Refuse == "" {
		return p, Effects{Post: []Posting{Credit}}, nil
	}
	if p.State != None {
		return p, Effects{}, nil
	}
	p = Payment{
		TID: in.Body.TID, Peer: in.Peer, Side: Payee, Minutes: in.Body.Minutes, Account: in.Account,
		Alias: in.Body.Alias, Expiry: in.Body.Expiry, At: in.At, Decided: in.At,
		Propose: in.Signed.Bytes, Memo: in.Body.Memo,
	}
	refuse := in.Refuse
	if in.At >= in.Body.Expiry {
		refuse = ReasonExpired
	}
	if refuse != "" {
		p.State, p.Reason, p.Account = Rejected, refuse, ""
		return refusal(p, letter.HashOf(in.Signed.Bytes))
	}
	body, err := AcceptBody{TID: p.TID, Propose: in.Signed, Note: in.Note}.Encode()
	if err != nil {
		return p, Effects{}, err
	}
	p.State = Accepted
	return p, effects(ToldReceived, Credit, letter.Accept, body), nil
}

// cancel of a payment never seen leaves a tombstone: a PROPOSE that comes later finds it decided.
func cancel(p Payment, in GotCancel) (Payment, Effects, error) {
	if p.State != None {
		return p, Effects{}, nil
	}
	p = Payment{
		TID: in.Body.TID, Peer: in.Peer, Side: Payee, State: Rejected, Reason: ReasonCancelled,
		At: in.At, Decided: in.At,
	}
	return refusal(p, letter.Hash{})
}

func refusal(p Payment, proposal letter.Hash) (Payment, Effects, error) {
	body, err := RejectBody{TID: p.TID, Reason: p.Reason, Propose: proposal}.Encode()
	if err != nil {
		return p, Effects{}, err
	}
	return p, effects(ToldRefused, 0, letter.Reject, body), nil
}

// accept takes the amount from our own PROPOSE; the answer must carry exactly that one, or one of the same
// payment that this circle signed before it was put back to an older copy.
func (o Protocol) accept(p Payment, in GotAccept) (Payment, Effects, error) {
	same := len(p.Propose) > 0 && bytes.Equal(in.Body.Propose.Bytes, p.Propose)
	switch {
	case p.State == None:
		return p, Effects{}, &Violation{Code: ViolationUnknown, TID: in.Body.TID}
	case !same && !in.Ours:
		return p, Effects{}, &Violation{Code: ViolationForeign, TID: p.TID}
	case p.Verdict != 0 || p.State == Settled:
		return p, Effects{}, nil
	case p.State == Returned:
		return p, Effects{}, &Violation{Code: ViolationReverse, TID: p.TID}
	}
	p.Answer = in.Seq
	if p.Asking && o.Off != HubDecides {
		return p, Effects{}, nil // it goes along with the question
	}
	p.State, p.Decided = Settled, in.At
	return p, Effects{Post: []Posting{Settle}, Told: ToldSettled}, nil
}

// reject of a payment that this circle has forgotten leaves a tombstone: who asks for the same once more gets
// the same answer.
func (o Protocol) reject(p Payment, in GotReject) (Payment, Effects, error) {
	switch {
	case p.State == None:
		p = Payment{
			TID: in.Body.TID, Peer: in.Peer, Side: Payer, State: Returned, Reason: in.Body.Reason,
			At: in.At, Decided: in.At,
		}
		return p, Effects{}, nil
	case p.Verdict != 0 || p.State == Returned || p.Asking && o.Off != HubDecides:
		return p, Effects{}, nil
	case p.State == Settled:
		return p, Effects{}, &Violation{Code: ViolationReverse, TID: p.TID}
	}
	p.State, p.Decided, p.Reason = Returned, in.At, in.Body.Reason
	return p, Effects{Post: []Posting{Void}, Told: ToldReturned}, nil
}

// clock asks for a decision when the payment is past its expiry, once. It posts nothing: an ACCEPT may be on
// its way, and coins given back here would then be there twice.
func (o Protocol) clock(p Payment, in Clock) (Payment, Effects, error) {
	if p.State != Held || p.Cancelled || in.At <= p.Expiry {
		return p, Effects{}, nil
	}
	if o.Off == PayeeDecides {
		p.State, p.Decided, p.Reason = Returned, in.At, ReasonExpired
		return p, Effects{Post: []Posting{Void}, Told: ToldReturned}, nil
	}
	body, err := CancelBody{TID: p.TID}.Encode()
	if err != nil {
		return p, Effects{}, err
	}
	p.Cancelled = true
	return p, effects(ToldLate, 0, letter.Cancel, body), nil
}

func effects(told string, post Posting, kind letter.Kind, body []byte) Effects {
	e := Effects{Append: []Out{{Kind: kind, Body: body}}, Told: told}
	if post != 0 {
		e.Post = []Posting{post}
	}
	return e
}
