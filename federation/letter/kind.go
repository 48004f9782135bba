package letter

import "strconv"

// Kind says what a record means. The list is closed and only ever grows: a number keeps its meaning.
type Kind uint16

// The kinds there are. Kept free: 8 STATEMENT (payments), 81 KEY, and from 32 in steps of 16 for moving home,
// clearing and recall of cards.
const (
	Propose   Kind = 1  // a payment is offered; body payment.ProposeBody
	Accept    Kind = 2  // it was taken; body payment.AcceptBody
	Reject    Kind = 3  // it was not, and never will be; body payment.RejectBody
	Cancel    Kind = 4  // the payer asks for a decision; body payment.CancelBody
	Aborted   Kind = 5  // the hub decided that it is not made; body payment.VerdictBody
	Committed Kind = 6  // the hub decided that it is made; body payment.VerdictBody
	Forgiven  Kind = 7  // the payee gives up what it had credited; body payment.ForgivenBody
	Offer     Kind = 16 // an alliance is offered
	Agree     Kind = 17 // an offered alliance is agreed to
	Amend     Kind = 18 // new terms for an alliance
	End       Kind = 19 // an alliance ends
	Epoch     Kind = 80 // the sender's books were put back from a backup: the stream goes on in a new epoch
)

// Level says whom a circle must be, in the eyes of the receiver, to send a kind.
type Level uint8

// The levels, strictest first.
const (
	Closed    Level = iota // nobody
	Trusted                // a circle with an alliance, in force or ended
	Chartered              // any circle in the charter
)

// words is the one table of kinds: what it is called, and who may send it.
var words = [...]struct {
	kind  Kind
	name  string
	level Level
}{
	{Propose, "PROPOSE", Trusted},
	{Accept, "ACCEPT", Trusted},
	{Reject, "REJECT", Trusted},
	{Cancel, "CANCEL", Trusted},
	{Aborted, "ABORTED", Trusted},
	{Committed, "COMMITTED", Trusted},
	{Forgiven, "FORGIVEN", Trusted},
	{Offer, "OFFER", Chartered},
	{Agree, "AGREE", Chartered},
	{Amend, "AMEND", Trusted},
	{End, "END", Trusted},
	{Epoch, "EPOCH", Chartered},
}

// Trust returns who may send a kind; Closed for a kind that is not known.
func Trust(k Kind) Level {
	for _, w := range words {
		if w.kind == k {
			return w.level
		}
	}
	return Closed
}

// Known says whether k is in the list.
func (k Kind) Known() bool { return Trust(k) != Closed }

// String returns the kind's name, such as PROPOSE.
func (k Kind) String() string {
	for _, w := range words {
		if w.kind == k {
			return w.name
		}
	}
	return "KIND(" + strconv.Itoa(int(k)) + ")"
}
