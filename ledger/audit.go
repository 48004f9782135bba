package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrFindings is what Audit's error wraps when the books are not sound.
var ErrFindings = errors.New("the books are not sound")

// Report is what an audit found.
type Report struct {
	Entries  uint64    `json:"entries"`
	Accounts uint64    `json:"accounts"`
	Books    []BookSum `json:"books"`              // by name
	Findings []string  `json:"findings,omitempty"` // plain English, at most MaxFindings; empty is sound
}

// BookSum is the sum over all accounts of a book: Sum is 0 and HeldOut equals HeldIn when it is sound.
type BookSum struct {
	Book    string `json:"book"`
	Sum     int64  `json:"sum"`
	HeldOut int64  `json:"heldOut"`
	HeldIn  int64  `json:"heldIn"`
}

// Audit replays every entry of s into fresh books and compares accounts, lines and records with what s
// holds. Apart from the rules it adds up again, line by line, that every entry and every book sums to zero,
// that no limit was passed, and that each hold was ended and each transfer reversed at most once. The error
// wraps ErrFindings when there are any. It changes nothing, and keeps accounts and records in memory, not
// entries or lines.
func Audit(s Store) (Report, error) {
	a := audit{store: s, fresh: &replay{Mem: NewMem(), store: s}}
	for seq := uint64(1); seq <= s.Head() && len(a.findings) < MaxFindings; seq++ {
		a.entry(seq)
	}
	a.checkLinks()
	a.compareAccounts()
	a.compareRecords()
	if _, ok := s.Entry(s.Head() + 1); ok {
		a.find("entry %d is beyond the head", s.Head()+1)
	}
	report := Report{Entries: s.Head(), Accounts: a.accounts, Books: a.books, Findings: a.findings}
	if len(a.findings) > 0 {
		return report, fmt.Errorf("ledger: audit: %w: %s", ErrFindings, a.findings[0])
	}
	return report, nil
}

type audit struct {
	store    Store
	fresh    *replay
	accounts uint64
	books    []BookSum // sorted by name
	links    []link
	findings []string
}

// link is one transfer that ended another.
type link struct {
	of  ID
	seq uint64
}

// replay is the fresh store. It keeps accounts and records; it hands the lines of one entry to the audit
// instead of keeping them, and reads entries and old lines from the store under audit.
type replay struct {
	*Mem
	store Store
	lines []Line
}

func (r *replay) Entry(seq uint64) (Entry, bool) { return r.store.Entry(seq) }
func (r *replay) PutEntry(Entry)                 {}
func (r *replay) PutLine(l Line)                 { r.lines = append(r.lines, l) }

func (r *replay) Line(book, account string, n uint64) (Line, bool) {
	return r.store.Line(book, account, n)
}

func (a *audit) find(format string, args ...any) {
	if len(a.findings) < MaxFindings {
		a.findings = append(a.findings, fmt.Sprintf(format, args...))
	}
}

// entry replays one entry and checks what the store holds of it.
func (a *audit) entry(seq uint64) {
	a.fresh.PutHead(seq - 1)
	a.fresh.lines = a.fresh.lines[:0]
	e, ok := a.store.Entry(seq)
	switch {
	case !ok:
		a.find("entry %d is missing", seq)
		return
	case e.Seq != seq:
		a.find("entry %d says it is entry %d", seq, e.Seq)
	}
	var err error
	switch {
	case e.Op == OpOpen && e.Account != nil && e.Transfer == nil:
		a.addBook(e.Account.Book)
		err = Open(a.fresh, e.Recorded, *e.Account)
	case e.Op == OpAmend && e.Account != nil && e.Transfer == nil:
		err = Amend(a.fresh, e.Recorded, *e.Account)
	case e.Transfer != nil && e.Account == nil && e.Op == e.Transfer.Op:
		a.link(seq, *e.Transfer)
		_, err = Apply(a.fresh, e.Recorded, []Transfer{*e.Transfer})
	default:
		a.find("entry %d (%s) has not the content of one", seq, e.Op)
		return
	}
	switch {
	case err != nil:
		a.find("entry %d (%s) could not have been recorded: %v", seq, e.Op, err)
	case a.fresh.Head() != seq:
		a.find("entry %d (%s) changes nothing: it repeats an earlier one", seq, e.Op)
	}
	a.compareLines(e)
}

// link keeps in mind that entry seq ends another transfer.
func (a *audit) link(seq uint64, t Transfer) {
	if !t.Of.IsZero() {
		a.links = append(a.links, link{t.Of, seq})
	}
}

// checkLinks finds a hold ended twice or a transfer reversed twice, whatever the rules made of it.
func (a *audit) checkLinks() {
	slices.SortFunc(a.links, func(l, m link) int {
		return cmp.Or(slices.Compare(l.of[:], m.of[:]), cmp.Compare(l.seq, m.seq))
	})
	for i := 1; i < len(a.links); i++ {
		if first, second := a.links[i-1], a.links[i]; first.of == second.of {
			a.find("entry %d ends transfer %s, which entry %d had ended", second.seq, second.of, first.seq)
		}
	}
}

// compareLines checks the lines of one entry against the store's, and their laws.
func (a *audit) compareLines(e Entry) {
	var changes, outs, ins int64
	for _, want := range a.fresh.lines {
		got, ok := a.store.Line(want.Book, want.Account, want.N)
		switch {
		case !ok:
			a.find("line %d of %s/%s (entry %d) is missing", want.N, want.Book, want.Account, e.Seq)
			continue
		case got != want:
			a.find("line %d of %s/%s: %s", want.N, want.Book, want.Account, lineFaults(got, want))
		}
		var before Line
		if want.N > 1 {
			before, _ = a.store.Line(want.Book, want.Account, want.N-1)
		}
		if before.Posted+got.Change != got.Posted {
			a.find("line %d of %s/%s: %d and %d do not make %d",
				want.N, want.Book, want.Account, before.Posted, got.Change, got.Posted)
		}
		changes += got.Change
		outs += got.HeldOut - before.HeldOut
		ins += got.HeldIn - before.HeldIn
		a.limits(e, got, before)
	}
	if changes != 0 || outs != ins {
		a.find("entry %d (%s) does not balance: its lines sum to %d, holds %d out and %d in",
			e.Seq, e.Op, changes, outs, ins)
	}
}

// limits checks a line against the account's limits at the time, where the entry had to keep them.
func (a *audit) limits(e Entry, line, before Line) {
	if line.HeldOut < 0 || line.HeldIn < 0 {
		a.find("line %d of %s/%s holds less than nothing", line.N, line.Book, line.Account)
	}
	if e.Op != OpPost && e.Op != OpHold && e.Op != OpReverse {
		return
	}
	account, _ := a.fresh.Account(line.Book, line.Account)
	if free := line.Posted - line.HeldOut; free < before.Posted-before.HeldOut && free < account.Floor {
		a.find("entry %d (%s) took %s/%s to %d, past its floor of %d",
			e.Seq, e.Op, line.Book, line.Account, free, account.Floor)
	}
	if full := line.Posted + line.HeldIn; full > before.Posted+before.HeldIn && full > account.Ceiling {
		a.find("entry %d (%s) took %s/%s to %d, past its ceiling of %d",
			e.Seq, e.Op, line.Book, line.Account, full, account.Ceiling)
	}
}

func (a *audit) addBook(book string) {
	i, ok := slices.BinarySearchFunc(a.books, book, func(b BookSum, book string) int {
		return strings.Compare(b.Book, book)
	})
	if !ok {
		a.books = slices.Insert(a.books, i, BookSum{Book: book})
	}
}

// compareAccounts checks every account of every book both ways, and sums the books.
func (a *audit) compareAccounts() {
	for i := range a.books {
		sum := &a.books[i]
		a.store.Accounts(sum.Book, func(got Account) bool {
			a.accounts++
			sum.Sum += got.Posted
			sum.HeldOut += got.HeldOut
			sum.HeldIn += got.HeldIn
			if _, ok := a.fresh.Account(got.Book, got.ID); !ok {
				a.find("account %s/%s was never opened", got.Book, got.ID)
			}
			if _, ok := a.store.Line(got.Book, got.ID, got.Lines+1); ok {
				a.find("account %s/%s has a line beyond its %d", got.Book, got.ID, got.Lines)
			}
			return true
		})
		a.fresh.Accounts(sum.Book, func(want Account) bool {
			if got, ok := a.store.Account(want.Book, want.ID); !ok {
				a.find("account %s/%s is missing", want.Book, want.ID)
			} else if got != want {
				a.find("account %s/%s: %s", want.Book, want.ID, accountFaults(got, want))
			}
			return true
		})
		if sum.Sum != 0 || sum.HeldOut != sum.HeldIn {
			a.find("book %s does not balance: its accounts sum to %d, holds %d out and %d in",
				sum.Book, sum.Sum, sum.HeldOut, sum.HeldIn)
		}
	}
}

// compareRecords checks the record of every transfer, as it stands after the last entry.
func (a *audit) compareRecords() {
	for seq := uint64(1); seq <= a.store.Head() && len(a.findings) < MaxFindings; seq++ {
		e, ok := a.store.Entry(seq)
		if !ok || e.Transfer == nil {
			continue
		}
		want, replayed := a.fresh.Record(e.Transfer.ID)
		got, ok := a.store.Record(e.Transfer.ID)
		switch {
		case !ok:
			a.find("the record of transfer %s (entry %d) is missing", e.Transfer.ID, seq)
		case got.Body != e.Transfer.Body():
			a.find("entry %d is not what transfer %s asked for: one of them was altered", seq, got.ID)
		case replayed && got != want:
			a.find("the record of transfer %s: %s", got.ID, recordFaults(got, want))
		}
	}
}

// faults tells the parts of a row that are not what the entries make them.
type faults []string

func (f *faults) compare(what string, got, want any) {
	if got != want {
		*f = append(*f, fmt.Sprintf("%s is %v, the entries make it %v", what, got, want))
	}
}

func (f *faults) String() string { return strings.Join(*f, "; ") }

func accountFaults(got, want Account) string {
	var f faults
	f.compare("book", got.Book, want.Book)
	f.compare("id", got.ID, want.ID)
	f.compare("kind", got.Kind, want.Kind)
	f.compare("floor", got.Floor, want.Floor)
	f.compare("ceiling", got.Ceiling, want.Ceiling)
	f.compare("state", got.State, want.State)
	f.compare("posted", got.Posted, want.Posted)
	f.compare("held out", got.HeldOut, want.HeldOut)
	f.compare("held in", got.HeldIn, want.HeldIn)
	f.compare("number of lines", got.Lines, want.Lines)
	f.compare("opened", got.Opened, want.Opened)
	return f.String()
}

func lineFaults(got, want Line) string {
	var f faults
	f.compare("book", got.Book, want.Book)
	f.compare("account", got.Account, want.Account)
	f.compare("number", got.N, want.N)
	f.compare("entry", got.Seq, want.Seq)
	f.compare("change", got.Change, want.Change)
	f.compare("posted", got.Posted, want.Posted)
	f.compare("held out", got.HeldOut, want.HeldOut)
	f.compare("held in", got.HeldIn, want.HeldIn)
	return f.String()
}

func recordFaults(got, want Record) string {
	var f faults
	f.compare("id", got.ID, want.ID)
	f.compare("entry", got.Seq, want.Seq)
	f.compare("op", got.Op, want.Op)
	f.compare("status", got.Status, want.Status)
	f.compare("closed by", got.Closed, want.Closed)
	return f.String()
}
