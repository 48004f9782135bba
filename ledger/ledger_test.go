package ledger

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestAvailableAndPending(t *testing.T) {
	for _, try := range []struct {
		account            Account
		available, pending int64
	}{
		{Account{Posted: 60, Floor: -300}, 360, 0},
		{Account{Posted: 60, Floor: -300, HeldOut: 100, HeldIn: 30}, 260, -70},
		{Account{Posted: -270, Floor: 500}, -770, 0},
		{Account{Posted: 5, Floor: -Unlimited}, Unlimited, 0},
		{Account{Posted: math.MaxInt64, Floor: math.MinInt64 + 1}, Unlimited, 0},
		{Account{Posted: math.MinInt64, Floor: math.MaxInt64, HeldOut: 7}, -Unlimited, -7},
	} {
		if got := try.account.Available(); got != try.available {
			t.Errorf("%+v: available %d, want %d", try.account, got, try.available)
		}
		if got := try.account.Pending(); got != try.pending {
			t.Errorf("%+v: pending %d, want %d", try.account, got, try.pending)
		}
	}
}

// TestApplyKeepsNothingOfTheCaller changes the caller's legs after the fact.
func TestApplyKeepsNothingOfTheCaller(t *testing.T) {
	s := sound(t)
	legs := []Leg{{"pool", -1}, {"ben", 1}}
	group := []Transfer{{ID: ID{50}, Op: OpPost, Book: "coins", Legs: legs}}
	if _, err := Apply(s, 9000, group); err != nil {
		t.Fatal(err)
	}
	legs[0].Change, legs[0].Account = -1000, "ann"
	if report, err := Audit(s); err != nil {
		t.Error(report.Findings)
	}
}

// TestWalksStop wants that walks stop when they are told to, and where a line is missing.
func TestWalksStop(t *testing.T) {
	s := sound(t)
	for name, walk := range map[string]func(Store, string, string, uint64, int, func(Line,
		Entry) bool) uint64{
		"forth": Statement, "back": StatementBack,
	} {
		seen := 0
		next := walk(s, "coins", "ann", 0, 0, func(Line, Entry) bool {
			seen++
			return seen < 2
		})
		if seen != 2 || next != 0 {
			t.Errorf("%s: %d lines, next %d", name, seen, next)
		}
	}
	seen := 0
	s.Accounts("coins", func(Account) bool {
		seen++
		return seen < 2
	})
	if seen != 2 {
		t.Errorf("%d accounts", seen)
	}
	delete(s.lines, lineKey{accountKey{"coins", "ann"}, 3})
	seen = 0
	Statement(s, "coins", "ann", 0, 0, func(Line, Entry) bool {
		seen++
		return true
	})
	if seen != 2 {
		t.Errorf("%d lines before the one that is missing", seen)
	}
}

// counting counts writes: a refused or repeated request must make none.
type counting struct {
	Store
	writes int
}

func (c *counting) PutAccount(a Account) { c.writes++; c.Store.PutAccount(a) }
func (c *counting) PutEntry(e Entry)     { c.writes++; c.Store.PutEntry(e) }
func (c *counting) PutRecord(r Record)   { c.writes++; c.Store.PutRecord(r) }
func (c *counting) PutLine(l Line)       { c.writes++; c.Store.PutLine(l) }
func (c *counting) PutHead(n uint64)     { c.writes++; c.Store.PutHead(n) }

func TestNoNeedlessWrites(t *testing.T) {
	s := &counting{Store: sound(t)}
	legs := []Leg{{"pool", -1}, {"ben", 1}}
	post := Transfer{ID: ID{50}, Op: OpPost, Book: "coins", Legs: legs}
	bad := Transfer{ID: ID{51}, Op: OpPost, Book: "coins", Legs: []Leg{{"pool", -1}, {"ann", 1}}}
	if _, err := Apply(s, 9000, []Transfer{post, bad}); err == nil || s.writes != 0 {
		t.Errorf("refused (%v) with %d writes", err, s.writes)
	}
	if _, err := Apply(s, 9000, []Transfer{post}); err != nil || s.writes != 7 {
		t.Errorf("one post of two legs (%v) with %d writes; want 2 accounts, 2 lines, a record, an entry, "+
			"the head", err, s.writes)
	}
	if _, err := Apply(s, 9001, []Transfer{post}); err != nil || s.writes != 7 {
		t.Errorf("repeated (%v) with %d writes", err, s.writes-7)
	}
	if _, err := Audit(s); err != nil || s.writes != 7 {
		t.Errorf("audited (%v) with %d writes", err, s.writes-7)
	}
}

// TestLargestGroup is a group at all its limits at once.
func TestLargestGroup(t *testing.T) {
	s := NewMem()
	var legs []Leg
	for i := range MaxLegs {
		id := fmt.Sprintf("a%02d", i)
		spec := AccountSpec{"coins", id, "person", -Unlimited, Unlimited, StateOpen}
		if err := Open(s, 1, spec); err != nil {
			t.Fatal(err)
		}
		legs = append(legs, Leg{id, int64(i%2*2 - 1)})
	}
	var group []Transfer
	for i := range MaxGroup {
		tr := Transfer{ID: ID{1, byte(i >> 8), byte(i)}, Op: OpPost, Book: "coins", Legs: legs}
		tr.Ref = strings.Repeat("r", MaxRefBytes)
		group = append(group, tr)
	}
	if receipts, err := Apply(s, 2, group); err != nil || len(receipts) != MaxGroup {
		t.Fatalf("%d receipts, %v", len(receipts), err)
	}
	if a, _ := s.Account("coins", "a01"); a.Posted != MaxGroup || a.Lines != MaxGroup+1 {
		t.Errorf("account is %+v", a)
	}
	if _, err := Audit(s); err != nil {
		t.Error(err)
	}
}

func BenchmarkApplyTransfer(b *testing.B) {
	s := benchStore(b)
	legs := []Leg{{"ann", -60}, {"ben", 60}}
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		tr := Transfer{Op: OpPost, Book: "coins", Legs: legs}
		binary.BigEndian.PutUint64(tr.ID[:], n)
		if _, err := Apply(s, int64(n), []Transfer{tr}); err != nil {
			b.Fatal(err)
		}
		legs[0].Change, legs[1].Change = legs[1].Change, legs[0].Change
	}
}

func BenchmarkHoldAndSettle(b *testing.B) {
	s := benchStore(b)
	legs := []Leg{{"ann", -60}, {"ben", 60}}
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		hold := Transfer{Op: OpHold, Book: "coins", Legs: legs}
		binary.BigEndian.PutUint64(hold.ID[:], n)
		settle := Transfer{ID: hold.ID, Op: OpSettle, Book: "coins", Of: hold.ID}
		settle.ID[15] = 1
		for _, tr := range []Transfer{hold, settle} {
			if _, err := Apply(s, int64(n), []Transfer{tr}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	s := benchStore(b)
	for n := range 10_000 {
		tr := Transfer{ID: ID{1, byte(n >> 8), byte(n)}, Op: OpPost, Book: "coins"}
		tr.Legs = []Leg{{"ann", -1}, {"ben", 1}}
		if _, err := Apply(s, 1, []Transfer{tr}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := Audit(s); err != nil {
			b.Fatal(err)
		}
	}
}

func benchStore(b *testing.B) *Mem {
	b.Helper()
	s := NewMem()
	for _, id := range []string{"ann", "ben"} {
		spec := AccountSpec{"coins", id, "person", -Unlimited, Unlimited, StateOpen}
		if err := Open(s, 0, spec); err != nil {
			b.Fatal(err)
		}
	}
	return s
}
