package coin

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/ledger"
)

// MaxImport is the largest number of transfers of one coin.import.
const MaxImport = ledger.MaxMoves

// Import records many transfers in one go, for the node's operator: a book brought from elsewhere, or what a
// machine counts. Every line is checked, and then all are recorded or none; each is an entry of its own.
type Import struct {
	Activity  string    `cbor:"1,keyasint" json:"activity" doc:"what it was all for"`
	Transfers Transfers `cbor:"2,keyasint" json:"transfers" doc:"lines: [from, to, minutes, when]"`
}

// Imported is the answer to an import. Line n, from 1, is entry First+n-1, and its transfer is named as that
// of line 1 with n-1 added.
type Imported struct {
	Transfer machine.ID `cbor:"1,keyasint" json:"transfer"` // of line 1
	First    uint64     `cbor:"2,keyasint" json:"first"`    // entry of line 1
	Count    int        `cbor:"3,keyasint" json:"count"`
}

// imported is what all transfers of an import have in common.
type imported struct {
	_        struct{} `cbor:",toarray"`
	By       string
	At       int64
	Activity string
}

var imports = machine.NewTable[imported]("coin", "import") // by series

// Check implements machine.Checker.
func (b Import) Check() error {
	if err := needWords("activity", b.Activity); err != nil {
		return err
	}
	if n := len(b.Transfers.moves); n == 0 || n > MaxImport {
		return machine.Refuse("bad_import", "There are %d transfers; at most %d go into one import, and at"+
			" least one.", n, int64(MaxImport))
	}
	var refused lineRefusals
	for i, m := range b.Transfers.moves {
		if err := checkMinutes(m.Amount); err != nil {
			refused.add(i, err)
		} else if m.From == m.To {
			refused.add(i, machine.Refuse("to_self", "From and to are the same."))
		}
	}
	return refused.error(len(b.Transfers.moves))
}

// lineRefusals gathers what is wrong with an import, by line.
type lineRefusals struct{ lines []lineRefusal }

type lineRefusal struct {
	line int // from 0
	why  string
}

func (l *lineRefusals) add(line int, err error) {
	l.lines = append(l.lines, lineRefusal{line, machine.AsError(err).Message})
}

// error is one refusal that lists all of them, nil if there are none.
func (l *lineRefusals) error(of int) error {
	if len(l.lines) == 0 {
		return nil
	}
	slices.SortStableFunc(l.lines, func(a, b lineRefusal) int { return a.line - b.line })
	var text strings.Builder
	for _, r := range l.lines {
		text.WriteString("\nLine " + decimal(int64(r.line+1)) + ": " + r.why)
	}
	return machine.Refuse("import_refused", "Nothing was recorded, because %d of the %d lines cannot be:%s",
		len(l.lines), of, text.String())
}

// importMany records the transfers as one page of the ledger.
func importMany(tx *machine.Tx, b Import) (Imported, error) {
	if _, err := PolicyOf(tx); err != nil {
		return Imported{}, err
	}
	id := tx.Fresh()
	sum := sha256.Sum256(machine.Key("carecircle page v1").Bytes(id[:]))
	page := ledger.Page{
		Book: Book, Series: ledger.NewSeries([14]byte(sum[:14])), Accounts: b.Transfers.accounts,
	}
	var refused lineRefusals
	lines := sortOut(tx, b.Transfers, &page, &refused)
	if len(page.Moves) > 0 {
		not, err := ledger.ApplyPage(Store(tx), tx.Now(), &page)
		if err != nil && (len(refused.lines) == 0 || !isRefusal(err)) {
			return Imported{}, inWords(tx, err, Movement{})
		}
		for _, r := range not {
			m := page.Moves[r.Index]
			refused.add(lines[r.Index], inWords(tx, r, Movement{
				From: page.Accounts[m.From], To: page.Accounts[m.To], Minutes: m.Amount,
			}))
		}
	}
	if err := refused.error(len(b.Transfers.moves)); err != nil {
		return Imported{}, err
	}
	imports.Put(tx, machine.Key{}.Bytes(page.Series[:]), imported{
		By: tx.Caller().Actor, At: tx.Now(), Activity: b.Activity,
	})
	tx.Emit(machine.Event{
		Kind: "coin.imported", Audience: []string{machine.AudienceCircle}, Minutes: b.Transfers.sum(),
		Words: b.Activity,
	})
	return Imported{
		Transfer: machine.ID(page.Series.ID(0)), First: page.First, Count: len(page.Moves),
	}, nil
}

func isRefusal(err error) bool {
	var r *ledger.Refusal
	return errors.As(err, &r)
}

// sortOut puts the moves that may be made on the page, each with its reason, and tells which line each is. It
// opens the accounts that members do not have yet.
func sortOut(tx *machine.Tx, t Transfers, page *ledger.Page, refused *lineRefusals) (lines []int) {
	wrong := make([]error, len(t.accounts))
	kinds := make([]string, len(t.accounts))
	for i, id := range t.accounts {
		kinds[i] = kindOf(id)
		if kinds[i] != KindIssuance && !accounts.Has(tx, machine.Key{}.Str(Book).Str(id)) {
			wrong[i] = receiver(tx, id)
		}
		if kinds[i] == KindCircle {
			wrong[i] = machine.Refuse("not_allowed", "Coins to and from another circle go by letter.")
		}
	}
	page.Moves = make([]ledger.Move, 0, len(t.moves))
	for i, m := range t.moves {
		switch {
		case wrong[m.From] != nil:
			refused.add(i, wrong[m.From])
		case wrong[m.To] != nil:
			refused.add(i, wrong[m.To])
		case kinds[m.To] == KindIssuance:
			refused.add(i, machine.Refuse("not_allowed", "Coins are given by the circle, not to it:"+
				" undo the act that gave them."))
		case m.Effective > tx.Now():
			refused.add(i, machine.Refuse("bad_time", "This lies in the future."))
		default:
			m.Reason = page.Reason(importReason(kinds[m.From], kinds[m.To]))
			page.Moves, lines = append(page.Moves, m), append(lines, i)
		}
	}
	return lines
}

// importReason is what a transfer between accounts of two kinds is called.
func importReason(from, to string) string {
	switch {
	case from == KindIssuance:
		return ReasonEarn
	case from == KindPerson && to == KindPerson:
		return ReasonPay
	default:
		return ReasonGift
	}
}

// importedAct is what a transfer was that an import recorded.
func importedAct(r machine.Reader, t *ledger.Transfer) (Act, bool) {
	of, _, ok := ledger.SeriesOf(t.ID)
	if !ok || t.Op != ledger.OpPost || len(t.Legs) != 2 {
		return Act{}, false
	}
	common, ok := imports.Get(r, machine.Key{}.Bytes(of[:]))
	if !ok {
		return Act{}, false
	}
	return Act{
		Transfer: machine.ID(t.ID), Reason: t.Reason, From: t.Legs[0].Account, To: t.Legs[1].Account,
		Minutes: t.Legs[1].Change, Activity: common.Activity, By: common.By, At: common.At,
	}, true
}

// findAct finds an act by its transfer.
func findAct(r machine.Reader, id machine.ID) (act Act, imported, ok bool) {
	if act, ok := acts.Get(r, machine.Key{}.Bytes(id[:])); ok {
		return act, false, true
	}
	books := ReadBooks(r)
	record, ok := books.Record(ledger.ID(id))
	if !ok {
		return Act{}, false, false
	}
	e, _ := books.Entry(record.Seq)
	if e.Transfer == nil {
		return Act{}, false, false
	}
	act, ok = importedAct(r, e.Transfer)
	return act, true, ok
}
