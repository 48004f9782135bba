package ledger

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// sound is a small store with everything in it: entries 1 to 3 open, 4 posts, 5 holds, 6 settles a part, 7
// holds, 8 voids, 9 reverses the post, 10 amends.
func sound(t *testing.T) *Mem {
	t.Helper()
	s := NewMem()
	for _, id := range []string{"ann", "ben", "pool"} {
		if err := Open(s, 1000, AccountSpec{"coins", id, "person", -300, 6000, StateOpen}); err != nil {
			t.Fatal(err)
		}
	}
	legs := []Leg{{"ann", -60}, {"ben", 60}}
	for i, tr := range []Transfer{
		{Op: OpPost, Legs: legs},
		{Op: OpHold, Legs: legs},
		{Op: OpSettle, Of: ID{2}, Legs: []Leg{{"ann", -40}, {"ben", 40}}},
		{Op: OpHold, Legs: legs},
		{Op: OpVoid, Of: ID{4}},
		{Op: OpReverse, Of: ID{1}},
	} {
		tr.ID, tr.Book = ID{byte(i + 1)}, "coins"
		if _, err := Apply(s, 2000+int64(i), []Transfer{tr}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Amend(s, 3000, AccountSpec{"coins", "ann", "person", -100, 600, StateFrozen}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAuditOfSoundBooks(t *testing.T) {
	report, err := Audit(sound(t))
	if err != nil || len(report.Findings) != 0 {
		t.Fatalf("%v: %q", err, report.Findings)
	}
	books := []BookSum{{Book: "coins"}}
	if report.Entries != 10 || report.Accounts != 3 || !slices.Equal(report.Books, books) {
		t.Errorf("report is %+v", report)
	}
	if report, err := Audit(NewMem()); err != nil || report.Entries != 0 || len(report.Books) != 0 {
		t.Errorf("of nothing: %+v, %v", report, err)
	}
}

// damages is one sort of damage each, with what the audit must say of it.
var damages = map[string]struct {
	do   func(*Mem)
	want string
}{
	"balance changed": {
		func(m *Mem) { m.changeAccount("ann", func(a *Account) { a.Posted += 480 }) },
		"account coins/ann: posted is 440, the entries make it -40",
	},
	"two balances changed, in balance": {
		func(m *Mem) {
			m.changeAccount("ann", func(a *Account) { a.Posted += 480 })
			m.changeAccount("ben", func(a *Account) { a.Posted -= 480 })
		},
		"account coins/ben: posted is -440, the entries make it 40",
	},
	"book out of balance": {
		func(m *Mem) { m.changeAccount("ann", func(a *Account) { a.Posted++ }) },
		"book coins does not balance: its accounts sum to 1, holds 0 out and 0 in",
	},
	"hold left over": {
		func(m *Mem) { m.changeAccount("ann", func(a *Account) { a.HeldOut = 60 }) },
		"book coins does not balance: its accounts sum to 0, holds 60 out and 0 in",
	},
	"floor lowered": {
		func(m *Mem) { m.changeAccount("ann", func(a *Account) { a.Floor = -9000 }) },
		"account coins/ann: floor is -9000, the entries make it -100",
	},
	"account thawed": {
		func(m *Mem) { m.changeAccount("ann", func(a *Account) { a.State = StateOpen }) },
		"account coins/ann: state is open, the entries make it frozen",
	},
	"account planted": {
		func(m *Mem) { m.PutAccount(Account{Book: "coins", ID: "eve"}) },
		"account coins/eve was never opened",
	},
	"account lost": {
		func(m *Mem) { delete(m.accounts, accountKey{"coins", "pool"}) },
		"account coins/pool is missing",
	},
	"line dropped": {
		func(m *Mem) { delete(m.lines, lineKey{accountKey{"coins", "ben"}, 2}) },
		"line 2 of coins/ben (entry 4) is missing",
	},
	"line planted": {
		func(m *Mem) { m.PutLine(Line{Book: "coins", Account: "pool", N: 2}) },
		"account coins/pool has a line beyond its 1",
	},
	"line changed": {
		func(m *Mem) { m.changeLine("ben", 2, func(l *Line) { l.Change = 600 }) },
		"line 2 of coins/ben: change is 600, the entries make it 60",
	},
	"line's arithmetic broken": {
		func(m *Mem) { m.changeLine("ben", 2, func(l *Line) { l.Change = 600 }) },
		"line 2 of coins/ben: 0 and 600 do not make 60",
	},
	"line out of balance": {
		func(m *Mem) { m.changeLine("ben", 2, func(l *Line) { l.Change = 600 }) },
		"entry 4 (post) does not balance: its lines sum to 540, holds 0 out and 0 in",
	},
	"line past the floor": {
		func(m *Mem) { m.changeLine("ann", 2, func(l *Line) { l.Change, l.Posted = -301, -301 }) },
		"entry 4 (post) took coins/ann to -301, past its floor of -300",
	},
	"line past the ceiling": {
		func(m *Mem) { m.changeLine("ben", 3, func(l *Line) { l.HeldIn = 6000 }) },
		"entry 5 (hold) took coins/ben to 6060, past its ceiling of 6000",
	},
	"line holds less than nothing": {
		func(m *Mem) { m.changeLine("ben", 3, func(l *Line) { l.HeldIn = -1 }) },
		"line 3 of coins/ben holds less than nothing",
	},
	"entry altered": {
		func(m *Mem) { m.changeEntry(4, func(e *Entry) { e.Transfer.Ref = "another visit" }) },
		"entry 4 is not what transfer 01000000000000000000000000000000 asked for: one of them was altered",
	},
	"entry's amounts altered": {
		func(m *Mem) {
			m.changeEntry(4, func(e *Entry) { e.Transfer.Legs = []Leg{{"ann", -61}, {"ben", 61}} })
		},
		"line 2 of coins/ann: change is -60, the entries make it -61; posted is -60, the entries make it -61",
	},
	"entry altered out of balance": {
		func(m *Mem) { m.changeEntry(4, func(e *Entry) { e.Transfer.Legs[0].Change = -61 }) },
		"entry 4 (post) could not have been recorded: unbalanced: 61 leaves and 60 arrives",
	},
	"entry altered past the floor": {
		func(m *Mem) {
			m.changeEntry(4, func(e *Entry) { e.Transfer.Legs = []Leg{{"ann", -301}, {"ben", 301}} })
		},
		"entry 4 (post) could not have been recorded: floor_passed: ann has 0; giving 301 would pass",
	},
	"opening altered": {
		func(m *Mem) { m.changeEntry(2, func(e *Entry) { e.Account.Ceiling = 7000 }) },
		"account coins/ben: ceiling is 6000, the entries make it 7000",
	},
	"entry lost": {
		func(m *Mem) { delete(m.entries, 8) },
		"entry 8 is missing",
	},
	"entry moved": {
		func(m *Mem) { m.changeEntry(8, func(e *Entry) { e.Seq = 9 }) },
		"entry 8 says it is entry 9",
	},
	"entry of nothing": {
		func(m *Mem) { m.changeEntry(10, func(e *Entry) { e.Account = nil }) },
		"entry 10 (amend) has not the content of one",
	},
	"entry relabelled": {
		func(m *Mem) { m.changeEntry(4, func(e *Entry) { e.Op = OpHold }) },
		"entry 4 (hold) has not the content of one",
	},
	"head cut": {
		func(m *Mem) { m.head-- },
		"entry 10 is beyond the head",
	},
	"head too high": {
		func(m *Mem) { m.head = math.MaxUint64 - 1 },
		"entry 11 is missing",
	},
	"settle doubled under another id": {
		func(m *Mem) {
			m.addEntry(Transfer{ID: ID{77}, Op: OpSettle, Book: "coins", Of: ID{2}})
		},
		"entry 11 ends transfer 02000000000000000000000000000000, which entry 6 had ended",
	},
	"settle doubled, as the rules see it": {
		func(m *Mem) {
			m.addEntry(Transfer{ID: ID{77}, Op: OpSettle, Book: "coins", Of: ID{2}})
		},
		"entry 11 (settle) could not have been recorded: hold_ended: hold 02000000",
	},
	"reversal doubled": {
		func(m *Mem) {
			m.addEntry(Transfer{ID: ID{77}, Op: OpReverse, Book: "coins", Of: ID{1}})
		},
		"entry 11 ends transfer 01000000000000000000000000000000, which entry 9 had ended",
	},
	"transfer recorded twice": {
		func(m *Mem) { m.addEntry(*m.entries[4].Transfer) },
		"entry 11 (post) changes nothing: it repeats an earlier one",
	},
	"opening recorded twice": {
		func(m *Mem) {
			e := m.entries[1]
			e.Seq = 11
			m.PutEntry(e)
			m.PutHead(11)
		},
		"entry 11 (open) changes nothing: it repeats an earlier one",
	},
	"record lost": {
		func(m *Mem) { delete(m.records, ID{4}) },
		"the record of transfer 04000000000000000000000000000000 (entry 7) is missing",
	},
	"record reopened": {
		func(m *Mem) { m.changeRecord(ID{2}, func(r *Record) { r.Status, r.Closed = StatusHeld, ID{} }) },
		"the record of transfer 02000000000000000000000000000000: status is held, the entries make it " +
			"settled; closed by is 00000000000000000000000000000000, the entries make it 0300000000",
	},
	"record's body changed": {
		func(m *Mem) { m.changeRecord(ID{2}, func(r *Record) { r.Body[0]++ }) },
		"entry 5 is not what transfer 02000000000000000000000000000000 asked for: one of them was altered",
	},
}

func TestAuditNamesDamage(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := clone(sound(t))
			if _, err := Audit(s); err != nil {
				t.Fatalf("before the damage: %v", err)
			}
			damage.do(s)
			report, err := Audit(s)
			if !errors.Is(err, ErrFindings) {
				t.Fatalf("error is %v", err)
			}
			if !strings.Contains(strings.Join(report.Findings, "\n"), damage.want) {
				t.Errorf("no finding says %q:\n%s", damage.want, strings.Join(report.Findings, "\n"))
			}
			if len(report.Findings) > MaxFindings {
				t.Errorf("%d findings", len(report.Findings))
			}
		})
	}
}

// TestDamageStopsApply wants a plain error, not a refusal and not a panic, when what a request needs is gone.
func TestDamageStopsApply(t *testing.T) {
	settle := Transfer{ID: ID{8}, Op: OpSettle, Book: "coins", Of: ID{7}}
	whole := Transfer{ID: ID{8}, Op: OpReverse, Book: "coins", Of: ID{10}}
	for name, try := range map[string]struct {
		damage func(*Mem)
		do     Transfer
	}{
		"repeat":        {func(m *Mem) { delete(m.entries, 4) }, *sound(t).entries[4].Transfer},
		"hold's entry":  {func(m *Mem) { delete(m.entries, 11) }, settle},
		"its account":   {func(m *Mem) { delete(m.accounts, accountKey{"coins", "ben"}) }, settle},
		"settle":        {func(m *Mem) { delete(m.entries, 13) }, whole},
		"settle's hold": {func(m *Mem) { delete(m.records, ID{9}) }, whole},
		"its entry":     {func(m *Mem) { delete(m.entries, 12) }, whole},
	} {
		s := sound(t)
		legs := []Leg{{"pool", -5}, {"ben", 5}}
		if _, err := Apply(s, 4000, []Transfer{
			{ID: ID{7}, Op: OpHold, Book: "coins", Legs: legs},
			{ID: ID{9}, Op: OpHold, Book: "coins", Legs: legs},
			{ID: ID{10}, Op: OpSettle, Book: "coins", Of: ID{9}},
		}); err != nil {
			t.Fatal(err)
		}
		try.damage(s)
		before := dump(s)
		_, err := Apply(s, 5000, []Transfer{try.do})
		var r *Refusal
		if err == nil || errors.As(err, &r) || !strings.Contains(err.Error(), "run an audit") {
			t.Errorf("%s: %v", name, err)
		}
		if dump(s) != before {
			t.Errorf("%s: the store changed", name)
		}
	}
}

// TestDamageStopsOpen is the same for an opening whose first one cannot be found.
func TestDamageStopsOpen(t *testing.T) {
	spec := AccountSpec{"coins", "ann", "person", -300, 6000, StateOpen}
	for name, damage := range map[string]func(*Mem){
		"line":  func(m *Mem) { delete(m.lines, lineKey{accountKey{"coins", "ann"}, 1}) },
		"entry": func(m *Mem) { delete(m.entries, 1) },
	} {
		s := sound(t)
		damage(s)
		var r *Refusal
		if err := Open(s, 9, spec); err == nil || errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (m *Mem) changeAccount(id string, change func(*Account)) {
	a := m.accounts[accountKey{"coins", id}]
	change(&a)
	m.PutAccount(a)
}

func (m *Mem) changeLine(id string, n uint64, change func(*Line)) {
	l := m.lines[lineKey{accountKey{"coins", id}, n}]
	change(&l)
	m.PutLine(l)
}

func (m *Mem) changeEntry(seq uint64, change func(*Entry)) {
	e := m.entries[seq]
	change(&e)
	m.entries[seq] = e
}

func (m *Mem) changeRecord(id ID, change func(*Record)) {
	r := m.records[id]
	change(&r)
	m.PutRecord(r)
}

func (m *Mem) addEntry(tr Transfer) {
	m.head++
	m.PutEntry(Entry{Seq: m.head, Recorded: 9000, Op: tr.Op, Transfer: &tr})
}
