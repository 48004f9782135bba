package coin

import (
	"errors"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

var (
	accounts = machine.NewTable[ledger.Account]("coin", "account")
	entries  = machine.NewNumberedTable[ledger.Entry]("coin", "entry")
	records  = machine.NewTable[ledger.Record]("coin", "record")
	lines    = machine.NewNumberedTable[ledger.Line]("coin", "line")
	heads    = machine.NewTable[uint64]("coin", "head")

	// What was recorded many at a time: see ledger.Page and ledger.LinePage.
	pages     = machine.NewTable[[]byte]("coin", "page")        // by the last entry
	linePages = machine.NewTable[[]byte]("coin", "line-page")   // book, account, the last line
	series    = machine.NewTable[uint64]("coin", "page-series") // the first entry
)

// Books is the ledger's store over the circle's tables. Over a plain Reader it can only be read.
type Books struct {
	r    machine.Reader
	tx   *machine.Tx
	last *lastPages // nil: none are kept
}

// lastPages are those last read: whoever reads one row of a page mostly goes on to the next.
type lastPages struct {
	page  ledger.Page
	lines ledger.LinePage
}

// Store returns the books for writing within a command.
func Store(tx *machine.Tx) Books { return Books{r: tx, tx: tx} }

// ReadBooks returns the books for reading.
func ReadBooks(r machine.Reader) Books { return Books{r: r, last: &lastPages{}} }

// Account implements ledger.Store.
func (b Books) Account(book, id string) (ledger.Account, bool) {
	return accounts.Get(b.r, machine.Key{}.Str(book).Str(id))
}

// PutAccount implements ledger.Store.
func (b Books) PutAccount(a ledger.Account) {
	accounts.Put(b.tx, machine.Key{}.Str(a.Book).Str(a.ID), a)
}

// Entry implements ledger.Store.
func (b Books) Entry(seq uint64) (ledger.Entry, bool) {
	if b.last != nil && b.last.page.Has(seq) {
		return b.last.page.Entry(seq), true
	}
	if e, ok := entries.Get(b.r, machine.Key{}.Num(seq)); ok {
		return e, true
	}
	if p, ok := b.page(seq); ok {
		return p.Entry(seq), true
	}
	return ledger.Entry{}, false
}

// page finds the page that has an entry.
func (b Books) page(seq uint64) (ledger.Page, bool) {
	if b.last != nil && b.last.page.Has(seq) {
		return b.last.page, true
	}
	for _, raw := range pages.All(b.r, nil, machine.Key{}.Num(seq)) {
		p := sound(ledger.DecodePage(raw))
		if b.last != nil {
			b.last.page = p
		}
		return p, p.Has(seq)
	}
	return ledger.Page{}, false
}

// sound is for rows that this program wrote itself.
func sound[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// PutEntry implements ledger.Store.
func (b Books) PutEntry(e ledger.Entry) { entries.Add(b.tx, machine.Key{}.Num(e.Seq), e) }

// Record implements ledger.Store. What became of a transfer of a page later has a row of its own.
func (b Books) Record(id ledger.ID) (ledger.Record, bool) {
	if r, ok := records.Get(b.r, machine.Key{}.Bytes(id[:])); ok {
		return r, true
	}
	of, n, ok := ledger.SeriesOf(id)
	if !ok {
		return ledger.Record{}, false
	}
	first, ok := series.Get(b.r, machine.Key{}.Bytes(of[:]))
	if !ok {
		return ledger.Record{}, false
	}
	p, ok := b.page(first)
	if seq := first + uint64(n); ok && p.Has(seq) {
		return p.Record(seq), true
	}
	return ledger.Record{}, false
}

// SeriesFree implements ledger.Store.
func (b Books) SeriesFree(s ledger.Series) bool {
	key := machine.Key{}.Bytes(s[:])
	for range records.All(b.r, key, nil) {
		return false
	}
	return !series.Has(b.r, key)
}

// PutPage implements ledger.Store.
func (b Books) PutPage(p ledger.Page) {
	pages.Add(b.tx, machine.Key{}.Num(p.Last()), p.Encode())
	series.Put(b.tx, machine.Key{}.Bytes(p.Series[:]), p.First)
}

// PutRecord implements ledger.Store.
func (b Books) PutRecord(r ledger.Record) { records.Put(b.tx, machine.Key{}.Bytes(r.ID[:]), r) }

// Line implements ledger.Store.
func (b Books) Line(book, account string, n uint64) (ledger.Line, bool) {
	if b.last != nil && b.last.lines.Account == account && b.last.lines.Book == book && b.last.lines.Has(n) {
		return b.last.lines.Line(n), true
	}
	key := machine.Key{}.Str(book).Str(account)
	if l, ok := lines.Get(b.r, key.Num(n)); ok {
		return l, true
	}
	for _, raw := range linePages.All(b.r, key, key.Num(n)) {
		p := sound(ledger.DecodeLinePage(book, account, raw))
		if b.last != nil {
			b.last.lines = p
		}
		if p.Has(n) {
			return p.Line(n), true
		}
		break
	}
	return ledger.Line{}, false
}

// PutLines implements ledger.Store.
func (b Books) PutLines(p ledger.LinePage) {
	linePages.Add(b.tx, machine.Key{}.Str(p.Book).Str(p.Account).Num(p.Last()), p.Encode())
}

// PutLine implements ledger.Store.
func (b Books) PutLine(l ledger.Line) {
	lines.Add(b.tx, machine.Key{}.Str(l.Book).Str(l.Account).Num(l.N), l)
}

// Head implements ledger.Store.
func (b Books) Head() uint64 {
	n, _ := heads.Get(b.r, machine.Key{})
	return n
}

// PutHead implements ledger.Store.
func (b Books) PutHead(n uint64) { heads.Put(b.tx, machine.Key{}, n) }

// Accounts implements ledger.Store.
func (b Books) Accounts(book string, yield func(ledger.Account) bool) {
	for _, a := range accounts.All(b.r, machine.Key{}.Str(book), nil) {
		if !yield(a) {
			return
		}
	}
}

// inWords turns a ledger's refusal of a movement into a sentence that speaks of coins and people.
func inWords(tx *machine.Tx, err error, m Movement) error {
	var r *ledger.Refusal
	if !errors.As(err, &r) {
		return err
	}
	rd := machine.Read{Reader: tx, Caller: tx.Caller(), Now: tx.Now()}
	who := NameOf(rd, r.Account)
	code := string(r.Code)
	switch r.Code {
	case ledger.CodeFloorPassed:
		if kindOf(r.Account) == KindCircle {
			a, _ := Store(tx).Account(Book, r.Account)
			return limitReached(who, a)
		}
		refusal := machine.Refuse(code, "%s has %s. Giving %s would leave %s, below the floor of %s.", who,
			Coins(r.Have), Coins(m.Minutes), Coins(r.Have-m.Minutes), Coins(r.Limit))
		if p, err := PolicyOf(tx); err == nil {
			refusal.Because = p.Decision
		}
		return refusal
	case ledger.CodeCeilingPassed:
		a, _ := Store(tx).Account(Book, r.Account)
		return limitReached(who, a)
	case ledger.CodeAccountFrozen:
		return machine.Refuse(code, "The account of %s is stopped for now. Ask a coordinator.", who)
	case ledger.CodeAccountClosed:
		return machine.Refuse(code, "The account of %s is closed.", who)
	case ledger.CodeAlreadyReversed:
		return machine.Refuse(code, "This act was undone before.")
	case ledger.CodeNotReversible:
		return machine.Refuse(code, "An undoing cannot be undone. Record the act again.")
	case ledger.CodeAccountUnknown:
		return machine.Refuse(code, "%s has no coin account here.", who)
	default:
		return machine.Refuse(code, "%s", r.Message)
	}
}

func limitReached(who string, a ledger.Account) error {
	return machine.Refuse("limit_reached",
		"The limit between the two circles is reached: the account of %s stands at %s"+
			" and may go to %s either way. The care goes on; ask the circles to settle.",
		who, Coins(a.Posted+a.Pending()), Coins(a.Ceiling))
}

// NameOf puts an account in words, as far as the reader may know them.
func NameOf(rd machine.Read, account string) string {
	switch kindOf(account) {
	case KindIssuance:
		return "the circle"
	case KindPool:
		return "the pool"
	case KindSuspense:
		if p, ok := member.Find(rd, strings.TrimPrefix(account, SuspensePrefix)); ok {
			return "what was kept for " + member.NameFor(rd, p.ID)
		}
		return "people not known any more"
	case KindLoss:
		return "losses with " + NameOf(rd, CirclePrefix+account[len(LossPrefix):])
	case KindPlace:
		if p, ok := places.Get(rd, machine.Key{}.Str(account)); ok {
			return p.Name
		}
		return account
	case KindCircle:
		if name, ok := circles.Get(rd, machine.Key{}.Str(account)); ok {
			return name
		}
		return account
	default:
		return member.NameFor(rd, account)
	}
}

// Coins puts minutes in words: 1 coin, 2.5 coins, -7 coins.
func Coins(minutes int64) string {
	sign := ""
	if minutes < 0 {
		sign, minutes = "-", -minutes
	}
	whole, hundredths := minutes/60, (minutes%60*100+30)/60
	text := sign + decimal(whole)
	if hundredths > 0 {
		two := decimal(100 + hundredths)[1:]
		if two[1] == '0' {
			two = two[:1]
		}
		text += "." + two
	}
	if text == "1" {
		return "1 coin"
	}
	return text + " coins"
}

func decimal(n int64) string {
	if n >= 10 {
		return decimal(n/10) + decimal(n%10)
	}
	return string(rune('0' + n))
}
