package ledger

import (
	"cmp"
	"slices"
	"strings"
)

// Mem is a Store in memory, for one goroutine. Its maps are only looked things up in; what is walked is
// sorted.
type Mem struct {
	head     uint64
	accounts map[accountKey]Account
	order    []accountKey // the keys of accounts, sorted
	entries  map[uint64]Entry
	records  map[ID]Record
	lines    map[lineKey]Line
}

type accountKey struct{ book, id string }

type lineKey struct {
	account accountKey
	n       uint64
}

var _ Store = (*Mem)(nil)

// NewMem is an empty store.
func NewMem() *Mem {
	return &Mem{
		accounts: make(map[accountKey]Account),
		entries:  make(map[uint64]Entry),
		records:  make(map[ID]Record),
		lines:    make(map[lineKey]Line),
	}
}

// Account is an account by book and id.
func (m *Mem) Account(book, id string) (Account, bool) {
	a, ok := m.accounts[accountKey{book, id}]
	return a, ok
}

// PutAccount adds or replaces an account.
func (m *Mem) PutAccount(a Account) {
	key := accountKey{a.Book, a.ID}
	if _, ok := m.accounts[key]; !ok {
		i, _ := slices.BinarySearchFunc(m.order, key, compareKeys)
		m.order = slices.Insert(m.order, i, key)
	}
	m.accounts[key] = a
}

// Entry is an entry by number.
func (m *Mem) Entry(seq uint64) (Entry, bool) {
	e, ok := m.entries[seq]
	return e, ok
}

// PutEntry adds or replaces an entry.
func (m *Mem) PutEntry(e Entry) { m.entries[e.Seq] = e }

// Record is a record by transfer id.
func (m *Mem) Record(id ID) (Record, bool) {
	r, ok := m.records[id]
	return r, ok
}

// PutRecord adds or replaces a record.
func (m *Mem) PutRecord(r Record) { m.records[r.ID] = r }

// Line is a line by account and number.
func (m *Mem) Line(book, account string, n uint64) (Line, bool) {
	l, ok := m.lines[lineKey{accountKey{book, account}, n}]
	return l, ok
}

// PutLine adds or replaces a line.
func (m *Mem) PutLine(l Line) { m.lines[lineKey{accountKey{l.Book, l.Account}, l.N}] = l }

// PutPage adds a page, taken apart.
func (m *Mem) PutPage(p Page) {
	for seq := p.First; p.Has(seq); seq++ {
		m.PutEntry(p.Entry(seq))
		m.PutRecord(p.Record(seq))
	}
}

// SeriesFree says whether no transfer of a series is recorded.
func (m *Mem) SeriesFree(s Series) bool {
	for n := range 1 << 16 {
		if _, ok := m.records[s.ID(n)]; ok {
			return false
		}
	}
	return true
}

// PutLines adds lines, taken apart.
func (m *Mem) PutLines(p LinePage) {
	for n := p.Before.N + 1; p.Has(n); n++ {
		m.PutLine(p.Line(n))
	}
}

// Head is the number of entries.
func (m *Mem) Head() uint64 { return m.head }

// PutHead sets the number of entries.
func (m *Mem) PutHead(n uint64) { m.head = n }

// Accounts walks a book's accounts in order of id. The walk must not open accounts.
func (m *Mem) Accounts(book string, yield func(Account) bool) {
	i, _ := slices.BinarySearchFunc(m.order, accountKey{book: book}, compareKeys)
	for ; i < len(m.order) && m.order[i].book == book; i++ {
		if !yield(m.accounts[m.order[i]]) {
			return
		}
	}
}

func compareKeys(a, b accountKey) int {
	return cmp.Or(strings.Compare(a.book, b.book), strings.Compare(a.id, b.id))
}
