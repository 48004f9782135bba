package payment_test

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// TestScripts runs testdata/*.txt: the protocol as stories of two circles, north and south.
//
//	begin CIRCLE tid=N minutes=M expiry=T   a member pays
//	clock CIRCLE at=T                       its ledger time is T now
//	give CIRCLE record=N [refuse=REASON]    the Nth record of the other circle's stream arrives
//	forge CIRCLE tid=N embed=R              an ACCEPT arrives that embeds the circle's own record R
//	forge CIRCLE tid=N reason=R [names=R]   a REJECT arrives that names record R, or no PROPOSE
//	books                                   both circles' books and payments
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		north, south := newPair()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "books" {
				return north.String() + south.String()
			}
			c := north
			if d.CmdArgs[0].Key == "south" {
				c = south
			}
			return run(t, c, d) + "\n"
		})
	})
}

func run(t *testing.T, c *circle, d *datadriven.TestData) string {
	number := func(name string) (n int) {
		d.ScanArgs(t, name, &n)
		return n
	}
	switch d.Cmd {
	case "begin":
		return c.show(c.begin(number("tid"), int64(number("minutes")), int64(number("expiry"))))
	case "give":
		var refuse string
		if d.HasArg("refuse") {
			d.ScanArgs(t, "refuse", &refuse)
		}
		return c.show(c.receive(c.peer.stream[number("record")-1], refuse))
	case "clock":
		all, err := c.clock(int64(number("at")))
		text := ""
		for _, effects := range all {
			if text != "" {
				text += "\n"
			}
			text += c.show(effects, err)
		}
		if text == "" {
			return c.show(payment.Effects{}, err)
		}
		return text
	case "forge":
		id := tid(number("tid"))
		if d.HasArg("embed") {
			body := payment.AcceptBody{TID: id, Propose: c.stream[number("embed")-1]}
			return c.show(c.step(slot(payment.Payer, id), payment.GotAccept{At: c.now, Body: body}))
		}
		var reason string
		d.ScanArgs(t, "reason", &reason)
		body := payment.RejectBody{TID: id, Reason: reason}
		if d.HasArg("names") {
			body.Propose = letter.HashOf(c.stream[number("names")-1].Bytes)
		}
		return c.show(c.step(slot(payment.Payer, id), payment.GotReject{At: c.now, Body: body}))
	}
	t.Fatalf("%s: no such command", d.Cmd)
	return ""
}
