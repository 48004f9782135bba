package exchange

import (
	"bytes"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// MaxDiffering is the most payments that a comparison lists, of those that differ and of those on the way.
const MaxDiffering = 100

// lookedPerLine is how many payments are looked at for each that may be told.
const lookedPerLine = 4

// Comparison is how the books of two circles about each other compare, payment by payment.
type Comparison struct {
	Circle string `json:"circle"`
	Name   string `json:"name"`
	Agree  bool   `json:"agree"`
	Same   int    `json:"same"` // payments that both have made
	Owes   int64  `json:"owesMinutes"`
	// OwesThere is what the other circle owes by its own books; less than 0: is owed.
	OwesThere int64      `json:"owesThereMinutes"`
	OnTheWay  []Compared `json:"onTheWay"` // the answer has not come yet
	Differ    []Compared `json:"differ"`
	More      int        `json:"more"` // that are not listed

	unposted int64 // minutes on the way that the payee has posted and the payer has not
}

// Compared is one payment that the two circles do not both have as made.
type Compared struct {
	Payment  payment.TID `json:"payment"`
	Incoming bool        `json:"incoming"` // to this circle
	Here     string      `json:"here"`     // made, waiting or absent
	There    string      `json:"there"`
	Minutes  int64       `json:"minutes"`
	// MinutesThere is as the other circle has it.
	MinutesThere int64 `json:"minutesThere"`
	At           int64 `json:"at,omitempty"` // when this circle first heard of it
}

// Lines are this circle's payments with another on one side, behind one and as far as another, both by id,
// and at most so many; it returns also how far they are all there are.
func Lines(
	r machine.Reader, peer letter.CircleID, side payment.Side, after, through payment.TID, most int,
) (out []courier.BooksLine, end payment.TID) {
	prefix := peerKey(peer).Num(uint64(side))
	looked := 0
	for _, pm := range payments.All(r, prefix, prefix.Bytes(after[:])) {
		if pm.TID == after {
			continue
		}
		if bytes.Compare(pm.TID[:], through[:]) > 0 {
			break
		}
		switch pm.State {
		case payment.Settled, payment.Accepted:
			out = append(out, courier.BooksLine{TID: pm.TID, Minutes: pm.Minutes, Made: true})
		case payment.Held:
			out = append(out, courier.BooksLine{TID: pm.TID, Minutes: pm.Minutes})
		default: // it came to nothing
		}
		// Of those that came to nothing there may be any number: the other circle can see to that.
		if looked++; len(out) == most || looked == lookedPerLine*most {
			return out, pm.TID
		}
	}
	return out, through
}

// LastTID is behind every payment.
func LastTID() payment.TID {
	return payment.TID(bytes.Repeat([]byte{0xff}, len(payment.TID{})))
}

// Owes is what this circle owes another by its books, in minutes; less than 0: is owed.
func Owes(r machine.Reader, peer letter.CircleID) int64 {
	a, _ := coin.ReadBooks(r).Account(coin.Book, coin.CirclePrefix+string(peer))
	return a.Posted
}

// TellBooks is this circle's answer to another that compares.
func TellBooks(r machine.Reader, m courier.BooksAsk) courier.BooksTell {
	side := payment.Payer
	if m.Payer == m.From {
		side = payment.Payee
	}
	tell := courier.BooksTell{Owes: Owes(r, m.From)}
	tell.Lines, tell.Through = Lines(r, m.From, side, m.After, m.Through, courier.MaxBooksLines)
	if tell.Through == m.Through && courier.DigestOf(tell.Lines) == m.Digest && !waits(tell.Lines) {
		tell.Lines, tell.Same = nil, true
	}
	return tell
}

// waits tells whether one of the lines is not made.
func waits(lines []courier.BooksLine) bool {
	for _, l := range lines {
		if !l.Made {
			return true
		}
	}
	return false
}

// WhichBooks names the circle whose books are to be compared with ours.
type WhichBooks struct {
	Circle string `json:"circle" doc:"the other circle's id"`
}

// books begins a comparison: nothing is compared yet.
func books(rd machine.Read, q WhichBooks) (Comparison, error) {
	peer, err := knownPeer(rd, q.Circle)
	return Comparison{
		Circle: q.Circle, Name: peer.Name, Owes: Owes(rd, peer.Circle),
		OnTheWay: []Compared{}, Differ: []Compared{},
	}, err
}

// Take compares a run of payments with the other circle's answer about it.
func (c *Comparison) Take(r machine.Reader, incoming bool, ours []courier.BooksLine, tell courier.BooksTell) {
	c.OwesThere = tell.Owes
	theirs := tell.Lines
	if tell.Same {
		for _, l := range ours {
			if l.Made {
				theirs = append(theirs, l)
			}
		}
	}
	for len(ours) > 0 || len(theirs) > 0 {
		var here, there courier.BooksLine
		order := 0
		switch {
		case len(theirs) == 0:
			order = -1
		case len(ours) == 0:
			order = 1
		default:
			order = bytes.Compare(ours[0].TID[:], theirs[0].TID[:])
		}
		if order <= 0 {
			here, ours = ours[0], ours[1:]
		}
		if order >= 0 {
			there, theirs = theirs[0], theirs[1:]
		}
		c.line(r, incoming, here, there)
	}
}

// line compares one payment; the zero line is one that a circle does not have.
func (c *Comparison) line(r machine.Reader, incoming bool, here, there courier.BooksLine) {
	if here == there && here.Made {
		c.Same++
		return
	}
	d := Compared{
		Incoming: incoming, Here: lineWord(here), There: lineWord(there),
		Payment: here.TID, Minutes: here.Minutes, MinutesThere: there.Minutes,
	}
	side := payment.Payer
	if incoming {
		side = payment.Payee
	}
	if here.TID == (payment.TID{}) {
		d.Payment = there.TID
	}
	pm, _ := payments.Get(r, ref{Peer: letter.CircleID(c.Circle), Side: side, TID: d.Payment}.key())
	d.At = pm.At
	payer, payee := here, there
	if incoming {
		payer, payee = there, here
	}
	waiting := payer.TID != (payment.TID{}) && !payer.Made
	list := &c.Differ
	if waiting && (payee == (courier.BooksLine{}) || payee.Minutes == payer.Minutes) {
		list = &c.OnTheWay
		if payee.Made {
			c.unposted += payee.Minutes
		}
	}
	if len(*list) == MaxDiffering {
		c.More++
		return
	}
	*list = append(*list, d)
}

func lineWord(l courier.BooksLine) string {
	switch {
	case l.TID == (payment.TID{}):
		return "absent"
	case l.Made:
		return "made"
	default:
		return "waiting"
	}
}

// Finish says whether the books agree, when all was compared. What the payee has posted and the payer has
// not is the one thing that may stand between the balances.
func (c *Comparison) Finish(r machine.Reader) {
	c.Owes = Owes(r, letter.CircleID(c.Circle))
	c.Agree = len(c.Differ) == 0 && c.Owes+c.OwesThere == -c.unposted
}
