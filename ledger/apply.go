package ledger

import (
	"errors"
	"fmt"
	"slices"
)

// Apply carries out a group of transfers, at a time in unix ms: all of them in order, or none. Each sees
// what those before it did, and each by itself keeps within the limits. A group whose ids were all recorded
// before with the same requests gets the same receipts again, with Repeated set, and writes nothing.
//
// An error that is a *Refusal is the answer no, and nothing was written. Any other error says that the
// store is damaged; nothing was written then either.
func Apply(s Store, at int64, group []Transfer) ([]Receipt, error) {
	if err := checkGroup(at, group); err != nil {
		return nil, err
	}
	bodies := make([][32]byte, len(group))
	for i, t := range group {
		if err := checkTransfer(t); err != nil {
			return nil, inGroup(i, err)
		}
		bodies[i] = t.Body()
	}
	if receipts, err := repeated(s, group, bodies); receipts != nil || err != nil {
		return receipts, err
	}
	o := newOverlay(s)
	receipts := make([]Receipt, len(group))
	for i, t := range group {
		receipts[i] = Receipt{ID: t.ID, Seq: o.next(), Recorded: at}
		if err := o.apply(at, t, bodies[i]); err != nil {
			return nil, inGroup(i, err)
		}
	}
	o.flush()
	return receipts, nil
}

func checkGroup(at int64, group []Transfer) error {
	if len(group) == 0 {
		return refuse(CodeGroupEmpty, "", "the group is empty; give at least one transfer")
	}
	if len(group) > MaxGroup {
		r := refuse(CodeGroupTooLarge, "", "the group has %d transfers; use at most %d", len(group), MaxGroup)
		r.Limit, r.Want = MaxGroup, int64(len(group))
		return r
	}
	return checkTime(at)
}

// inGroup says of which transfer a refusal speaks.
func inGroup(i int, err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		r.Index = i
		return err
	}
	return fmt.Errorf("ledger: apply transfer %d of the group: %w", i, err)
}

// repeated answers a group that is recorded already; it answers nothing for a group that is new.
func repeated(s Store, group []Transfer, bodies [][32]byte) ([]Receipt, error) {
	var receipts []Receipt
	for i, t := range group {
		rec, ok := s.Record(t.ID)
		if ok && rec.Body != bodies[i] {
			return nil, inGroup(i, refuse(CodeIDReused, "",
				"transfer %s is recorded already and says something else; give a new request a new id", t.ID))
		}
		if i > 0 && ok != (len(receipts) == i) {
			return nil, inGroup(i, refuse(CodeGroupMixed, "",
				"part of the group is recorded already and part is not; repeat a group just as it was"))
		}
		if !ok {
			continue
		}
		e, found := s.Entry(rec.Seq)
		if !found {
			return nil, inGroup(i, missingEntry(rec))
		}
		receipts = append(receipts, Receipt{ID: t.ID, Seq: rec.Seq, Recorded: e.Recorded, Repeated: true})
	}
	return receipts, nil
}

// apply carries out one transfer in the overlay.
func (o *overlay) apply(at int64, t Transfer, body [32]byte) error {
	if _, ok := o.record(t.ID); ok {
		return refuse(CodeIDReused, "", "transfer %s is in the group twice; give each its own id", t.ID)
	}
	status := StatusPosted
	var err error
	switch t.Op {
	case OpPost:
		err = o.move(t.Book, t.Legs)
	case OpHold:
		status = StatusHeld
		err = o.hold(t.Book, t.Legs)
	case OpSettle:
		err = o.settle(t)
	case OpVoid:
		status = StatusVoided
		err = o.void(t)
	case OpReverse:
		err = o.reverse(t)
	case OpOpen, OpAmend:
		err = noTransfer(t.Op)
	}
	if err != nil {
		return err
	}
	t.Legs = slices.Clone(t.Legs) // the caller may use its own again
	o.putRecord(Record{ID: t.ID, Seq: o.next(), Body: body, Op: t.Op, Status: status})
	o.entries = append(o.entries, Entry{Seq: o.next(), Recorded: at, Op: t.Op, Transfer: &t})
	return nil
}

// move posts legs now.
func (o *overlay) move(book string, legs []Leg) error {
	for _, leg := range legs {
		a, err := o.roomy(book, leg)
		if err != nil {
			return err
		}
		o.change(a, leg.Change, 0, 0)
	}
	return nil
}

// hold reserves legs.
func (o *overlay) hold(book string, legs []Leg) error {
	for _, leg := range legs {
		a, err := o.roomy(book, leg)
		if err != nil {
			return err
		}
		o.change(a, 0, leg.out(), leg.in())
	}
	return nil
}

// settle posts what is asked of the hold, and releases all of it. It looks at no limit and no state: the
// hold made the room, and a promise is kept.
func (o *overlay) settle(t Transfer) error {
	rec, held, err := o.findHold(t)
	if err != nil {
		return err
	}
	moved := held
	if len(t.Legs) > 0 {
		moved = t.Legs
	}
	for _, leg := range moved {
		if err := checkPart(leg, held); err != nil {
			return err
		}
	}
	rec.Status, rec.Closed = StatusSettled, t.ID
	o.putRecord(rec)
	return o.release(t.Book, held, moved)
}

// void releases the hold.
func (o *overlay) void(t Transfer) error {
	rec, held, err := o.findHold(t)
	if err != nil {
		return err
	}
	rec.Status, rec.Closed = StatusVoided, t.ID
	o.putRecord(rec)
	return o.release(t.Book, held, nil)
}

// release frees everything held and posts what is moved.
func (o *overlay) release(book string, held, moved []Leg) error {
	for _, leg := range held {
		a, ok := o.account(book, leg.Account)
		if !ok {
			return fmt.Errorf("account %s in book %s is missing; run an audit", leg.Account, book)
		}
		o.change(a, changeOf(moved, leg.Account), -leg.out(), -leg.in())
	}
	return nil
}

// reverse posts the exact opposite of a post or settle.
func (o *overlay) reverse(t Transfer) error {
	rec, ok := o.record(t.Of)
	if !ok {
		return refuse(CodeTransferUnknown, "", "there is no transfer %s to reverse; look up its id", t.Of)
	}
	if rec.Op != OpPost && rec.Op != OpSettle {
		return refuse(CodeNotReversible, "",
			"transfer %s is a %s; only a post or a settle can be reversed", t.Of, rec.Op)
	}
	if rec.Status == StatusReversed {
		return refuse(CodeAlreadyReversed, "",
			"transfer %s was reversed by %s; leave it at that", t.Of, rec.Closed)
	}
	original, err := o.request(rec)
	if err != nil {
		return err
	}
	if original.Book != t.Book {
		return wrongBook(original, t)
	}
	moved := original.Legs
	if len(moved) == 0 { // a settle of the whole hold
		hold, ok := o.record(original.Of)
		if !ok {
			return fmt.Errorf("the hold %s is missing; run an audit", original.Of)
		}
		held, err := o.request(hold)
		if err != nil {
			return err
		}
		moved = held.Legs
	}
	rec.Status, rec.Closed = StatusReversed, t.ID
	o.putRecord(rec)
	return o.move(t.Book, opposite(moved))
}

// findHold is the record and the legs of the hold that t would end.
func (o *overlay) findHold(t Transfer) (Record, []Leg, error) {
	rec, ok := o.record(t.Of)
	if !ok {
		return Record{}, nil, refuse(CodeHoldUnknown, "", "there is no hold %s; look up its id", t.Of)
	}
	if rec.Op != OpHold {
		return Record{}, nil, refuse(CodeHoldUnknown, "",
			"transfer %s is a %s, not a hold; look up the hold's id", t.Of, rec.Op)
	}
	hold, err := o.request(rec)
	if err != nil {
		return Record{}, nil, err
	}
	if hold.Book != t.Book {
		return Record{}, nil, wrongBook(hold, t)
	}
	if rec.Status != StatusHeld {
		return Record{}, nil, refuse(CodeHoldEnded, "",
			"hold %s is %s already, by %s; nothing of it is left", t.Of, rec.Status, rec.Closed)
	}
	return rec, hold.Legs, nil
}

// request is the transfer that a record stands for.
func (o *overlay) request(rec Record) (Transfer, error) {
	e, ok := o.entry(rec.Seq)
	if !ok || e.Transfer == nil {
		return Transfer{}, missingEntry(rec)
	}
	return *e.Transfer, nil
}

func missingEntry(rec Record) error {
	return fmt.Errorf("entry %d of transfer %s is missing; run an audit", rec.Seq, rec.ID)
}

func wrongBook(of, t Transfer) error {
	return refuse(CodeWrongBook, "",
		"transfer %s is in book %s, not in %s; name its book", of.ID, of.Book, t.Book)
}

// checkPart checks that leg goes the way it was held, and not further.
func checkPart(leg Leg, held []Leg) error {
	h := changeOf(held, leg.Account)
	if leg.in() <= (Leg{Change: h}).in() && leg.out() <= (Leg{Change: h}).out() {
		return nil
	}
	r := refuse(CodeExceedsHold, leg.Account,
		"the hold has %d for %s, and %d goes beyond it; settle at most what is held",
		h, leg.Account, leg.Change)
	r.Limit, r.Want = max(h, -h), max(leg.Change, -leg.Change)
	return r
}

// changeOf is what legs change of an account, 0 if they do not name it.
func changeOf(legs []Leg, account string) int64 {
	for _, leg := range legs {
		if leg.Account == account {
			return leg.Change
		}
	}
	return 0
}

func opposite(legs []Leg) []Leg {
	turned := slices.Clone(legs)
	for i := range turned {
		turned[i].Change = -turned[i].Change
	}
	return turned
}

// roomy is the account of a leg, if it is open and the leg keeps within its limits when every hold is
// settled.
func (o *overlay) roomy(book string, leg Leg) (Account, error) {
	a, ok := o.account(book, leg.Account)
	if !ok {
		return a, unknownAccount(book, leg.Account)
	}
	if r := a.room(leg.Change); r != nil {
		return a, r
	}
	return a, nil
}

// room refuses a change that the account cannot take.
func (a *Account) room(change int64) *Refusal {
	switch a.State {
	case StateOpen:
	case StateFrozen:
		return refuse(CodeAccountFrozen, a.ID,
			"account %s in book %s is frozen; wait until it is opened again", a.ID, a.Book)
	case StateClosed:
		return refuse(CodeAccountClosed, a.ID, "account %s in book %s is closed; use another", a.ID, a.Book)
	}
	leg := Leg{Change: change}
	if free := a.Posted - a.HeldOut; change < 0 && free+change < a.Floor {
		r := refuse(CodeFloorPassed, a.ID, "%s has %d%s; giving %d would pass the floor of %d",
			a.ID, a.Posted, heldWords(a.HeldOut, "go out"), leg.out(), a.Floor)
		r.Have, r.Limit, r.Want = free, a.Floor, leg.out()
		return r
	}
	if full := a.Posted + a.HeldIn; change > 0 && full+change > a.Ceiling {
		r := refuse(CodeCeilingPassed, a.ID, "%s has %d%s; getting %d would pass the ceiling of %d",
			a.ID, a.Posted, heldWords(a.HeldIn, "come in"), leg.in(), a.Ceiling)
		r.Have, r.Limit, r.Want = full, a.Ceiling, leg.in()
		return r
	}
	return nil
}

func heldWords(held int64, way string) string {
	if held == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d held to %s", held, way)
}
