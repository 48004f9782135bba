package payment_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// model is two circles that pay each other over a network that may do anything with a record except change
// it: give it again, late, never until the end, or in another order.
type model struct {
	circles [2]*circle
	told    map[string]payment.State // what each side's people were told last, by circle and slot
}

// TestModel runs random histories, checks after each step and again when everything has arrived.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		north, south := newPair()
		m := model{circles: [2]*circle{north, south}, told: map[string]payment.State{}}
		t.Repeat(map[string]func(*rapid.T){
			"begin":   m.begin,
			"deliver": m.deliver,
			"clock":   m.clock,
			"forge":   m.forge,
			"":        m.check,
		})
		m.drain(t)
		m.check(t)
		m.checkAtRest(t)
	})
}

func (m *model) pick(t *rapid.T) *circle { return m.circles[rapid.IntRange(0, 1).Draw(t, "circle")] }

func (m *model) begin(t *rapid.T) {
	c := m.pick(t)
	n := rapid.IntRange(1, 6).Draw(t, "tid")
	expiry := c.now + rapid.Int64Range(1, 20).Draw(t, "life")
	taken := c.payments[slot(payment.Payer, tid(n))].State != payment.None
	_, err := c.begin(n, rapid.Int64Range(1, 100).Draw(t, "minutes"), expiry)
	if taken != errors.Is(err, payment.ErrBegin) {
		t.Fatalf("begin: %v", err)
	}
}

func (m *model) deliver(t *rapid.T) {
	c := m.pick(t)
	if len(c.peer.stream) == 0 {
		t.Skip("nothing was sent")
	}
	s := c.peer.stream[rapid.IntRange(0, len(c.peer.stream)-1).Draw(t, "record")]
	refuse := rapid.SampledFrom([]string{"", "", payment.ReasonLimit}).Draw(t, "refuse")
	if _, err := c.receive(s, refuse); err != nil {
		t.Fatalf("an honest record: %v", err)
	}
}

func (m *model) clock(t *rapid.T) {
	c := m.pick(t)
	if _, err := c.clock(c.now + rapid.Int64Range(0, 15).Draw(t, "later")); err != nil {
		t.Fatal(err)
	}
}

// forge gives a payer an ACCEPT that its peer never gave, with every part good but one.
func (m *model) forge(t *rapid.T) {
	c := m.pick(t)
	n := rapid.IntRange(1, 6).Draw(t, "tid")
	k := slot(payment.Payer, tid(n))
	before := c.payments[k]
	propose := before.Propose
	wrong := append(bytes.Clone(propose), 0)
	if len(c.stream) > 0 && rapid.Bool().Draw(t, "another") {
		wrong = c.stream[rapid.IntRange(0, len(c.stream)-1).Draw(t, "record")].Bytes
	}
	if bytes.Equal(wrong, propose) {
		t.Skip("that would be right")
	}
	in := payment.GotAccept{At: c.now, Body: payment.AcceptBody{
		TID: tid(n), Propose: letter.Sign(c.key, wrong),
	}}
	effects, err := c.step(k, in)
	var violation *payment.Violation
	if !errors.As(err, &violation) || len(effects.Post)+len(effects.Append) > 0 {
		t.Fatalf("%s: forged answer to %s gives %+v, %v", c.name, k, effects, err)
	}
	if got := c.payments[k]; got.State != before.State {
		t.Fatalf("%s: %s went from %s to %s", c.name, k, before.State, got.State)
	}
}

// drain lets every record of both streams arrive, each in order, until no more are written.
func (m *model) drain(t *rapid.T) {
	var at [2]int
	for at[0] < len(m.circles[1].stream) || at[1] < len(m.circles[0].stream) {
		for i, c := range m.circles {
			if at[i] == len(c.peer.stream) {
				continue
			}
			if _, err := c.receive(c.peer.stream[at[i]], ""); err != nil {
				t.Fatal(err)
			}
			at[i]++
		}
	}
}

// allowed is every way a payment may change; what is not here is for ever.
var allowed = map[[2]payment.State]bool{
	{payment.None, payment.Held}: true, {payment.Held, payment.Settled}: true,
	{payment.Held, payment.Returned}: true, {payment.None, payment.Accepted}: true,
	{payment.None, payment.Rejected}: true,
}

// check holds at every moment.
func (m *model) check(t *rapid.T) {
	var between, inFlight int64
	for _, c := range m.circles {
		var held int64
		for _, k := range c.slots() {
			p := c.payments[k]
			was := m.told[c.name+k]
			if was != p.State && !allowed[[2]payment.State{was, p.State}] && was != payment.None {
				t.Fatalf("%s: %s went from %s to %s", c.name, k, was, p.State)
			}
			m.told[c.name+k] = p.State
			if p.State == payment.Held {
				held += p.Minutes
			}
			if c.credits[k]+c.voids[k] > 1 {
				t.Fatalf("%s: %s credited %d, given back %d times", c.name, k, c.credits[k], c.voids[k])
			}
			if p.Side != payment.Payer {
				continue
			}
			there := c.peer.payments[slot(payment.Payee, p.TID)].State
			if p.State == payment.Returned && there != payment.Rejected {
				t.Fatalf("%s: %s given back, but it is %s at the payee", c.name, k, there)
			}
			if p.State == payment.Settled && there != payment.Accepted {
				t.Fatalf("%s: %s settled, but it is %s at the payee", c.name, k, there)
			}
			if p.State != payment.Settled && there == payment.Accepted {
				inFlight += p.Minutes
			}
		}
		if held != c.holds || c.members+c.holds+c.mirror != 0 {
			t.Fatalf("books of %v do not agree with its payments, which hold %d", c, held)
		}
		between += c.mirror
	}
	if between != -inFlight {
		t.Fatalf("mirrors add up to %d with %d in flight:\n%v%v", between, inFlight, m.circles[0],
			m.circles[1])
	}
}

// checkAtRest holds when every record has arrived.
func (m *model) checkAtRest(t *rapid.T) {
	for _, c := range m.circles {
		if c.mirror != -c.peer.mirror {
			t.Fatalf("mirrors at rest:\n%v%v", c, c.peer)
		}
		for _, k := range c.slots() {
			p := c.payments[k]
			if p.Side != payment.Payer {
				continue
			}
			there := c.peer.payments[slot(payment.Payee, p.TID)]
			ends := fmt.Sprintf("%s %s", p.State, there.State)
			if ends != "settled accepted" && ends != "returned rejected" {
				t.Fatalf("%s: %s ends as %s", c.name, k, ends)
			}
			if c.peer.credits[slot(payment.Payee, p.TID)] == 1 != (p.State == payment.Settled) {
				t.Fatalf("%s: %s is %s, credits at the payee do not fit", c.name, k, p.State)
			}
		}
	}
}
