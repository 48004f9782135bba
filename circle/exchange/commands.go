package exchange

import (
	"unicode/utf8"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// Limits of one circle's dealings with others.
const (
	MaxPeers          = 500
	MaxOpenPayments   = 1000 // per other circle
	MaxLimitMinutes   = 10_000_000
	MaxNoteRunes      = 280
	MaxPersonBytes    = 64
	ExpiredAtOnce     = machine.MaxEventsOfOne / 3
	maxExpiredBefore  = 100
	minPatienceMillis = 1000
	dayMillis         = 24 * 60 * 60 * 1000
	patienceMillis    = 30 * dayMillis // how long a payment waits before it is called back
	owedMillis        = 7 * dayMillis  // how long the hub is not asked for what a peer may yet say again
	maxPatienceMillis = 90 * dayMillis
)

// Meet makes another circle known by its card: its name, key and addresses.
type Meet struct {
	Card []byte `cbor:"1,keyasint" json:"card" doc:"the other circle's signed card, base64"`
}

// Ally records this circle's consent to exchange coins with another. It comes into force when both consent
// to the same terms.
type Ally struct {
	Circle       string `cbor:"1,keyasint" json:"circle" doc:"the other circle's id"`
	LimitMinutes int64  `cbor:"2,keyasint" json:"limitMinutes" doc:"how far the account may go either way"`
	ReviewOn     string `cbor:"3,keyasint" json:"reviewOn" doc:"day of review, as 2026-09-30"`
	Decision     string `cbor:"4,keyasint,omitempty" json:"decision,omitempty" doc:"such as BH-7"`
}

// SetCode chooses the code by which people in other circles can send the person coins.
type SetCode struct {
	Code string `cbor:"1,keyasint" json:"code" doc:"8 letters and digits, drawn by chance"`
}

// Pay sends coins to a person in another circle.
type Pay struct {
	Circle   string          `cbor:"1,keyasint" json:"circle" doc:"the other circle's id"`
	Code     string          `cbor:"2,keyasint" json:"code" doc:"the receiving code of the person there"`
	Minutes  int64           `cbor:"3,keyasint" json:"minutes" doc:"60 is one coin"`
	Activity string          `cbor:"4,keyasint,omitempty" json:"activity,omitempty" doc:"empty: a gift"`
	Note     machine.Private `cbor:"5,keyasint" json:"note,omitzero" doc:"a word to the receiver"`
	Patience int64           `cbor:"6,keyasint,omitempty" json:"patience,omitempty" doc:"ms; 0: 30 days"`
	// Memo is what goes to the receiver's circle, sealed; empty where nothing is sealed.
	Memo []byte `cbor:"7,keyasint,omitempty" json:"-"`
	// Self says to ourselves who pays, sealed; the other circle keeps it for us.
	Self machine.Private `cbor:"8,keyasint,omitzero" json:"-"`
}

// Session opens a session for the peer's stream: what was sent in earlier ones is void from here on.
type Session struct {
	Nx courier.Nonce `cbor:"1,keyasint" json:"nx"`
	Ny courier.Nonce `cbor:"2,keyasint" json:"ny"`
}

// Receive applies records of the peer's stream, in order, within the session in force.
type Receive struct {
	Nx      courier.Nonce   `cbor:"1,keyasint" json:"nx"`
	Ny      courier.Nonce   `cbor:"2,keyasint" json:"ny"`
	Records []letter.Signed `cbor:"3,keyasint" json:"records"`
	Words   []Words         `cbor:"4,keyasint,omitempty" json:"-"`
	Notes   []Opened        `cbor:"5,keyasint,omitempty" json:"-"` // in ACCEPTs and verdicts, to ourselves
}

// Expire asks the peers for a decision on payments that have waited too long, and later the hub.
type Expire struct {
	Held []HeldBy `cbor:"1,keyasint,omitempty" json:"held,omitempty" doc:"how far peers hold our letters"`
	// How many to call back, and how many to put to the hub: each is an event, and there is a limit to them.
	// Logs from before have none, and took maxExpiredBefore of each.
	Most uint32 `cbor:"2,keyasint,omitempty" json:"most,omitempty"`
}

// Check implements machine.Checker.
func (a Ally) Check() error {
	if a.LimitMinutes < 1 || a.LimitMinutes > MaxLimitMinutes {
		return machine.Refuse("bad_amount", "The limit is between 1 and %d minutes.", int64(MaxLimitMinutes))
	}
	if !coin.IsDay(a.ReviewOn) {
		return machine.Refuse("bad_policy", "Say the day of review, such as 2026-09-30.")
	}
	if !letter.Readable(a.Decision, 200) {
		return machine.Refuse("bad_text", "Say the decision in at most 200 letters.")
	}
	return nil
}

// Check implements machine.Checker.
func (s SetCode) Check() error {
	ok := len(s.Code) == 8
	for _, r := range s.Code {
		ok = ok && (r >= 'A' && r <= 'Z' || r >= '2' && r <= '9')
	}
	if !ok {
		return machine.Refuse("bad_code", "A receiving code is 8 capital letters and digits.")
	}
	return nil
}

// Check implements machine.Checker.
func (p Pay) Check() error {
	switch {
	case p.Minutes <= 0:
		return machine.Refuse("bad_amount", "The amount must be more than nothing.")
	case p.Minutes > payment.MaxMinutes:
		return machine.Refuse("bad_amount", "That is more than one payment can be.")
	case p.Code == "":
		return machine.Refuse("to_nobody", "Fill in the receiving code of the person in the other circle.")
	case len(p.Code) > payment.MaxAliasBytes || !letter.Readable(p.Code, payment.MaxAliasBytes):
		return machine.Refuse("bad_code", "A receiving code is 8 capital letters and digits.")
	case p.Patience != 0 && (p.Patience < minPatienceMillis || p.Patience > maxPatienceMillis):
		return machine.Refuse("bad_time", "A payment waits between a second and 90 days.")
	}
	if !letter.Readable(p.Activity, 400) || utf8.RuneCountInString(p.Activity) > 80 {
		return machine.Refuse("bad_text", "Say it in fewer words: at most %d letters.", 80)
	}
	if err := p.Self.CheckSealed("note", MaxPersonBytes); err != nil {
		return err
	}
	return p.checkNote()
}

// Check implements machine.Checker.
func (r Receive) Check() error {
	if len(r.Records) == 0 || len(r.Records) > courier.MaxBatchRecords {
		return machine.Refuse("malformed", "A batch holds 1 to %d records.", courier.MaxBatchRecords)
	}
	if len(r.Words) > len(r.Records) || len(r.Notes) > len(r.Records) {
		return machine.Refuse("malformed", "There are more memos than records.")
	}
	for _, w := range r.Words {
		if err := w.check(); err != nil {
			return err
		}
	}
	return nil
}

// Check implements machine.Checker.
func (m Meet) Check() error {
	if _, err := charter.OpenCard(m.Card); err != nil {
		return machine.Refuse("bad_card", "This is not a circle's card, or it was changed on the way: %v."+
			" Ask the other circle for it again.", err)
	}
	return nil
}
