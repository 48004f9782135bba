package ledger

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Store is where the books are kept. The ledger reads it freely and writes it only at the end of a call
// that succeeds. A Get after a Put must see it. What a store hands out is not to be changed by whoever
// reads it. A store that cannot read or write must stop its process rather than answer wrongly: there is no
// error to return.
type Store interface {
	// Account, by book and id.
	Account(book, id string) (Account, bool)
	PutAccount(Account)
	// Entry, by its number from 1.
	Entry(seq uint64) (Entry, bool)
	PutEntry(Entry) // a new one
	// Record, by the transfer's id.
	Record(id ID) (Record, bool)
	PutRecord(Record)
	// Line, by account and its number from 1.
	Line(book, account string, n uint64) (Line, bool)
	PutLine(Line) // a new one
	// PutPage adds a page: all its entries and records. SeriesFree says whether no transfer of a series is
	// recorded.
	PutPage(Page)
	SeriesFree(Series) bool
	// PutLines adds the lines an account has of a page.
	PutLines(LinePage)
	// Head is the number of entries, which is the number of the newest.
	Head() uint64
	PutHead(uint64)
	// Accounts walks a book's accounts in order of id, until yield answers false.
	Accounts(book string, yield func(Account) bool)
}

// Entry is one line of the whole history, in the order it was recorded. Exactly one of Account and Transfer
// is set.
type Entry struct {
	Seq      uint64       `cbor:"1,keyasint" json:"seq"`      // from 1 without gaps, over all books
	Recorded int64        `cbor:"2,keyasint" json:"recorded"` // unix ms
	Op       Op           `cbor:"3,keyasint" json:"op"`
	Account  *AccountSpec `cbor:"4,keyasint,omitempty" json:"account,omitempty"`  // open and amend
	Transfer *Transfer    `cbor:"5,keyasint,omitempty" json:"transfer,omitempty"` // all others, as asked
}

// Effective is when the entry takes effect, unix ms: the transfer's own time, or else the recorded time.
func (e Entry) Effective() int64 {
	if e.Transfer != nil && e.Transfer.Effective != 0 {
		return e.Transfer.Effective
	}
	return e.Recorded
}

// Record is what is kept per transfer id: how a repeat is known, and where the transfer stands.
type Record struct {
	ID     ID       `cbor:"1,keyasint" json:"id"`
	Seq    uint64   `cbor:"2,keyasint" json:"seq"`  // the entry that recorded it
	Body   [32]byte `cbor:"3,keyasint" json:"body"` // SHA-256 of the request's canonical encoding
	Op     Op       `cbor:"4,keyasint" json:"op"`
	Status Status   `cbor:"5,keyasint" json:"status"`
	Closed ID       `cbor:"6,keyasint" json:"closed,omitzero"` // the settle, void or reverse that ended it
}

// Line is one account's share of one entry, with the balances after it. An account has a line for every
// entry that names it: its opening (always line 1), amendments, and the transfers of which it is part.
type Line struct {
	Book    string `cbor:"1,keyasint" json:"book"`
	Account string `cbor:"2,keyasint" json:"account"`
	N       uint64 `cbor:"3,keyasint" json:"n"` // from 1 without gaps, per account
	Seq     uint64 `cbor:"4,keyasint" json:"seq"`
	Change  int64  `cbor:"5,keyasint" json:"change"` // what was posted; 0 for a hold, a void, an opening
	Posted  int64  `cbor:"6,keyasint" json:"posted"`
	HeldOut int64  `cbor:"7,keyasint" json:"heldOut"`
	HeldIn  int64  `cbor:"8,keyasint" json:"heldIn"`
}

// overlay is what one call has changed and not yet written. All its lists are short and sorted by key, but
// for entries and lines, which only grow.
type overlay struct {
	base     Store
	first    uint64 // the newest entry of the base
	accounts []Account
	records  []Record
	entries  []Entry
	lines    []Line
}

func newOverlay(s Store) *overlay { return &overlay{base: s, first: s.Head()} }

// next is the number of the entry being made.
func (o *overlay) next() uint64 { return o.first + uint64(len(o.entries)) + 1 }

func (o *overlay) account(book, id string) (Account, bool) {
	if i, ok := o.findAccount(book, id); ok {
		return o.accounts[i], true
	}
	return o.base.Account(book, id)
}

func (o *overlay) record(id ID) (Record, bool) {
	if i, ok := o.findRecord(id); ok {
		return o.records[i], true
	}
	return o.base.Record(id)
}

func (o *overlay) entry(seq uint64) (Entry, bool) {
	if seq > o.first && seq < o.next() {
		return o.entries[seq-o.first-1], true
	}
	return o.base.Entry(seq)
}

// change adds to an account's balances and writes its line of the entry being made.
func (o *overlay) change(a Account, posted, heldOut, heldIn int64) {
	a.Posted += posted
	a.HeldOut += heldOut
	a.HeldIn += heldIn
	a.Lines++
	o.putAccount(a)
	o.lines = append(o.lines, Line{
		Book: a.Book, Account: a.ID, N: a.Lines, Seq: o.next(), Change: posted,
		Posted: a.Posted, HeldOut: a.HeldOut, HeldIn: a.HeldIn,
	})
}

// flush writes everything to the base, always in the same order.
func (o *overlay) flush() {
	for _, a := range o.accounts {
		o.base.PutAccount(a)
	}
	for _, r := range o.records {
		o.base.PutRecord(r)
	}
	for _, l := range o.lines {
		o.base.PutLine(l)
	}
	for _, e := range o.entries {
		o.base.PutEntry(e)
	}
	o.base.PutHead(o.first + uint64(len(o.entries)))
}

func (o *overlay) putAccount(a Account) {
	if i, ok := o.findAccount(a.Book, a.ID); ok {
		o.accounts[i] = a
	} else {
		o.accounts = slices.Insert(o.accounts, i, a)
	}
}

func (o *overlay) findAccount(book, id string) (int, bool) {
	return slices.BinarySearchFunc(o.accounts, id, func(a Account, id string) int {
		return cmp.Or(strings.Compare(a.Book, book), strings.Compare(a.ID, id))
	})
}

func (o *overlay) putRecord(r Record) {
	if i, ok := o.findRecord(r.ID); ok {
		o.records[i] = r
	} else {
		o.records = slices.Insert(o.records, i, r)
	}
}

func (o *overlay) findRecord(id ID) (int, bool) {
	return slices.BinarySearchFunc(o.records, id, func(r Record, id ID) int {
		return bytes.Compare(r.ID[:], id[:])
	})
}
