package coin

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/ledger"
)

// Transfers is a table of transfers, as short in the log as can be: each account is named once. In JSON it is
// a list of lists: [["from", "to", minutes], ["from", "to", minutes, when], ...].
type Transfers struct {
	accounts []string // in ascending order
	moves    []ledger.Move
}

// MarshalBinary makes it a byte string in CBOR.
func (t Transfers) MarshalBinary() ([]byte, error) {
	return ledger.EncodeMoves(t.accounts, t.moves), nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (t *Transfers) UnmarshalBinary(raw []byte) (err error) {
	t.accounts, t.moves, err = ledger.DecodeMoves(raw)
	return err
}

// Add appends a transfer; when is Unix milliseconds, 0: now.
func (t *Transfers) Add(from, to string, minutes, when int64) {
	t.place(from)
	at := t.place(to) // which may have moved the other
	t.moves = append(t.moves, ledger.Move{From: t.place(from), To: at, Amount: minutes, Effective: when})
}

// place finds an account's place, and makes one where there is none.
func (t *Transfers) place(account string) int {
	at, ok := slices.BinarySearch(t.accounts, account)
	if ok {
		return at
	}
	t.accounts = slices.Insert(t.accounts, at, account)
	for i := range t.moves {
		if t.moves[i].From >= at {
			t.moves[i].From++
		}
		if t.moves[i].To >= at {
			t.moves[i].To++
		}
	}
	return at
}

func (t Transfers) sum() int64 {
	sum := int64(0)
	for _, m := range t.moves {
		sum += m.Amount
	}
	return sum
}

// MarshalJSON writes the list of lists.
func (t Transfers) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, m := range t.moves {
		if i > 0 {
			b = append(b, ',')
		}
		for j, account := range [2]string{t.accounts[m.From], t.accounts[m.To]} {
			text, err := json.Marshal(account)
			if err != nil {
				return nil, err
			}
			b = append(append(b, "[,"[j]), text...)
		}
		b = strconv.AppendInt(append(b, ','), m.Amount, 10)
		if m.Effective != 0 {
			b = strconv.AppendInt(append(b, ','), m.Effective, 10)
		}
		b = append(b, ']')
	}
	return append(b, ']'), nil
}

// UnmarshalJSON reads the list of lists. It goes through the text once: there may be much of it.
func (t *Transfers) UnmarshalJSON(raw []byte) error {
	l := lister{rest: raw}
	l.moves = make([]ledger.Move, 0, min(len(raw)/16, MaxImport))
	l.places = make(map[string]int, 64)
	l.open('[')
	for !l.close(']') {
		if len(l.moves) == MaxImport {
			return machine.Refuse("bad_import", "There are more than %d transfers, the most that go into one"+
				" import.", int64(MaxImport))
		}
		l.row()
		if l.wrong {
			return machine.Refuse("bad_body", "Line %d is not of the form [\"from\", \"to\", minutes].",
				len(l.moves)+1)
		}
		l.comma(']')
	}
	if l.wrong {
		return machine.Refuse("bad_body", "The transfers are not a list of lists.")
	}
	t.accounts, t.moves = l.sorted()
	return nil
}

// lister reads JSON of one form, front to back; after something wrong it reads nothing more.
type lister struct {
	rest     []byte
	wrong    bool
	accounts []string // in the order they came
	places   map[string]int
	moves    []ledger.Move
}

func (l *lister) row() {
	var m ledger.Move
	l.open('[')
	m.From = l.account()
	l.open(',')
	m.To = l.account()
	l.open(',')
	m.Amount = l.number()
	if l.next() == ',' {
		l.open(',')
		m.Effective = l.number()
	}
	l.open(']')
	if m.Effective < 0 || m.Amount < 0 {
		l.wrong = true
	}
	l.moves = append(l.moves, m)
}

// next is the next byte that is no space, 0 at the end.
func (l *lister) next() byte {
	for len(l.rest) > 0 {
		switch l.rest[0] {
		case ' ', '\t', '\n', '\r':
			l.rest = l.rest[1:]
		default:
			return l.rest[0]
		}
	}
	return 0
}

// open takes the one byte that must come.
func (l *lister) open(want byte) {
	if l.wrong || l.next() != want {
		l.wrong = true
		return
	}
	l.rest = l.rest[1:]
}

// close takes the end of a list, if it has come, or if nothing more will be read.
func (l *lister) close(end byte) bool {
	if l.wrong {
		return true
	}
	if l.next() != end {
		return false
	}
	l.rest = l.rest[1:]
	return true
}

// comma takes a comma, which must not come before the end.
func (l *lister) comma(end byte) {
	if l.next() == end {
		return
	}
	l.open(',')
	if l.next() == end {
		l.wrong = true
	}
}

func (l *lister) account() int {
	if l.wrong || l.next() != '"' {
		l.wrong = true
		return 0
	}
	end := 1
	for end < len(l.rest) && l.rest[end] != '"' {
		if l.rest[end] == '\\' || l.rest[end] < ' ' || l.rest[end] > '~' { // no account's name has these
			l.wrong = true
			return 0
		}
		end++
	}
	if end == len(l.rest) {
		l.wrong = true
		return 0
	}
	name := l.rest[1:end]
	l.rest = l.rest[end+1:]
	at, ok := l.places[string(name)]
	if !ok {
		at = len(l.accounts)
		l.accounts = append(l.accounts, string(name))
		l.places[l.accounts[at]] = at
	}
	return at
}

func (l *lister) number() int64 {
	l.next()
	end := 0
	for end < len(l.rest) && (l.rest[end] == '-' || l.rest[end] >= '0' && l.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(string(l.rest[:end]), 10, 64)
	if err != nil {
		l.wrong = true
	}
	l.rest = l.rest[end:]
	return n
}

// sorted puts the accounts in order and the moves on their new places.
func (l *lister) sorted() ([]string, []ledger.Move) {
	accounts := slices.Clone(l.accounts)
	slices.Sort(accounts)
	place := make([]int, len(accounts))
	for i, account := range accounts {
		place[l.places[account]] = i
	}
	for i := range l.moves {
		m := &l.moves[i]
		m.From, m.To = place[m.From], place[m.To]
	}
	return accounts, l.moves
}
