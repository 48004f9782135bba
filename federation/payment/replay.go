package payment

import (
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Replay is a record of this circle's own stream that it has forgotten, having been put back to an older
// copy, and has back from the peer, which held it. What it says was done; it is done again, whatever limits
// say, and no record is appended: it is in the stream already.
type Replay struct {
	Peer    letter.CircleID
	Record  letter.Record
	Signed  letter.Signed
	Account string // the local account, from the note to ourselves in it
	At      int64
}

func (Replay) input() {}

// OwnPayment tells which payment a record of one's own stream is about, and on which side this circle is in
// it; false where it is about none.
func OwnPayment(r letter.Record) (TID, Side, bool, error) {
	var tid TID
	var err error
	side := Payer
	switch r.Kind {
	case letter.Propose:
		var b ProposeBody
		b, err = DecodePropose(r.Body)
		tid = b.TID
	case letter.Cancel:
		var b CancelBody
		b, err = DecodeCancel(r.Body)
		tid = b.TID
	case letter.Aborted, letter.Committed:
		var b VerdictBody
		b, err = DecodeVerdict(r.Body)
		tid = b.TID
	case letter.Accept:
		var b AcceptBody
		b, err = DecodeAccept(r.Body)
		tid, side = b.TID, Payee
	case letter.Reject:
		var b RejectBody
		b, err = DecodeReject(r.Body)
		tid, side = b.TID, Payee
	case letter.Forgiven:
		var b ForgivenBody
		b, err = DecodeForgiven(r.Body)
		tid, side = b.TID, Payee
	default:
		return tid, side, false, nil
	}
	return tid, side, true, err
}

func replay(p Payment, in Replay) (Payment, Effects, error) {
	tid, side, ok, err := OwnPayment(in.Record)
	if err == nil && !ok {
		err = fmt.Errorf("a %s is of no payment: %w", in.Record.Kind, ErrMismatch)
	}
	if err == nil {
		err = about(p, side, tid)
	}
	if err != nil {
		return p, Effects{}, err
	}
	if side == Payer {
		return replayPayer(p, in, tid)
	}
	return replayPayee(p, in, tid)
}

func replayPayer(p Payment, in Replay, tid TID) (Payment, Effects, error) {
	switch in.Record.Kind {
	case letter.Propose:
		if p.State != None {
			return p, Effects{}, nil
		}
		b, err := DecodePropose(in.Record.Body)
		if err != nil {
			return p, Effects{}, err
		}
		p = Payment{
			TID: tid, Peer: in.Peer, Side: Payer, State: Held, Minutes: b.Minutes, Account: in.Account,
			Alias: b.Alias, Expiry: b.Expiry, At: in.Record.At, Memo: b.Memo, Propose: in.Signed.Bytes,
		}
		return p, Effects{Post: []Posting{Hold}, Forced: true, Told: ToldHeld}, nil
	case letter.Cancel:
		p.Cancelled = p.Cancelled || p.State == Held
		return p, Effects{}, nil
	case letter.Aborted:
		return again(p, in, Abort, tid)
	default:
		return again(p, in, Commit, tid)
	}
}

// again takes a verdict that was passed on before.
func again(p Payment, in Replay, v Verdict, tid TID) (Payment, Effects, error) {
	if p.State == None {
		return p, Effects{}, fmt.Errorf("a verdict on %s, which is not known: %w", tid, ErrMismatch)
	}
	return Protocol{}.verdict(p, GotVerdict{
		Peer: in.Peer, Side: Payer, TID: tid, Verdict: v, At: in.At,
	})
}

func replayPayee(p Payment, in Replay, tid TID) (Payment, Effects, error) {
	switch in.Record.Kind {
	case letter.Accept:
		if p.State != None {
			return p, Effects{}, nil
		}
		b, err := DecodeAccept(in.Record.Body)
		if err != nil {
			return p, Effects{}, err
		}
		r, err := letter.Decode(b.Propose.Bytes)
		if err != nil {
			return p, Effects{}, err
		}
		offer, err := DecodePropose(r.Body)
		if err != nil {
			return p, Effects{}, err
		}
		p = Payment{
			TID: tid, Peer: in.Peer, Side: Payee, State: Accepted, Minutes: offer.Minutes,
			Account: in.Account, Alias: offer.Alias, Expiry: offer.Expiry, At: in.Record.At,
			Decided: in.Record.At, Propose: b.Propose.Bytes, Memo: offer.Memo, Answer: in.Record.Seq,
		}
		return p, Effects{Post: []Posting{Credit}, Forced: true, Told: ToldReceived}, nil
	case letter.Reject:
		if p.State != None {
			return p, Effects{}, nil
		}
		b, err := DecodeReject(in.Record.Body)
		if err != nil {
			return p, Effects{}, err
		}
		p = Payment{
			TID: tid, Peer: in.Peer, Side: Payee, State: Rejected, Reason: b.Reason, At: in.Record.At,
			Decided: in.Record.At,
		}
		return p, Effects{}, nil
	default: // FORGIVEN
		if p.State != Accepted {
			return p, Effects{}, nil
		}
		p.State, p.Verdict, p.Decided, p.Reason = WrittenOff, Abort, in.Record.At, ReasonAborted
		return p, Effects{Post: []Posting{WriteOff}, Forced: true}, nil
	}
}
