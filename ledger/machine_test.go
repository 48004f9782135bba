package ledger

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestAgainstModel drives the ledger and the model with the same random requests, and wants the same
// answers, the same balances at every entry there ever was, a store untouched by refusals, and a clean
// audit.
func TestAgainstModel(t *testing.T) {
	answers, recorded := map[Code]int{}, map[Op]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{store: NewMem(), answers: answers, recorded: recorded}
		for _, id := range accountNames[:3] { // so that most requests find their accounts
			m.account(t, true, AccountSpec{"coins", id, "person", -300, 900, StateOpen})
			m.account(t, true, AccountSpec{"pounds", id, "person", -300, 500, StateOpen})
		}
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				m.stir(t)
				m.account(t, true, m.drawSpec())
			},
			"amend": func(t *rapid.T) {
				m.stir(t)
				m.account(t, false, m.drawSpec())
			},
			"repeat": m.repeat,
			"page": func(t *rapid.T) {
				m.stir(t)
				m.page(t)
			},
			"apply": func(t *rapid.T) {
				for range 6 { // most of what happens
					m.stir(t)
					m.apply(t, m.drawGroup())
				}
			},
			"": m.check,
		})
		m.checkHistory(t)
	})
	if testing.Verbose() {
		t.Logf("answers: %v; recorded: %v", answers, recorded)
	}
	for op := OpPost; op <= OpReverse; op++ {
		if recorded[op] == 0 {
			t.Errorf("no random %s was recorded: the test has gone blunt", op)
		}
	}
	for _, code := range []Code{
		"", "repeated", CodeAccountFrozen, CodeAccountUnknown, CodeAlreadyReversed, CodeAmountZero,
		CodeBalanceNotZero, CodeCeilingPassed, CodeExceedsHold, CodeFloorPassed, CodeGroupMixed,
		CodeHoldEnded,
		CodeHoldUnknown, CodeIDReused, CodeNotReversible, CodeOverflow, CodeSameAccount, CodeUnbalanced,
	} {
		if answers[code] == 0 {
			t.Errorf("the random requests never led to %q: the test has gone blunt", code)
		}
	}
}

type machine struct {
	store   *Mem
	model   model
	at      int64
	rand    *rand.Rand
	groups  [][]Transfer // recorded ones, to repeat
	answers map[Code]int

	recorded map[Op]int
}

func (m *machine) account(t *rapid.T, opening bool, spec AccountSpec) {
	before, head := dump(m.store), m.store.Head()
	do := Amend
	if opening {
		do = Open
	}
	m.at++
	err := do(m.store, m.at, spec)
	code, changes := m.model.openOrAmend(opening, spec)
	m.answers[code]++
	if got := codeOf(err); got != code {
		t.Fatalf("open %t, %+v: %q (%v); the model says %q", opening, spec, got, err, code)
	}
	if changes != (m.store.Head() == head+1) {
		t.Fatalf("open %t, %+v: changed %t; the model says %t", opening, spec, !changes, changes)
	}
	if !changes && dump(m.store) != before {
		t.Fatalf("open %t, %+v: the store changed", opening, spec)
	}
}

func (m *machine) apply(t *rapid.T, group []Transfer) {
	before, head := dump(m.store), m.store.Head()
	m.at++
	receipts, err := Apply(m.store, m.at, group)
	want := m.model.apply(group)
	code := want.code
	if want.repeated {
		code = "repeated"
	}
	m.answers[code]++
	if got := codeOf(err); got != want.code {
		t.Fatalf("%+v: %q (%v); the model says %+v", group, got, err, want)
	}
	var r *Refusal
	if errors.As(err, &r) && (r.Index != want.index || r.Account != want.account) {
		t.Fatalf("%+v: %+v; the model says %+v", group, r, want)
	}
	if (want.code != "" || want.repeated) && dump(m.store) != before {
		t.Fatalf("%+v: the store changed", group)
	}
	if want.code != "" {
		if receipts != nil {
			t.Fatalf("refused with receipts %v", receipts)
		}
		return
	}
	for i, got := range receipts {
		receipt := Receipt{ID: group[i].ID, Seq: head + uint64(i) + 1, Recorded: m.at}
		if want.repeated {
			receipt = m.receipt(group[i].ID)
		} else {
			m.recorded[group[i].Op]++
		}
		if got != receipt || len(receipts) != len(group) {
			t.Fatalf("receipt %d is %+v, want %+v", i, got, receipt)
		}
	}
	m.groups = append(m.groups, group)
}

// receipt is the first receipt of a transfer, from the entry alone.
func (m *machine) receipt(id ID) Receipt {
	for seq, e := range m.store.entries {
		if e.Transfer != nil && e.Transfer.ID == id {
			return Receipt{ID: id, Seq: seq, Recorded: e.Recorded, Repeated: true}
		}
	}
	return Receipt{}
}

func (m *machine) repeat(t *rapid.T) {
	if len(m.groups) == 0 {
		t.Skip("nothing to repeat yet")
	}
	m.stir(t)
	group := slices.Clone(pick(m, m.groups))
	switch m.chance(5) {
	case 0:
		group[m.chance(len(group)-1)].Ref += "!"
	case 1:
		group = append(group, m.drawTransfer(len(group)))
	}
	m.apply(t, group)
}

// check compares all accounts as they are now.
func (m *machine) check(t *rapid.T) {
	if int(m.store.Head()) != len(m.model.events) {
		t.Fatalf("%d entries; the model has %d", m.store.Head(), len(m.model.events))
	}
	for _, book := range bookNames {
		for _, id := range accountNames {
			got, ok := m.store.Account(book, id)
			terms := m.model.terms(place{book, id})
			if ok != (terms != nil) {
				t.Fatalf("account %s/%s: %t", book, id, ok)
			}
			if !ok {
				continue
			}
			want := m.model.balancesAfter(len(m.model.events), place{book, id})
			if got.Spec() != *terms || (balances{got.Posted, got.HeldOut, got.HeldIn}) != want {
				t.Fatalf("account %+v; the model has %+v %+v", got, terms, want)
			}
		}
	}
}

// checkHistory compares all accounts as they ever were, the statements, the records, and the audit's sums.
func (m *machine) checkHistory(t *rapid.T) {
	for _, key := range m.store.order {
		for seq := range len(m.model.events) + 1 {
			got, ok := BalanceAt(m.store, key.book, key.id, uint64(seq))
			want := m.model.balancesAfter(seq, place(key))
			if (balances{got.Posted, got.HeldOut, got.HeldIn}) != want || !ok && want != (balances{}) {
				t.Fatalf("%v at entry %d: %+v; the model has %+v", key, seq, got, want)
			}
		}
		var forth, back []uint64
		Statement(m.store, key.book, key.id, 0, MaxPage, func(l Line, _ Entry) bool {
			forth = append(forth, l.Seq)
			return true
		})
		StatementBack(m.store, key.book, key.id, 0, MaxPage, func(l Line, _ Entry) bool {
			back = append(back, l.Seq)
			return true
		})
		slices.Reverse(back)
		if want := m.naming(key); !slices.Equal(forth, want) || !slices.Equal(back, want) {
			t.Fatalf("%v: statements %v and %v, want %v", key, forth, back, want)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.store.records), func(a, b ID) int {
		return slices.Compare(a[:], b[:])
	}) {
		m.checkRecord(t, m.store.records[id])
	}
	if report, err := Audit(m.store); err != nil {
		t.Fatalf("audit: %v", report.Findings)
	}
}

// naming is the entries that have to do with an account.
func (m *machine) naming(key accountKey) []uint64 {
	var seqs []uint64
	for i, e := range m.model.events {
		named := e.spec != nil && e.spec.Book == key.book && e.spec.ID == key.id
		if e.spec == nil && e.transfer.Book == key.book {
			for _, leg := range m.touched(e.transfer) {
				named = named || leg.Account == key.id
			}
		}
		if named {
			seqs = append(seqs, uint64(i)+1)
		}
	}
	return seqs
}

// touched is the legs whose accounts a transfer has to do with: to end a hold, even in part, touches all of
// it.
func (m *machine) touched(t Transfer) []Leg {
	of := m.model.find(t.Of)
	switch {
	case of == nil:
		return t.Legs
	case t.Op == OpReverse && of.Op == OpSettle && len(of.Legs) == 0:
		return m.model.find(of.Of).Legs
	}
	return of.Legs
}

func (m *machine) checkRecord(t *rapid.T, got Record) {
	e := m.store.entries[got.Seq]
	if e.Transfer.ID != got.ID || got.Op != e.Op || got.Body != e.Transfer.Body() {
		t.Fatalf("record %+v is not of entry %+v", got, e.Transfer)
	}
	want, closed := StatusPosted, ID{}
	switch got.Op {
	case OpHold:
		want = StatusHeld
	case OpVoid:
		want = StatusVoided
	default:
	}
	if by := m.model.ender(got.ID, len(m.model.events)); by != nil {
		closed = by.ID
		want = map[Op]Status{OpSettle: StatusSettled, OpVoid: StatusVoided, OpReverse: StatusReversed}[by.Op]
	}
	if got.Status != want || got.Closed != closed {
		t.Fatalf("record %+v; the model has %s by %s", got, want, closed)
	}
}

func codeOf(err error) Code {
	if err == nil {
		return ""
	}
	var r *Refusal
	if !errors.As(err, &r) {
		return Code(fmt.Sprintf("failed: %v", err))
	}
	return r.Code
}
