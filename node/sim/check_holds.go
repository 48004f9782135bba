package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// checkHolds: what is held on an account is the sum of the payments in state held that name it, and of what a
// round puts aside.
func checkHolds(s *sim) {
	for _, t := range s.towns {
		out, in := map[string]int64{}, map[string]int64{}
		t.payments(func(p payment.Payment) {
			if p.State == payment.Held {
				out[p.Account] += p.Minutes
				in[coin.CirclePrefix+string(p.Peer)] += p.Minutes
			}
		})
		for _, a := range netting.Aside(t.state()) {
			out[a.From] += a.Minutes
			in[a.To] += a.Minutes
		}
		t.accounts(func(a ledger.Account) {
			if a.HeldOut != out[a.ID] || a.HeldIn != in[a.ID] {
				s.fail("holds", "%s: %s holds %d out and %d in, the payments make it %d and %d", t.name, a.ID,
					a.HeldOut, a.HeldIn, out[a.ID], in[a.ID])
			}
		})
	}
}
