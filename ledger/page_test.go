package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawPage draws a page that is well shaped, over accounts that mostly exist.
func (m *machine) drawPage() *Page {
	p := &Page{Book: pick(m, []string{"coins", "coins", "pounds"}), Reasons: []string{"pay"}}
	var drawn [14]byte
	for i := range drawn {
		drawn[i] = byte(m.chance(255))
	}
	p.Series = NewSeries(drawn)
	p.Accounts = slices.Sorted(slices.Values(accountNames[:pick(m, []int{3, 4, 4, 5})]))
	if m.chance(1) == 1 {
		p.Reasons = append(p.Reasons, "gift")
	}
	for range pick(m, []int{1, 2, 5, 20}) {
		from := m.chance(len(p.Accounts) - 1)
		move := Move{
			From: from, To: (from + 1 + m.chance(len(p.Accounts)-2)) % len(p.Accounts),
			Amount: pick(m, []int64{1, 1, 2, 10, 60, 300}), Reason: m.chance(len(p.Reasons) - 1),
		}
		if m.chance(3) == 0 {
			move.Effective = int64(1 + m.chance(1000))
		}
		p.Moves = append(p.Moves, move)
	}
	return p
}

// page wants of a page what the model says of its moves as posts one after the other.
func (m *machine) page(t *rapid.T) {
	p := m.drawPage()
	before, head, events := dump(m.store), m.store.Head(), len(m.model.events)
	m.at++
	var want []Refusal
	for i := range p.Moves {
		tr := p.transfer(i)
		if code, account := m.model.judge(tr); code != "" {
			want = append(want, Refusal{Code: code, Index: i, Account: account})
			m.answers[code]++
			continue
		}
		m.model.events = append(m.model.events, event{transfer: tr})
	}
	refused, err := ApplyPage(packing{m.store}, m.at, p)
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	var got []Refusal
	for _, r := range refused {
		got = append(got, Refusal{Code: r.Code, Index: r.Index, Account: r.Account})
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%+v: refused %+v; the model says %+v", p, got, want)
	}
	if len(want) > 0 {
		m.model.events = m.model.events[:events]
		if dump(m.store) != before {
			t.Fatalf("%+v: the store changed", p)
		}
		return
	}
	m.recorded[OpPost] += len(p.Moves)
	if p.First != head+1 || m.store.Head() != p.Last() {
		t.Fatalf("entries %d to %d after %d; the head is %d", p.First, p.Last(), head, m.store.Head())
	}
	again := *p
	if _, err := ApplyPage(m.store, m.at, &again); codeOf(err) != CodeIDReused {
		t.Fatalf("the page again: %v", err)
	}
}

// packing hands pages on to a store as a store on disk does: as bytes, read back.
type packing struct{ *Mem }

func (s packing) PutPage(p Page) { s.Mem.PutPage(must(DecodePage(p.Encode()))) }

func (s packing) PutLines(p LinePage) {
	s.Mem.PutLines(must(DecodeLinePage(p.Book, p.Account, p.Encode())))
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func TestPagesThatMakeNoSense(t *testing.T) {
	good := func() *Page {
		return &Page{
			Book: "coins", Series: NewSeries([14]byte{1}), Accounts: []string{"ann", "ben"},
			Reasons: []string{"pay"}, Moves: []Move{{From: 0, To: 1, Amount: 5}},
		}
	}
	for _, c := range []struct {
		code  Code
		spoil func(*Page)
	}{
		{CodeGroupTooLarge, func(p *Page) { p.Moves = nil }},
		{CodeGroupTooLarge, func(p *Page) { p.Moves = make([]Move, MaxMoves+1) }},
		{CodeBadName, func(p *Page) { p.Book = "" }},
		{CodeBadName, func(p *Page) { p.Accounts[0] = "an n" }},
		{CodeIDMissing, func(p *Page) { p.Series = Series{1} }},
		{CodeSameAccount, func(p *Page) { p.Accounts[1] = "ann" }},
		{CodeSameAccount, func(p *Page) { p.Accounts[0] = "cat" }},
		{CodeSameAccount, func(p *Page) { p.Moves[0].To = 0 }},
		{CodeBadReason, func(p *Page) { p.Reasons[0] = "a b" }},
		{CodeLegsMissing, func(p *Page) { p.Moves[0].To = 2 }},
		{CodeLegsMissing, func(p *Page) { p.Moves[0].From = -1 }},
		{CodeLegsMissing, func(p *Page) { p.Moves[0].Reason = 1 }},
		{CodeAmountZero, func(p *Page) { p.Moves[0].Amount = 0 }},
		{CodeOverflow, func(p *Page) { p.Moves[0].Amount = -1 }},
		{CodeOverflow, func(p *Page) { p.Moves[0].Amount = Unlimited }},
		{CodeBadTime, func(p *Page) { p.Moves[0].Effective = -1 }},
	} {
		s := NewMem()
		for _, id := range []string{"ann", "ben"} {
			if err := Open(s, 1, AccountSpec{"coins", id, "person", -300, 900, StateOpen}); err != nil {
				t.Fatal(err)
			}
		}
		before := dump(s)
		p := good()
		c.spoil(p)
		if refused, err := ApplyPage(s, 2, p); codeOf(err) != c.code || refused != nil || dump(s) != before {
			t.Errorf("%+v: %v, want %s", p, err, c.code)
		}
		if _, err := ApplyPage(s, 2, good()); err != nil {
			t.Error(err)
		}
	}
}

// FuzzDecodePage wants that what can be read can be written, and read again as the same.
func FuzzDecodePage(f *testing.F) {
	p := Page{
		Book: "coins", Series: NewSeries([14]byte{9}), First: 7, Recorded: 1000,
		Accounts: []string{"ann", "ben"},
		Reasons:  []string{"pay", "gift"}, Moves: []Move{{0, 1, 60, 900, 1}, {1, 0, 1, 0, 0}},
	}
	f.Add(p.Encode())
	p.Reasons, p.Moves = p.Reasons[:1], []Move{{0, 1, 60, 0, 0}}
	f.Add(p.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := DecodePage(raw)
		if err != nil {
			return
		}
		again, err := DecodePage(p.Encode())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v\nbecomes %+v: %v", p, again, err)
		}
	})
}

// FuzzDecodeLinePage is FuzzDecodePage for lines.
func FuzzDecodeLinePage(f *testing.F) {
	p := LinePage{Before: Line{N: 3, Posted: -5, HeldOut: 1, HeldIn: 2}, Parts: []LinePart{{9, 5}, {12, -60}}}
	f.Add(p.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := DecodeLinePage("coins", "ann", raw)
		if err != nil {
			return
		}
		again, err := DecodeLinePage("coins", "ann", p.Encode())
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v\nbecomes %+v: %v", p, again, err)
		}
	})
}

func TestPageVersions(t *testing.T) {
	if _, err := DecodePage([]byte{2, 0}); err == nil || errors.Is(err, errShort) {
		t.Errorf("a page of a later version: %v", err)
	}
	if _, err := DecodeLinePage("coins", "ann", []byte{2}); err == nil || errors.Is(err, errShort) {
		t.Errorf("lines of a later version: %v", err)
	}
}

// A page's bytes are for ever.
func TestPageBytes(t *testing.T) {
	p := Page{
		Book: "coins", Series: NewSeries([14]byte{1, 2, 3}), First: 300, Recorded: 5,
		Accounts: []string{"a", "b"},
		Reasons:  []string{"pay", "gift"}, Moves: []Move{{0, 1, 60, 7, 1}, {1, 0, 200, 0, 0}},
	}
	want := "0103010203000000f000c0000000000" + "0ac0205" + "05636f696e73" + "0201610162" +
		"02037061790467696674" + "02" + "00013c0701" + "0100c8010000"
	if got := fmt.Sprintf("%x", p.Encode()); got != want {
		t.Errorf("a page is %s, want %s", got, want)
	}
	l := LinePage{Before: Line{N: 3, Posted: -5, HeldOut: 1}, Parts: []LinePart{{300, 60}, {302, -60}}}
	if got := l.Encode(); !bytes.Equal(got, []byte("\x01\x03\x09\x02\x00\x02\xac\x02\x78\x02\x77")) {
		t.Errorf("lines are %x", got)
	}
}
