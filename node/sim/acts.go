package sim

import (
	"bytes"
	"slices"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
)

// act does the client's next thing, unless the run is winding down.
func (c *client) act() {
	if c.s.calm {
		return
	}
	again := func() { c.s.after(c.s.dice.between(20, 500), c.act) }
	if len(c.did) > 0 && c.s.dice.chance(60) {
		c.repeat(pick(&c.s.dice, c.did))
		again()
		return
	}
	var r *request
	r = c.s.request(c.town, c.draw(), func(answer) {
		c.did = append(c.did, r)
		again()
	})
}

// repeat sends an answered request again, or something else under its id.
func (c *client) repeat(old *request) {
	if old.reuse || c.s.dice.chance(700) {
		c.s.resend(old)
		return
	}
	other := c.draw()
	other.ID = old.cmd.ID
	reuse := old.answer.position > 0 && !old.lost && !sameCommand(old.cmd, other)
	c.s.request(c.town, other, nil).reuse = reuse
}

func sameCommand(a, b machine.Command) bool {
	return a.Kind == b.Kind && a.Caller == b.Caller && bytes.Equal(a.Body, b.Body)
}

// resend sends a request once more although it was answered.
func (s *sim) resend(r *request) {
	s.after(s.dice.between(1, 300), func() { s.reached(r) })
}

// draw draws what somebody does next.
func (c *client) draw() machine.Command {
	d, t := &c.s.dice, c.town
	who := pick(d, t.people)
	kind, body := c.drawAtHome(who)
	n := d.below(100)
	switch {
	case n < 66:
		kind, body = "exchange.pay", c.drawPay()
	case n < 70:
		code := c.s.newCode()
		t.codes = append(t.codes, code)
		kind, body = "exchange.code", exchange.SetCode{Code: code}
	case n < 84:
		who, kind, body = c.drawDuty()
	case n < 95 && c.s.movesAbout():
		if by, kind, body, ok := c.drawMove(who); ok {
			return c.s.command(by, kind, body)
		}
	}
	return c.s.command(machine.Caller{Actor: who}, kind, body)
}

// drawPay is a payment to another circle: now and then to nobody, too large, or with little patience.
func (c *client) drawPay() exchange.Pay {
	d := &c.s.dice
	to := pick(d, c.s.towns)
	for to == c.town {
		to = pick(d, c.s.towns)
	}
	if c.s.roundsAbout() && d.chance(800) { // round loops
		to = c.s.towns[(slices.Index(c.s.towns, c.town)+1)%len(c.s.towns)]
	}
	p := exchange.Pay{
		Circle: string(to.id), Code: c.code(to), Minutes: d.between(1, 90), Activity: "company",
	}
	if d.chance(80) {
		p.Code = "NOBODY22"
	}
	if d.chance(60) {
		p.Minutes = d.between(300, 3000)
	}
	if d.chance(450) {
		p.Patience = d.between(1000, 3000)
	}
	if d.chance(10) {
		p.Minutes = 0
	}
	return p
}

// code is one of the newest receiving codes of a town, now and then one that may be out of date.
func (c *client) code(to *town) string {
	newest := to.codes
	if c.s.dice.chance(850) {
		newest = newest[len(newest)-min(len(newest), len(to.people)):]
	}
	return pick(&c.s.dice, newest)
}

// drawAtHome is something a member does within their circle.
func (c *client) drawAtHome(who string) (kind string, body any) {
	d, t := &c.s.dice, c.town
	switch d.below(6) {
	case 0:
		to := pick(d, []string{"", coin.Pool, placeAccount, "place/none"})
		return "coin.autogift", coin.AutoGift{To: to}
	case 1, 2:
		to := pick(d, append([]string{coin.Pool, placeAccount, "nobody", who}, t.people...))
		return "coin.give", coin.Give{To: to, Minutes: d.between(1, 120), Note: machine.Text("", "a poem")}
	default:
		return "coin.pay", coin.Pay{To: pick(d, t.people), Minutes: d.between(1, 150), Activity: "a lift"}
	}
}

// drawDuty is something a coordinator does, or the operator; now and then somebody tries who may not.
func (c *client) drawDuty() (who, kind string, body any) {
	d, t := &c.s.dice, c.town
	who = pick(d, []string{t.people[0], machine.ActorOperator})
	if d.chance(50) {
		who = pick(d, t.people)
	}
	person := pick(d, t.people)
	switch d.below(6) {
	case 0:
		return who, "coin.welcome", coin.Welcome{Person: person}
	case 1:
		account := pick(d, append([]string{coin.Pool, placeAccount}, t.people...))
		return who, "coin.freeze", coin.Freeze{
			Account: account, Frozen: d.chance(500), Why: machine.Text("", "a talk"),
		}
	case 2:
		if len(c.did) > 0 {
			return who, "coin.reverse", coin.Reverse{
				Transfer: pick(d, c.did).cmd.ID, Why: machine.Text("", "a mistake"),
			}
		}
	}
	minutes := d.between(10, 120)
	if d.chance(60) {
		minutes = d.between(300, 700) // more than a day may bring, sooner or later
	}
	return who, "coin.earn", coin.Earn{Person: person, Minutes: minutes, Activity: "garden"}
}
