package payment_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"

	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// circle is one end of a pair: its payments, its stream to the other end, and books of its own that know
// nothing but postings.
type circle struct {
	name     string
	key      ed25519.PrivateKey
	id       letter.CircleID
	peer     *circle
	now      int64
	payments map[string]payment.Payment
	tail     letter.Position
	stream   []letter.Signed

	members, holds, mirror int64          // minutes; mirror: what we owe the other circle
	credits                map[string]int // by payment
	voids                  map[string]int
}

func newPair() (north, south *circle) {
	make := func(name string, b byte) *circle {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
		return &circle{
			name: name, key: key, id: letter.CircleIDOf(key.Public().(ed25519.PublicKey)),
			payments: map[string]payment.Payment{}, credits: map[string]int{}, voids: map[string]int{},
		}
	}
	north, south = make("north", 1), make("south", 2)
	north.peer, south.peer = south, north
	return north, south
}

func tid(n int) payment.TID { return payment.TID{15: byte(n)} }

func slot(side payment.Side, id payment.TID) string { return fmt.Sprintf("%s %d", side, id[15]) }

// step applies one input to the payment in a slot, as a circle does: all or nothing.
func (c *circle) step(k string, in payment.Input) (payment.Effects, error) {
	p, effects, err := payment.Step(c.payments[k], in)
	if err != nil {
		return effects, err
	}
	for _, out := range effects.Append {
		r, b, tail, err := letter.Next(c.tail, letter.Record{
			Kind: out.Kind, From: c.id, To: c.peer.id, Body: out.Body, At: c.now,
		})
		if err != nil {
			return effects, err
		}
		c.tail, c.stream = tail, append(c.stream, letter.Sign(c.key, b))
		if r.Kind == letter.Propose {
			p.Propose = b
		}
	}
	for _, post := range effects.Post {
		c.post(k, post, p.Minutes)
	}
	if p.State != payment.None {
		c.payments[k] = p
	}
	return effects, nil
}

func (c *circle) post(k string, post payment.Posting, minutes int64) {
	switch post {
	case payment.Hold:
		c.members, c.holds = c.members-minutes, c.holds+minutes
	case payment.Settle:
		c.holds, c.mirror = c.holds-minutes, c.mirror+minutes
	case payment.Void:
		c.holds, c.members = c.holds-minutes, c.members+minutes
		c.voids[k]++
	case payment.Credit:
		c.members, c.mirror = c.members+minutes, c.mirror-minutes
		c.credits[k]++
	case payment.Refund, payment.Charge, payment.WriteOff:
		panic("nobody asks a hub here")
	}
}

func (c *circle) begin(n int, minutes, expiry int64) (payment.Effects, error) {
	return c.step(slot(payment.Payer, tid(n)), payment.Begin{
		Peer: c.peer.id, Account: "ana", At: c.now,
		Body: payment.ProposeBody{
			TID: tid(n), Minutes: minutes, Alias: "ben", Memo: []byte("memo"), Note: []byte("note"),
			Expiry: expiry,
		},
	})
}

// receive takes a record of the other side's stream, at any time and in any order.
func (c *circle) receive(s letter.Signed, refuse string) (payment.Effects, error) {
	r, _, err := letter.Open(c.peer.key.Public().(ed25519.PublicKey), s)
	if err != nil {
		return payment.Effects{}, err
	}
	var key string
	var in payment.Input
	switch r.Kind {
	case letter.Propose:
		body, err := payment.DecodePropose(r.Body)
		if err != nil {
			return payment.Effects{}, err
		}
		key = slot(payment.Payee, body.TID)
		in = payment.GotPropose{
			Peer: r.From, Body: body, Signed: s, Refuse: refuse, Account: "ben", Note: []byte("own"),
			At: c.now,
		}
	case letter.Accept:
		body, err := payment.DecodeAccept(r.Body)
		if err != nil {
			return payment.Effects{}, err
		}
		key, in = slot(payment.Payer, body.TID), payment.GotAccept{Body: body, At: c.now}
	case letter.Reject:
		body, err := payment.DecodeReject(r.Body)
		if err != nil {
			return payment.Effects{}, err
		}
		key, in = slot(payment.Payer, body.TID), payment.GotReject{Body: body, At: c.now}
	case letter.Cancel:
		body, err := payment.DecodeCancel(r.Body)
		if err != nil {
			return payment.Effects{}, err
		}
		key, in = slot(payment.Payee, body.TID), payment.GotCancel{Peer: r.From, Body: body, At: c.now}
	default:
		return payment.Effects{}, fmt.Errorf("kind %s in a payment test", r.Kind)
	}
	return c.step(key, in)
}

// clock tells every payment the time.
func (c *circle) clock(at int64) ([]payment.Effects, error) {
	c.now = max(c.now, at)
	var all []payment.Effects
	for _, k := range c.slots() {
		effects, err := c.step(k, payment.Clock{At: c.now})
		if err != nil {
			return nil, err
		}
		all = append(all, effects)
	}
	return all, nil
}

func (c *circle) slots() []string {
	var keys []string
	for _, side := range []payment.Side{payment.Payer, payment.Payee} {
		for n := range 256 {
			if k := slot(side, tid(n)); c.payments[k].State != payment.None {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// show is what the scripts print of a step.
func (c *circle) show(effects payment.Effects, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var parts []string
	for _, post := range effects.Post {
		parts = append(parts, "post "+post.String())
	}
	for range effects.Append {
		parts = append(parts, c.showRecord(len(c.stream)))
	}
	if effects.Told != "" {
		parts = append(parts, "tell "+effects.Told)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

func (c *circle) showRecord(n int) string {
	r, err := letter.Decode(c.stream[n-1].Bytes)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("append %d %s", n, r.Kind)
	if r.Kind == letter.Reject {
		if body, err := payment.DecodeReject(r.Body); err == nil {
			text += " " + body.Reason
		}
	}
	return text
}

func (c *circle) String() string {
	s := fmt.Sprintf("%s: members %+d, held %d, owed to the other circle %+d\n",
		c.name, c.members, c.holds, c.mirror)
	for _, k := range c.slots() {
		p := c.payments[k]
		s += fmt.Sprintf("  %s: %s, %d minutes", k, p.State, p.Minutes)
		if p.Cancelled {
			s += ", cancelled"
		}
		if p.Reason != "" {
			s += ", because " + p.Reason
		}
		s += "\n"
	}
	return s
}
