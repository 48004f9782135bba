package circle_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/ledger"
)

// duo is two allied circles whose letters may be lost, doubled, late, cut into any batches and sent in any
// session, while people pay, accounts are stopped and time passes.
type duo struct {
	towns    [2]*town
	sessions [2][]courier.Nonce // opened by the town with that number, oldest first
	steps    int
}

var duoPeople = [2][]string{{"Alice", "Ben"}, {"Irene", "Jo"}}

func duoCode(name string) string { return (name + "22222222")[:8] }

// newDuo is made once and copied for every run.
func newDuo(t *testing.T) duo {
	t.Helper()
	d := duo{towns: [2]*town{newTown(t, "Hebden Bridge"), newTown(t, "Blackshaw Head")}}
	for i, w := range d.towns {
		w.found([]string{"Farida", "Orla"}[i])
		for _, name := range duoPeople[i] {
			w.join(name)
			earnOf(w, name, 3, "garden")
		}
	}
	for i, w := range d.towns {
		w.must("operator", "exchange.meet", exchange.Meet{Card: d.towns[1-i].card()})
	}
	for i, w := range d.towns {
		w.must("operator", "exchange.ally", exchange.Ally{
			Circle: string(d.towns[1-i].id), LimitMinutes: 600, ReviewOn: "2026-09-30",
		})
		settle(t, d.towns[0], d.towns[1])
	}
	for i, w := range d.towns {
		for _, name := range duoPeople[i] {
			w.must(name, "exchange.code", exchange.SetCode{Code: capitals(duoCode(name))})
		}
	}
	return d
}

func capitals(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// copyFor is the same two circles for another run.
func (d duo) copyFor(t tester) *duo {
	out := &duo{}
	for i, w := range d.towns {
		c := *w
		c.t, c.kv, c.log = t, machine.NewMem(), slices.Clone(w.log)
		machine.Copy(c.kv, w.kv)
		out.towns[i] = &c
	}
	return out
}

func (d *duo) side(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "circle") }

func (d *duo) pay(t *rapid.T) {
	i := d.side(t)
	from := rapid.SampledFrom(duoPeople[i]).Draw(t, "from")
	code := rapid.SampledFrom([]string{
		capitals(duoCode(duoPeople[1-i][0])), capitals(duoCode(duoPeople[1-i][1])), "NOBODY22",
	}).Draw(t, "to")
	d.towns[i].do(from, "exchange.pay", exchange.Pay{
		Circle: string(d.towns[1-i].id), Code: code, Minutes: rapid.Int64Range(1, 400).Draw(t, "minutes"),
		Patience: rapid.SampledFrom([]int64{0, 1000, day}).Draw(t, "patience"),
	})
}

func (d *duo) open(t *rapid.T) {
	i := d.side(t)
	from, to := d.towns[i], d.towns[1-i]
	nonce := courier.Nonce(from.fresh())
	session := exchange.Session{Nx: nonce, Ny: nonce}
	if out := to.send(to.command(peerCaller(from), "exchange.session", session)); out.Refusal != nil {
		t.Fatalf("session: %v", out.Refusal)
	}
	d.sessions[i] = append(d.sessions[i], nonce)
}

// batch carries some letters, from any place in the stream, in any session there ever was: also an old one,
// also with places left out. Whoever is honest is never stopped for that.
func (d *duo) batch(t *rapid.T) {
	i := d.side(t)
	from, to := d.towns[i], d.towns[1-i]
	stream := exchange.Outbox(from.kv, to.id, 1, 1<<40)
	if len(d.sessions[i]) == 0 || len(stream) == 0 {
		return
	}
	newest := len(d.sessions[i]) - 1
	which := max(newest-rapid.IntRange(0, 3).Draw(t, "sessions ago"), 0)
	first := rapid.IntRange(0, len(stream)-1).Draw(t, "first")
	var records []letter.Signed
	for _, raw := range stream[first:min(first+rapid.IntRange(1, 5).Draw(t, "letters"), len(stream))] {
		if rapid.IntRange(0, 9).Draw(t, "lost") > 0 {
			records = append(records, letter.Sign(from.key, raw))
		}
	}
	if len(records) == 0 {
		return
	}
	if rapid.Bool().Draw(t, "doubled") {
		records = append(records, records[rapid.IntRange(0, len(records)-1).Draw(t, "which")])
	}
	nonce := d.sessions[i][which]
	batch := exchange.Receive{Nx: nonce, Ny: nonce, Records: records}
	out := to.send(to.command(peerCaller(from), "exchange.receive", batch))
	if void := out.Refusal != nil && out.Refusal.Code == "session_void"; void != (which != newest) {
		t.Fatalf("session %d of %d: %+v", which, newest, out.Refusal)
	}
	if out.Refusal == nil && out.Result.(exchange.Received).Frozen != "" {
		t.Fatalf("an honest circle was stopped: %s", out.Result.(exchange.Received).Frozen)
	}
}

func (d *duo) pass(t *rapid.T) {
	millis := rapid.SampledFrom([]int64{5000, day, 40 * day}).Draw(t, "millis")
	for _, w := range d.towns {
		w.now += millis
	}
}

func (d *duo) freeze(t *rapid.T) {
	i := d.side(t)
	name := rapid.SampledFrom(duoPeople[i]).Draw(t, "who")
	d.towns[i].do("operator", "coin.freeze", coin.Freeze{
		Account: d.towns[i].people[name], Frozen: rapid.Bool().Draw(t, "frozen"),
		Why: machine.Text("", "a test"),
	})
}

// seen is one payment as one circle's views show it.
type seen struct {
	minutes  int64
	state    string
	incoming bool
}

func (d *duo) payments(i int) map[machine.ID]seen {
	out := map[machine.ID]seen{}
	for _, name := range duoPeople[i] {
		for _, p := range view[exchange.Payments](d.towns[i], name, "exchange.payments", nil).Payments {
			out[p.Payment] = seen{minutes: p.Minutes, state: p.State, incoming: p.Incoming}
		}
	}
	return out
}

func (d *duo) account(i int) ledger.Account {
	a, _ := coin.ReadBooks(d.towns[i].kv).Account(coin.Book, "circle/"+string(d.towns[1-i].id))
	return a
}

// check is what holds after every step, worked out from what people see and not from the rules.
func (d *duo) check(t tester) {
	var lag int64 // credited there, not yet settled here
	for i := range d.towns {
		report, err := ledger.Audit(coin.ReadBooks(d.towns[i].kv))
		if err != nil || report.Books[0].Sum != 0 {
			t.Fatalf("audit of %s: %v", d.towns[i].name, err)
		}
		here, there := d.payments(i), d.payments(1-i)
		var held int64
		for id, p := range here {
			if p.incoming {
				continue
			}
			other, arrived := there[id]
			switch {
			case p.state == "proposed":
				held += p.minutes
				if arrived && other.state == "settled" {
					lag += p.minutes
				}
			case p.state == "settled" && (!arrived || other.state != "settled" || other.minutes != p.minutes):
				t.Fatalf("payment %s is settled here and %+v there", id, other)
			case p.state == "returned" && arrived && other.state == "settled":
				t.Fatalf("payment %s was returned here and credited there", id)
			}
		}
		if a := d.account(i); a.HeldIn != held || a.HeldOut != 0 {
			t.Fatalf("%s: %d held for %s, payments on their way are %d",
				d.towns[i].name, a.HeldIn, a.ID, held)
		}
	}
	if sum := d.account(0).Posted + d.account(1).Posted; sum != -lag {
		t.Fatalf("the two accounts are %d and %d apart from %d in flight",
			d.account(0).Posted, d.account(1).Posted, lag)
	}
}

// rest carries everything until nothing moves: then all is decided, and the two accounts mirror.
func (d *duo) rest(t tester) {
	for range 3 {
		for _, w := range d.towns {
			w.now += 91 * day
			w.must("node", "exchange.expire", exchange.Expire{})
		}
		settle(t, d.towns[0], d.towns[1])
	}
	d.check(t)
	for i := range d.towns {
		for id, p := range d.payments(i) {
			if p.state == "proposed" {
				t.Fatalf("payment %s is never decided", id)
			}
		}
		all := view[exchange.Alliances](d.towns[i], "operator", "exchange.alliances", nil)
		for _, a := range all.Alliances {
			if a.Waiting != 0 || a.HeldMinutes != 0 || a.State != "in-force" {
				t.Fatalf("%s at rest: %+v", d.towns[i].name, a)
			}
		}
	}
	if d.account(0).Posted != -d.account(1).Posted {
		t.Fatalf("at rest the accounts are %d and %d", d.account(0).Posted, d.account(1).Posted)
	}
}

// TestTwoCirclesWhateverTheMail runs two circles under every disorder of the mail.
func TestTwoCirclesWhateverTheMail(t *testing.T) {
	base := newDuo(t)
	rapid.Check(t, func(t *rapid.T) {
		d := base.copyFor(t)
		t.Repeat(map[string]func(*rapid.T){
			"pay": d.pay, "pay again": d.pay, "open": d.open, "batch": d.batch, "batch again": d.batch,
			"batch once more": d.batch, "pass": d.pass, "freeze": d.freeze,
			"expire": func(t *rapid.T) {
				d.towns[d.side(t)].must("node", "exchange.expire", exchange.Expire{})
			},
			"": func(t *rapid.T) {
				if d.steps++; d.steps%4 == 0 { // an audit replays the whole book
					d.check(t)
				}
			},
		})
		d.rest(t)
		replayEqual(t, d.towns[0])
	})
}

// TestBatchOfEveryLetter: a whole batch of payments, as large as batches are, is one command that emits one
// event for each, and is taken.
func TestBatchOfEveryLetter(t *testing.T) {
	base := newDuo(t)
	d := base.copyFor(t)
	from, to := d.towns[0], d.towns[1]
	for i := range courier.MaxBatchRecords {
		from.must("Alice", "exchange.pay", exchange.Pay{
			Circle: string(to.id), Code: "IRENE222", Minutes: int64(1 + i%2),
		})
	}
	nonce := courier.Nonce{1}
	to.send(to.command(peerCaller(from), "exchange.session", exchange.Session{Nx: nonce, Ny: nonce}))
	stream := exchange.Outbox(from.kv, to.id, 1, 1<<40)
	var records []letter.Signed
	for _, raw := range stream[len(stream)-courier.MaxBatchRecords:] {
		records = append(records, letter.Sign(from.key, raw))
	}
	batch := exchange.Receive{Nx: nonce, Ny: nonce, Records: records}
	out := to.send(to.command(peerCaller(from), "exchange.receive", batch))
	if out.Refusal != nil || len(out.Events) != courier.MaxBatchRecords {
		t.Fatalf("%v, %d events", out.Refusal, len(out.Events))
	}
	settle(t, from, to)
	d.check(t)
	if fmt.Sprint(d.account(0).Posted) != "96" {
		t.Errorf("%d minutes went over", d.account(0).Posted)
	}
}
