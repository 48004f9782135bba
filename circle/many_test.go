package circle_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
)

// TestManyExpireAtOnce: more payments than one command may tell of are past their time, as after a circle was
// put back to an older copy and took its letters back. They are called back some at a time; asked for all at
// once, it is refused.
func TestManyExpireAtOnce(t *testing.T) {
	const many = machine.MaxEventsOfOne + 10
	d := newDuo(t)
	hb, bh := d.towns[0], d.towns[1]
	for range many {
		hb.must("Alice", "exchange.pay", exchange.Pay{
			Circle: string(bh.id), Code: "IRENE222", Minutes: 1, Patience: 1000,
		})
	}
	hb.now += day
	held := func() int64 {
		a, _ := coin.ReadBooks(hb.kv).Account(coin.Book, hb.people["Alice"])
		return a.HeldOut
	}
	if out := hb.do("node", "exchange.expire", exchange.Expire{}); out.Refusal == nil || out.Refusal.Code !=
		"too_much_at_once" || held() != many {
		t.Fatalf("%+v", out)
	}
	for rounds := 0; exchange.Due(hb.kv, hb.now); rounds++ {
		if rounds > many/exchange.ExpiredAtOnce {
			t.Fatal("it takes more than it should")
		}
		hb.must("node", "exchange.expire", exchange.Expire{Most: exchange.ExpiredAtOnce})
	}
	settle(t, hb, bh)
	if held() != 0 {
		t.Errorf("%d minutes are held still", held())
	}
}
