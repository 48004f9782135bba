package circle_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/payment"
)

// compared is how one circle's books compare with another's.
func compared(t *testing.T, a, b *town) exchange.Comparison {
	t.Helper()
	c := view[exchange.Comparison](a, "operator", "exchange.books", func(q any) error {
		q.(*exchange.WhichBooks).Circle = string(b.id)
		return nil
	})
	for _, side := range []payment.Side{payment.Payer, payment.Payee} {
		for after := (payment.TID{}); after != exchange.LastTID(); {
			ask := courier.BooksAsk{From: a.id, To: b.id, Payer: a.id, After: after}
			if side == payment.Payee {
				ask.Payer = b.id
			}
			var ours []courier.BooksLine
			last := exchange.LastTID()
			ours, ask.Through = exchange.Lines(a.kv, b.id, side, after, last, courier.BooksPiece)
			ask.Digest = courier.DigestOf(ours)
			tell := exchange.TellBooks(b.kv, ask)
			if !tell.Same && tell.Through != ask.Through {
				t.Fatalf("told as far as %s of %s", tell.Through, ask.Through)
			}
			c.Take(a.kv, side == payment.Payee, ours, tell)
			after = ask.Through
		}
	}
	c.Finish(a.kv)
	return c
}

// TestCompareBooks: books of two circles that have paid each other agree, seen from either; so they do while
// payments are on their way, which are named; a payment that one has forgotten is named, and they differ.
func TestCompareBooks(t *testing.T) {
	s := newStage(t)
	a, b := s.hb, s.bh
	look := func(what string, agree bool, same, way, differ int) exchange.Comparison {
		t.Helper()
		var first exchange.Comparison
		for i, pair := range [][2]*town{{a, b}, {b, a}} {
			c := compared(t, pair[0], pair[1])
			if c.Agree != agree || c.Same != same || len(c.OnTheWay) != way || len(c.Differ) != differ {
				t.Errorf("%s, seen from %s: %+v", what, pair[0].name, c)
			}
			if i == 0 {
				first = c
			}
		}
		return first
	}
	first := look("as it begins", true, 1, 1, 0)
	if first.Owes != 30 || first.OnTheWay[0].Here != "waiting" || first.OnTheWay[0].There != "absent" {
		t.Errorf("%+v", first)
	}
	older := machine.NewMem()
	machine.Copy(older, b.kv)
	settle(t, a, b)
	look("when all is settled", true, 2, 0, 0)
	b.kv = older
	got := look("when one has forgotten a payment", false, 1, 0, 1)
	if d := got.Differ[0]; d.Here != "made" || d.There != "absent" || d.Minutes != 60 || d.At == 0 {
		t.Errorf("%+v", got)
	}
}

// twoThatPay are two allied circles, of which one's Ann can pay the other's Bea.
func twoThatPay(t *testing.T) (a, b *town) {
	t.Helper()
	a, b = newTown(t, "Ashby"), newTown(t, "Birch")
	a.found("Ann")
	b.found("Bea")
	for _, pair := range [][2]*town{{a, b}, {b, a}} {
		pair[0].must("operator", "exchange.meet", exchange.Meet{Card: pair[1].card()})
		pair[0].must("operator", "exchange.ally", exchange.Ally{
			Circle: string(pair[1].id), LimitMinutes: 6000, ReviewOn: "2026-09-30",
		})
	}
	settle(t, a, b)
	b.must("Bea", "exchange.code", exchange.SetCode{Code: "BEABEA22"})
	earnOf(a, "Ann", 10, "office")
	return a, b
}

// TestLinesOfNothing: payments that came to nothing are no lines, and only so many are looked at at once.
func TestLinesOfNothing(t *testing.T) {
	a, b := twoThatPay(t)
	for range 10 {
		a.must("Ann", "exchange.pay", exchange.Pay{Circle: string(b.id), Code: "NQBQDY22", Minutes: 1})
	}
	settle(t, a, b)
	last := exchange.LastTID()
	lines, end := exchange.Lines(a.kv, b.id, payment.Payer, payment.TID{}, last, 2)
	if len(lines) != 0 || end == last {
		t.Errorf("%d lines, as far as %s", len(lines), end)
	}
	if lines, end = exchange.Lines(a.kv, b.id, payment.Payer, end, last, 2); len(lines) != 0 || end != last {
		t.Errorf("%d lines behind them, as far as %s", len(lines), end)
	}
	if c := compared(t, a, b); !c.Agree || c.Same != 0 {
		t.Errorf("%+v", c)
	}
}

// TestCompareManyBooks: many payments are compared piece by piece, and the digests say where to look.
func TestCompareManyBooks(t *testing.T) {
	a, b := twoThatPay(t)
	for range courier.BooksPiece + 20 {
		a.must("Ann", "exchange.pay", exchange.Pay{Circle: string(b.id), Code: "BEABEA22", Minutes: 1})
	}
	settle(t, a, b)
	const all = courier.BooksPiece + 20
	if c := compared(t, a, b); !c.Agree || c.Same != all || c.Owes != all {
		t.Errorf("%+v", c)
	}
}
