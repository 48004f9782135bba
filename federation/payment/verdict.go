package payment

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Verdict is what the hub decided about a payment that got no answer.
type Verdict uint8

// The verdicts.
const (
	Commit Verdict = 1 // it is made: the payee had credited it
	Abort  Verdict = 2 // it is not made, also if the payee had credited it
)

// String returns "commit" or "abort".
func (v Verdict) String() string {
	switch v {
	case Commit:
		return "commit"
	case Abort:
		return "abort"
	}
	return "none"
}

// Limits of what is decided at the hub.
const (
	// MaxProofBytes bounds the record that a question is about, with its signature.
	MaxProofBytes = 40 << 10
	// MaxCertificateBytes bounds a certificate.
	MaxCertificateBytes = MaxProofBytes + 1<<10
)

// Certificate is the hub's verdict on one payment, as it signs it. CBOR keys 9 and up are free.
type Certificate struct {
	Hub     letter.CircleID `cbor:"1,keyasint"`
	Payer   letter.CircleID `cbor:"2,keyasint"`
	Payee   letter.CircleID `cbor:"3,keyasint"`
	TID     TID             `cbor:"4,keyasint"`
	Verdict Verdict         `cbor:"5,keyasint"`
	Index   uint64          `cbor:"6,keyasint"` // counts the hub's verdicts, from 1
	// Proof is what the hub went by: for Commit the payee's ACCEPT, for Abort the payer's PROPOSE.
	Proof letter.Signed `cbor:"7,keyasint"`
	Epoch uint64        `cbor:"8,keyasint"` // of the hub's books: how often they were put back from a backup
}

// ErrVerdict: a certificate that is not one, or is about something else.
var ErrVerdict = errors.New("verdict not acceptable")

// Encode returns the canonical bytes, to be signed with letter.ForVerdict.
func (c Certificate) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("encoding a verdict: %w", err)
	}
	b, err := letter.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a verdict: %w", err)
	}
	return b, nil
}

// OpenCertificate checks the hub's signature and reads the certificate.
func OpenCertificate(verify letter.Verifier, hub ed25519.PublicKey, s letter.Signed) (Certificate, error) {
	var c Certificate
	if len(s.Bytes) > MaxCertificateBytes {
		return c, fmt.Errorf("opening a verdict: %w", letter.ErrTooLarge)
	}
	if err := verify(letter.ForVerdict, hub, s.Bytes, s.Sig); err != nil {
		return c, fmt.Errorf("opening a verdict: %w", err)
	}
	return ReadCertificate(s)
}

// ReadCertificate reads a certificate without asking who signed it.
func ReadCertificate(s letter.Signed) (c Certificate, err error) {
	if err := letter.Unmarshal(s.Bytes, MaxCertificateBytes, &c); err != nil {
		return Certificate{}, fmt.Errorf("reading a verdict: %w", err)
	}
	if err := c.check(); err != nil {
		return Certificate{}, fmt.Errorf("reading a verdict: %w", err)
	}
	return c, nil
}

func (c Certificate) check() error {
	switch {
	case !c.Hub.Valid() || !c.Payer.Valid() || !c.Payee.Valid() || c.Payer == c.Payee:
		return fmt.Errorf("hub %.40q, payer %.40q, payee %.40q: %w", c.Hub, c.Payer, c.Payee, ErrVerdict)
	case c.TID == TID{} || c.Index == 0:
		return fmt.Errorf("no payment or no place: %w", ErrVerdict)
	case c.Verdict != Commit && c.Verdict != Abort:
		return fmt.Errorf("verdict %d: %w", c.Verdict, ErrVerdict)
	case len(c.Proof.Bytes)+len(c.Proof.Sig) > MaxProofBytes:
		return fmt.Errorf("proof of %d bytes: %w", len(c.Proof.Bytes), letter.ErrTooLarge)
	}
	return nil
}

// VerdictBody passes the hub's verdict on to the other side. CBOR keys 3 and up are free.
type VerdictBody struct {
	TID         TID           `cbor:"1,keyasint"`
	Certificate letter.Signed `cbor:"2,keyasint"`
}

// ForgivenBody says that the payee has written the payment off. CBOR keys 2 and up are free.
type ForgivenBody struct {
	TID TID `cbor:"1,keyasint"`
}

// Encode returns the canonical bytes, or ErrBody.
func (b VerdictBody) Encode() ([]byte, error) { return encode("a verdict", b, b.check()) }

// Encode returns the canonical bytes, or ErrBody.
func (b ForgivenBody) Encode() ([]byte, error) { return encode("FORGIVEN", b, b.check()) }

// DecodeVerdict reads the body of an ABORTED or COMMITTED.
func DecodeVerdict(b []byte) (VerdictBody, error) { return decode[VerdictBody]("a verdict", b) }

// DecodeForgiven reads the body of a FORGIVEN.
func DecodeForgiven(b []byte) (ForgivenBody, error) { return decode[ForgivenBody]("FORGIVEN", b) }

func (b VerdictBody) check() error {
	switch {
	case b.TID == TID{}:
		return fmt.Errorf("no payment id: %w", ErrBody)
	case len(b.Certificate.Bytes) == 0 || len(b.Certificate.Bytes) > MaxCertificateBytes:
		return fmt.Errorf("certificate of %d bytes: %w", len(b.Certificate.Bytes), ErrBody)
	}
	return nil
}

func (b ForgivenBody) check() error { return CancelBody(b).check() }

// Ask is the decision to ask the hub. It must be in the log before the question is sent.
type Ask struct{}

// GotVerdict is the hub's verdict, from the hub or passed on by the peer.
type GotVerdict struct {
	Peer        letter.CircleID
	Side        Side // of this circle
	TID         TID
	Verdict     Verdict
	Certificate letter.Signed
	// Of a Commit, at the payee: the payment as proposed, and the local account that gets it.
	Body    ProposeBody
	Propose []byte
	Account string
	FromHub bool // the hub told us, and not the peer
	At      int64
}

// GotForgiven is a FORGIVEN from the peer's stream.
type GotForgiven struct {
	Peer letter.CircleID
	Body ForgivenBody
	At   int64
}

func (Ask) input()         {}
func (GotVerdict) input()  {}
func (GotForgiven) input() {}

// ask is for either side: the payer to be free of a payment that nobody answers, the payee to be paid for one
// that it answered.
func ask(p Payment) (Payment, Effects, error) {
	if p.State != Held && p.State != Accepted || p.Asking || p.Verdict != 0 {
		return p, Effects{}, nil
	}
	p.Asking = true
	if p.Side == Payer {
		return p, Effects{Told: ToldAsking}, nil
	}
	return p, Effects{}, nil
}

// verdict is what the hub says, whatever either side thought before.
func (o Protocol) verdict(p Payment, in GotVerdict) (Payment, Effects, error) {
	if err := about(p, in.Side, in.TID); err != nil {
		return p, Effects{}, err
	}
	switch {
	case p.Verdict == in.Verdict:
		return p, Effects{}, nil
	case p.Verdict != 0:
		return p, Effects{}, &Violation{Code: ViolationVerdict, TID: in.TID}
	}
	if in.Side == Payer {
		return o.verdictAtPayer(p, in)
	}
	return o.verdictAtPayee(p, in)
}

func (o Protocol) verdictAtPayer(p Payment, in GotVerdict) (Payment, Effects, error) {
	if p.State == None {
		return p, Effects{}, fmt.Errorf("a verdict on %s, which is not known: %w", in.TID, ErrMismatch)
	}
	before, kind := p.State, letter.Committed
	var e Effects
	if in.Verdict == Commit {
		p.State = Settled
		switch before {
		case Held:
			e = Effects{Post: []Posting{Settle}, Told: ToldSettled}
		case Returned:
			e = Effects{Post: []Posting{Charge}, Forced: true, Told: ToldSettled}
		default: // it had thought so itself
		}
	} else {
		kind = letter.Aborted
		p.State, p.Reason = Returned, ReasonAborted
		switch before {
		case Held:
			e = Effects{Post: []Posting{Void}, Told: ToldReturned}
		case Settled:
			e = Effects{Post: []Posting{Refund}, Forced: true, Told: ToldReturned}
		default:
		}
	}
	p.Verdict, p.Decided = in.Verdict, in.At
	if !in.FromHub || o.Off == VerdictInStream {
		return p, e, nil
	}
	body, err := VerdictBody{TID: p.TID, Certificate: in.Certificate}.Encode()
	if err != nil {
		return p, Effects{}, err
	}
	e.Append = []Out{{Kind: kind, Body: body}}
	return p, e, nil
}

func (o Protocol) verdictAtPayee(p Payment, in GotVerdict) (Payment, Effects, error) {
	if p.State == None {
		p = Payment{TID: in.TID, Peer: in.Peer, Side: Payee, At: in.At}
	}
	before := p.State
	p.Verdict = in.Verdict
	switch {
	case in.Verdict == Abort && before == Accepted:
		p.State, p.Decided, p.Reason = WrittenOff, in.At, ReasonAborted
		e := Effects{Post: []Posting{WriteOff}, Forced: true}
		if o.Off == VerdictInStream {
			return p, e, nil
		}
		body, err := ForgivenBody{TID: p.TID}.Encode()
		if err != nil {
			return p, Effects{}, err
		}
		e.Append = []Out{{Kind: letter.Forgiven, Body: body}}
		return p, e, nil
	case in.Verdict == Abort:
		if before == None {
			p.State, p.Decided, p.Reason = Rejected, in.At, ReasonAborted
		}
		return p, Effects{}, nil
	case before == Accepted:
		return p, Effects{}, nil
	}
	p.State, p.Decided, p.Reason, p.Account = Accepted, in.At, "", in.Account
	p.Minutes, p.Alias, p.Expiry = in.Body.Minutes, in.Body.Alias, in.Body.Expiry
	p.Propose, p.Memo = in.Propose, in.Body.Memo
	return p, Effects{Post: []Posting{Credit}, Forced: true, Told: ToldReceived}, nil
}

// forgiven gives back what the payee has written off.
func forgiven(p Payment, in GotForgiven) (Payment, Effects, error) {
	e := Effects{Told: ToldReturned}
	switch p.State {
	case None:
		p = Payment{TID: in.Body.TID, Peer: in.Peer, Side: Payer, At: in.At}
		e = Effects{}
	case Held:
		e.Post = []Posting{Void}
	case Settled:
		e.Post, e.Forced = []Posting{Refund}, true
	default:
		return p, Effects{}, nil
	}
	p.State, p.Verdict, p.Decided, p.Reason = Returned, Abort, in.At, ReasonAborted
	return p, e, nil
}
