package ledger

import "fmt"

// Account is one account of one book. Amounts are in the book's smallest unit (coins: minutes; pounds:
// pence).
type Account struct {
	Book    string `cbor:"1,keyasint" json:"book"`
	ID      string `cbor:"2,keyasint" json:"id"`
	Kind    string `cbor:"3,keyasint" json:"kind"`
	Floor   int64  `cbor:"4,keyasint" json:"floor"`   // below which Posted - HeldOut is not taken
	Ceiling int64  `cbor:"5,keyasint" json:"ceiling"` // above which Posted + HeldIn is not taken
	State   State  `cbor:"6,keyasint" json:"state"`
	Posted  int64  `cbor:"7,keyasint" json:"posted"`  // the balance
	HeldOut int64  `cbor:"8,keyasint" json:"heldOut"` // reserved to go out; never negative
	HeldIn  int64  `cbor:"9,keyasint" json:"heldIn"`  // reserved to come in; never negative
	Lines   uint64 `cbor:"10,keyasint" json:"lines"`  // the number of its lines
	Opened  int64  `cbor:"11,keyasint" json:"opened"` // unix ms
}

// AccountSpec is what a caller may say about an account.
type AccountSpec struct {
	Book    string `cbor:"1,keyasint" json:"book"`
	ID      string `cbor:"2,keyasint" json:"id"`
	Kind    string `cbor:"3,keyasint" json:"kind"`
	Floor   int64  `cbor:"4,keyasint" json:"floor"`   // at least -Unlimited
	Ceiling int64  `cbor:"5,keyasint" json:"ceiling"` // at most Unlimited, at least Floor
	State   State  `cbor:"6,keyasint" json:"state"`
}

// Spec is the account as a caller would now ask for it: change a field and Amend.
func (a Account) Spec() AccountSpec {
	return AccountSpec{
		Book: a.Book, ID: a.ID, Kind: a.Kind, Floor: a.Floor, Ceiling: a.Ceiling, State: a.State,
	}
}

// Available is what may leave now: posted, less what is held to go out, less the floor. It is zero or less
// when nothing may leave, and is cut at plus and minus Unlimited.
func (a Account) Available() int64 {
	return add(add(a.Posted, -a.HeldOut), -a.Floor)
}

// Pending is what the holds would change if all were settled: held to come in less held to go out.
func (a Account) Pending() int64 { return a.HeldIn - a.HeldOut }

// add is a sum cut at plus and minus Unlimited.
func add(a, b int64) int64 {
	return clamp(clamp(a) + clamp(b))
}

func clamp(n int64) int64 { return min(max(n, -Unlimited), Unlimited) }

// Open opens an account with nothing in it, at a time in unix ms. Opening it again just as it was first
// opened changes nothing and is no error. The error is a *Refusal.
func Open(s Store, at int64, spec AccountSpec) error {
	if err := checkSpec(at, spec); err != nil {
		return err
	}
	if spec.State == StateClosed {
		return refuse(CodeBadState, spec.ID,
			"account %s cannot be opened closed; open it, then close it", spec.ID)
	}
	if a, ok := s.Account(spec.Book, spec.ID); ok {
		return openAgain(s, a, spec)
	}
	o := newOverlay(s)
	o.specify(at, OpOpen, Account{Book: spec.Book, ID: spec.ID, Kind: spec.Kind, Opened: at}, spec)
	o.flush()
	return nil
}

// openAgain compares with the opening itself, not with the account as since amended: a repeat may arrive
// late.
func openAgain(s Store, a Account, spec AccountSpec) error {
	line, ok := s.Line(a.Book, a.ID, 1)
	if !ok {
		return fmt.Errorf("ledger: open: line 1 of %s in book %s is missing; run an audit", a.ID, a.Book)
	}
	e, ok := s.Entry(line.Seq)
	if !ok || e.Account == nil {
		return fmt.Errorf("ledger: open: entry %d, opening %s, is missing; run an audit", line.Seq, a.ID)
	}
	if *e.Account == spec {
		return nil
	}
	return refuse(CodeAccountExists, a.ID,
		"account %s is already in book %s with other terms; amend it, or choose another id", a.ID, a.Book)
}

// Amend changes an account's floor, ceiling and state, at a time in unix ms; its kind stays. A floor above
// the balance stops further payments out, a ceiling below it stops payments in, and holds made before stay
// good. Only an account with nothing in it and nothing held may be closed. Asking for what already is
// changes nothing and is no error. The error is a *Refusal.
func Amend(s Store, at int64, spec AccountSpec) error {
	if err := checkSpec(at, spec); err != nil {
		return err
	}
	a, ok := s.Account(spec.Book, spec.ID)
	if !ok {
		return unknownAccount(spec.Book, spec.ID)
	}
	if a.Kind != spec.Kind {
		return refuse(CodeKindFixed, a.ID,
			"account %s is of kind %s and stays so; open another to be a %s", a.ID, a.Kind, spec.Kind)
	}
	if a.Spec() == spec {
		return nil
	}
	if spec.State == StateClosed && (a.Posted != 0 || a.HeldOut != 0 || a.HeldIn != 0) {
		r := refuse(CodeBalanceNotZero, a.ID,
			"account %s has %d, %d held to go out and %d to come in; bring all to zero before closing it",
			a.ID, a.Posted, a.HeldOut, a.HeldIn)
		r.Have = a.Posted
		return r
	}
	o := newOverlay(s)
	o.specify(at, OpAmend, a, spec)
	o.flush()
	return nil
}

// specify records that account a now follows spec.
func (o *overlay) specify(at int64, op Op, a Account, spec AccountSpec) {
	a.Floor, a.Ceiling, a.State = spec.Floor, spec.Ceiling, spec.State
	o.change(a, 0, 0, 0)
	o.entries = append(o.entries, Entry{Seq: o.next(), Recorded: at, Op: op, Account: &spec})
}

func checkSpec(at int64, spec AccountSpec) error {
	if err := checkTime(at); err != nil {
		return err
	}
	if !goodName(spec.Book, MaxNameBytes) {
		return badName("book", spec.Book, MaxNameBytes)
	}
	if !goodName(spec.ID, MaxIDBytes) {
		return badName("account id", spec.ID, MaxIDBytes)
	}
	if !goodName(spec.Kind, MaxNameBytes) {
		return badName("kind", spec.Kind, MaxNameBytes)
	}
	if spec.Floor < -Unlimited || spec.Ceiling > Unlimited || spec.Floor > spec.Ceiling {
		return refuse(CodeBadLimits, spec.ID,
			"account %s cannot have floor %d and ceiling %d; keep floor <= ceiling, and both within %d",
			spec.ID, spec.Floor, spec.Ceiling, Unlimited)
	}
	switch spec.State {
	case StateOpen, StateFrozen, StateClosed:
		return nil
	}
	return refuse(CodeBadState, spec.ID, "account %s cannot be in state %d; say open, frozen or closed",
		spec.ID, spec.State)
}
