package main

import (
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/hub"
	"github.com/carecircle/carecircle/node/api"
)

// TestHubDecides pays a circle that is away. Nobody answers, so after its time the payment is put to the hub,
// and the coins come back; when the circle is there again it learns of it and nothing is credited.
func TestHubDecides(t *testing.T) {
	both := twoAllies(t, 1)
	north, south := both[0], both[1]
	office := newKillable(t, "Office")
	office.do(t, office.operator, "hub.open", hub.Open{}, nil)
	for _, c := range both {
		office.meet(t, c)
		c.meet(t, office)
		c.do(t, c.operator, "exchange.hub", exchange.SetHub{Circle: office.id}, nil)
	}
	south.kill()
	payer := north.people[0]
	id, err := api.NewID()
	if err != nil {
		t.Fatal(err)
	}
	paid, err := untilAnswered(t.Context(), payer.client, id.String(), exchange.Pay{
		Circle: south.id, Code: south.people[0].code, Minutes: 60, Patience: 1000,
	})
	if err != nil || paid.refusal != nil {
		t.Fatalf("%+v, %v", paid, err)
	}
	waitUntil(t, "the coins are back", func() (bool, error) {
		var list exchange.Payments
		err := payer.client.View(t.Context(), "exchange.payments", nil, &list)
		return err == nil && len(list.Payments) == 1 && list.Payments[0].State == "returned" &&
			list.Payments[0].Reason == "aborted", err
	})
	south.restart(t).waitReady(t)
	var held [2]int64
	waitUntil(t, "South has heard of it", func() (bool, error) {
		var sent, got uint64
		for i, c := range both {
			var all exchange.Alliances
			if err := c.operator.View(t.Context(), "exchange.alliances", nil, &all); err != nil {
				return false, err
			}
			for _, a := range all.Alliances {
				if a.Circle == both[1-i].id {
					sent, got, held[i] = sent+a.Sent, got+a.Got, a.HeldMinutes
				}
			}
		}
		return sent == got && sent > 0, nil
	})
	if held != [2]int64{} {
		t.Errorf("still on the way: %v", held)
	}
	for _, c := range both {
		var books coin.Overview
		c.view(t, c.operator, "coin.overview", &books)
		for _, a := range books.Accounts {
			if a.Account == c.people[0].id && a.Minutes != dayMinutes {
				t.Errorf("%s: the person has %d minutes, want %d", c.name, a.Minutes, dayMinutes)
			}
		}
	}
}
