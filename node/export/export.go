// Package export writes a circle's coin book for accounting programs and its log for anyone to check, and
// checks such a log with nothing but the file.
package export

import (
	"bufio"
	"crypto/ed25519"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// Formats lists what Write can write.
var Formats = []string{"hledger", "beancount", "csv", "log"}

// chunk is how many rows are read at a time, so that the circle is not held up by a slow reader.
const chunk = 500

// Source is a circle's state, read between two commands.
type Source interface {
	Read(fn func(machine.Reader) error) error
}

// Write writes the coin book (hledger, beancount, csv) or the log signed with the circle's key (log).
func Write(w io.Writer, from Source, key ed25519.PrivateKey, format string) error {
	buffered := bufio.NewWriter(w)
	var err error
	switch format {
	case "hledger":
		err = writeBook(from, &hledger{w: buffered})
	case "beancount":
		err = writeBook(from, &beancount{w: buffered})
	case "csv":
		err = writeBook(from, &table{w: csv.NewWriter(buffered)})
	case "log":
		err = writeLog(buffered, from, key)
	default:
		return fmt.Errorf("export: there is no format %q; choose one of %s", format, strings.Join(Formats,
			", "))
	}
	if err != nil {
		return fmt.Errorf("export %s: %w", format, err)
	}
	return buffered.Flush()
}

// posting is one account's part of an entry, with its balance after it.
type posting struct {
	account string
	kind    string
	change  int64
	balance int64
	opened  bool // this is the account's first posting
}

// book writes one kind of file.
type book interface {
	begin(circle string) error
	entry(e ledger.Entry, reason string, postings []posting) error
	// end gives every account with its balance, and the time of the last entry.
	end(accounts []posting, last time.Time) error
}

func writeBook(from Source, b book) error {
	var name string
	var balances []posting // by account
	last := time.Unix(0, 0)
	err := from.Read(func(r machine.Reader) error {
		c, ok := member.TheCircle(r)
		if !ok {
			return machine.Refuse("not_founded", "There is no circle here yet.")
		}
		name = c.Name + " (" + c.ID + ")"
		return nil
	})
	if err == nil {
		err = b.begin(name)
	}
	for next, more := uint64(1), true; err == nil && more; {
		var batch []written
		err = from.Read(func(r machine.Reader) error {
			batch, next, more = readChunk(r, next)
			return nil
		})
		for _, x := range batch {
			postings := make([]posting, 0, len(x.legs))
			for _, leg := range x.legs {
				postings = append(postings, post(&balances, x.kinds, leg))
			}
			last = time.UnixMilli(x.entry.Recorded)
			if err == nil {
				err = b.entry(x.entry, x.entry.Transfer.Reason, postings)
			}
		}
	}
	if err == nil {
		err = b.end(balances, last)
	}
	return err
}

// written is one entry that posted something.
type written struct {
	entry ledger.Entry
	legs  []ledger.Leg
	kinds []ledger.Account
}

func readChunk(r machine.Reader, from uint64) (batch []written, next uint64, more bool) {
	books := coin.ReadBooks(r)
	next = from
	for e := range coin.Entries(r, from) {
		if next-from == chunk {
			return batch, next, true
		}
		next = e.Seq + 1
		if e.Transfer == nil || e.Transfer.Book != coin.Book {
			continue
		}
		x := written{entry: e, legs: coin.LegsOf(books, e.Transfer)}
		for _, leg := range x.legs {
			a, _ := books.Account(coin.Book, leg.Account)
			x.kinds = append(x.kinds, a)
		}
		if len(x.legs) > 0 {
			batch = append(batch, x)
		}
	}
	return batch, next, false
}

func post(balances *[]posting, accounts []ledger.Account, leg ledger.Leg) posting {
	byAccount := func(p posting, account string) int { return strings.Compare(p.account, account) }
	i, known := slices.BinarySearchFunc(*balances, leg.Account, byAccount)
	if !known {
		p := posting{account: leg.Account}
		for _, a := range accounts {
			if a.ID == leg.Account {
				p.kind = a.Kind
			}
		}
		*balances = slices.Insert(*balances, i, p)
	}
	(*balances)[i].balance += leg.Change
	p := (*balances)[i]
	p.change, p.opened = leg.Change, !known
	return p
}

func day(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }

// tail returns an account's id without the word for its kind.
func tail(account string) string {
	if _, rest, ok := strings.Cut(account, "/"); ok {
		return rest
	}
	return account
}

// hledger writes a journal with a balance assertion on every posting. Amounts are minutes.
type hledger struct{ w io.Writer }

func (h *hledger) begin(circle string) error {
	_, err := fmt.Fprintf(h.w, "; Care Coins of %s, in minutes: 60 min are one coin.\n"+
		"; People stand under pseudonyms.\ncommodity 1000. min\n\n", circle)
	return err
}

func (h *hledger) name(p posting) string {
	switch p.kind {
	case coin.KindPerson:
		return "people:" + p.account
	case coin.KindPlace:
		return "places:" + tail(p.account)
	case coin.KindCircle:
		return "circles:" + tail(p.account)
	default:
		return p.account
	}
}

func (h *hledger) entry(e ledger.Entry, reason string, postings []posting) error {
	date := day(e.Recorded)
	if effective := day(e.Effective()); effective != date {
		date += "=" + effective
	}
	_, err := fmt.Fprintf(h.w, "%s * (%d) %s  ; transfer:%s\n", date, e.Seq, reason, e.Transfer.ID)
	for _, p := range postings {
		if err == nil {
			_, err = fmt.Fprintf(h.w, "    %-40s  %8d min = %d min\n", h.name(p), p.change, p.balance)
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(h.w)
	}
	return err
}

func (h *hledger) end(accounts []posting, last time.Time) error {
	if len(accounts) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(h.w, "; closing balances\n%s * closing\n", last.UTC().Format(time.DateOnly))
	for _, p := range accounts {
		if err == nil {
			_, err = fmt.Fprintf(h.w, "    %-40s  %8d min = %d min\n", h.name(p), 0, p.balance)
		}
	}
	return err
}

// beancount writes a beancount file. Its assertions hold at the start of a day, so they come a day later.
type beancount struct{ w io.Writer }

func (b *beancount) begin(circle string) error {
	_, err := fmt.Fprintf(b.w, "; Care Coins of %s, in minutes: 60 MIN are one coin.\n"+
		"option \"title\" %q\noption \"operating_currency\" \"MIN\"\n\n", circle, circle)
	return err
}

func (b *beancount) name(p posting) string {
	switch p.kind {
	case coin.KindPerson:
		return "Assets:People:" + strings.ToUpper(p.account)
	case coin.KindPlace:
		return "Assets:Places:Place-" + tail(p.account)
	case coin.KindCircle:
		return "Assets:Circles:" + strings.ToUpper(tail(p.account))
	case coin.KindIssuance:
		return "Equity:Issuance"
	case coin.KindLoss:
		return "Expenses:Losses:" + strings.ToUpper(tail(p.account))
	case coin.KindSuspense:
		return "Assets:Suspense:Of-" + strings.ToUpper(tail(p.account))
	default:
		return "Assets:Pool"
	}
}

func (b *beancount) entry(e ledger.Entry, reason string, postings []posting) error {
	var err error
	for _, p := range postings {
		if p.opened && err == nil {
			_, err = fmt.Fprintf(b.w, "%s open %s MIN\n", day(e.Recorded), b.name(p))
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(b.w, "%s * %q\n  seq: %d\n  transfer: %q\n  effective: %s\n", day(e.Recorded),
			reason,
			e.Seq, e.Transfer.ID, day(e.Effective()))
	}
	for _, p := range postings {
		if err == nil {
			_, err = fmt.Fprintf(b.w, "  %-48s %8d MIN\n", b.name(p), p.change)
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(b.w)
	}
	return err
}

func (b *beancount) end(accounts []posting, last time.Time) error {
	after := last.UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	for _, p := range accounts {
		if _, err := fmt.Fprintf(b.w, "%s balance %-48s %8d MIN\n", after, b.name(p), p.balance); err != nil {
			return err
		}
	}
	return nil
}

// table writes one CSV row a posting.
type table struct{ w *csv.Writer }

func (t *table) begin(string) error {
	return t.w.Write([]string{
		"seq", "recorded", "effective", "op", "reason", "transfer", "account", "kind", "change_minutes",
		"balance_minutes",
	})
}

func (t *table) entry(e ledger.Entry, reason string, postings []posting) error {
	for _, p := range postings {
		err := t.w.Write([]string{
			strconv.FormatUint(e.Seq, 10), time.UnixMilli(e.Recorded).UTC().Format(time.RFC3339),
			time.UnixMilli(e.Effective()).UTC().Format(time.RFC3339), e.Op.String(), reason,
			e.Transfer.ID.String(), p.account, p.kind, strconv.FormatInt(p.change,
				10), strconv.FormatInt(p.balance, 10),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *table) end([]posting, time.Time) error {
	t.w.Flush()
	return t.w.Error()
}
