// Package payment moves coins from a member of one circle to a member of another, exactly once.
// Each circle keeps its own Payment and advances it with Step; what Step says to post and to append happens
// in the same log entry as the change of state. Only the payee circle decides: the payer holds the coins
// until it is told, however long that takes, and never gives them back because time has passed. Where no
// answer comes for days the hub decides, by the first question it is asked, and for ever.
package payment

import (
	"fmt"

	"github.com/carecircle/carecircle/federation/letter"
)

// Side says which end of the payment this circle is.
type Side uint8

// The sides.
const (
	Payer Side = 1
	Payee Side = 2
)

// String returns "payer" or "payee".
func (s Side) String() string {
	switch s {
	case Payer:
		return "payer"
	case Payee:
		return "payee"
	}
	return "none"
}

// State is how far a payment has come at one side.
type State uint8

// The states. None -> Held -> Settled or Returned at the payer; None -> Accepted or Rejected at the payee.
// From there on only the hub's verdict changes anything, or what the other side writes about it.
const (
	None       State = 0 // this circle has never heard of it
	Held       State = 1 // payer: the coins wait in a hold for the payee's decision
	Settled    State = 2 // payer: the coins are gone, the other circle's account is credited
	Returned   State = 3 // payer: the coins are back with the member
	Accepted   State = 4 // payee: the member is credited
	Rejected   State = 5 // payee: refused for ever, also if the PROPOSE comes later
	WrittenOff State = 6 // payee: credited, and not paid by the other circle: this circle bears it
)

var stateNames = [...]string{"none", "held", "settled", "returned", "accepted", "rejected", "written-off"}

// String returns the state's name in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Payment is one payment as one side knows it. Keep it under (Peer, Side, TID): both circles of a pair may
// choose the same TID. The zero Payment is one never heard of. CBOR keys 19 and up are free.
type Payment struct {
	TID       TID             `cbor:"1,keyasint" json:"tid"`
	Peer      letter.CircleID `cbor:"2,keyasint" json:"peer"`
	Side      Side            `cbor:"3,keyasint" json:"side"`
	State     State           `cbor:"4,keyasint" json:"state"`
	Minutes   int64           `cbor:"5,keyasint" json:"minutes"`
	Account   string          `cbor:"6,keyasint" json:"account"`    // the local account it leaves or reaches
	Alias     string          `cbor:"7,keyasint" json:"alias"`      // the payee's alias
	Expiry    int64           `cbor:"8,keyasint" json:"expiry"`     // Unix ms
	At        int64           `cbor:"9,keyasint" json:"at"`         // Unix ms, first heard of
	Decided   int64           `cbor:"10,keyasint" json:"decided"`   // Unix ms; 0: open
	Cancelled bool            `cbor:"11,keyasint" json:"cancelled"` // payer: CANCEL is in the stream
	Reason    string          `cbor:"12,keyasint" json:"reason"`    // why it was rejected
	// Propose is the exact bytes of the PROPOSE record. The payer's caller puts them here, as letter.Next
	// gave them, in the same command as Begin; at the payee Step does. Empty after a CANCEL came first.
	Propose []byte `cbor:"13,keyasint" json:"propose"`
	// Memo is the sealed message to the payee.
	Memo []byte `cbor:"14,keyasint" json:"memo"`
	// Asking is set before the hub is asked: from then on only its verdict counts on this side.
	Asking bool `cbor:"15,keyasint,omitempty" json:"asking,omitempty"`
	// Answer is the place of the ACCEPT in the payee's stream, where there is one. The payee's caller puts it
	// here, in the same command as the step that appended it.
	Answer  uint64  `cbor:"16,keyasint,omitempty" json:"answer,omitempty"`
	Verdict Verdict `cbor:"17,keyasint,omitempty" json:"verdict,omitempty"` // the hub's
	// Hold is the id of the payer's hold where that is not TID: it was used for something else between the
	// circle's forgetting the payment and its taking it back. The payer's caller puts it here.
	Hold TID `cbor:"18,keyasint,omitzero" json:"-"`
}

// Open says whether the payer still waits for the payee's decision.
func (p Payment) Open() bool { return p.State == Held }

// Unanswered says whether the hub is to be asked about the payment.
func (p Payment) Unanswered() bool { return p.Asking && p.Verdict == 0 }

// Posting is what the ledger is to do, with Payment's Minutes, Account and Peer.
type Posting uint8

// The postings.
const (
	Hold     Posting = 1 // hold Minutes on Account
	Settle   Posting = 2 // take the held Minutes off Account, to the credit of the peer's account
	Void     Posting = 3 // give the held Minutes back to Account
	Credit   Posting = 4 // Minutes to Account, charged to the peer's account
	Refund   Posting = 5 // settled Minutes back to Account from the peer's account
	Charge   Posting = 6 // Minutes that were given back, off Account to the peer's account after all
	WriteOff Posting = 7 // credited Minutes off the peer's account, at this circle's loss
)

// String returns the posting's name in lower case.
func (p Posting) String() string {
	switch p {
	case Hold:
		return "hold"
	case Settle:
		return "settle"
	case Void:
		return "void"
	case Credit:
		return "credit"
	case Refund:
		return "refund"
	case Charge:
		return "charge"
	case WriteOff:
		return "write-off"
	}
	return fmt.Sprintf("posting(%d)", uint8(p))
}

// Out is a record to append to the stream to the peer.
type Out struct {
	Kind letter.Kind
	Body []byte
}

// Outcomes told to people.
const (
	ToldHeld     = "held"     // payer: the coins are put aside, the other circle is being asked
	ToldSettled  = "settled"  // payer: paid
	ToldReturned = "returned" // payer: not paid, the coins are back
	ToldReceived = "received" // payee: coins have come
	ToldRefused  = "refused"  // payee: coins were refused
	ToldLate     = "late"     // payer: past its expiry and still undecided; the coins stay put aside
	ToldAsking   = "asking"   // payer: the hub is asked to decide
)

// Effects are what goes with a step, in the same log entry. The zero Effects: nothing.
type Effects struct {
	Post   []Posting
	Forced bool // the postings are to be made whatever limits say: they were decided elsewhere
	Append []Out
	Told   string // one of the outcomes, or "" when nothing is new for anybody
}
