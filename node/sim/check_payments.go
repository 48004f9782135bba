package sim

import (
	"strings"

	"github.com/carecircle/carecircle/federation/payment"
)

// states remembers how far every payment had come at each side.
type states struct{ last map[key][2]payment.State }

func newStates() *states { return &states{last: map[key][2]payment.State{}} }

// check: a decision, once taken, never changes.
func (c *states) check(s *sim) {
	for _, t := range s.towns {
		if !t.up {
			continue
		}
		seen := 0
		t.payments(func(p payment.Payment) {
			k, side := keyOf(t, p), p.Side-payment.Payer
			was := c.last[k]
			if before := was[side]; before != p.State && before != payment.None && before != payment.Held {
				s.fail("decisions", "payment %s at %s was %s and is %s", p.TID, t.name, before, p.State)
			}
			was[side] = p.State
			c.last[k] = was
			seen++
		})
	}
}

// checkPayments: at rest every payment is decided; settled if it was accepted, returned if not. It counts
// them as well.
func checkPayments(s *sim) {
	decided := map[key]payment.State{}
	for _, t := range s.towns {
		t.payments(func(p payment.Payment) {
			if p.Side == payment.Payee {
				decided[keyOf(t, p)] = p.State
			}
		})
	}
	for _, t := range s.towns {
		t.payments(func(p payment.Payment) {
			if p.Side != payment.Payer {
				return
			}
			s.res.Payments++
			end := []string{"payment", p.State.String()}
			if p.Reason != "" {
				end = append(end, p.Reason)
			}
			if p.Cancelled {
				end = append(end, "recalled")
				s.res.Recalled++
			}
			s.res.Seen[strings.Join(end, " ")]++
			switch there := decided[keyOf(t, p)]; {
			case p.State == payment.Settled && there == payment.Accepted:
				s.res.Settled++
			case p.State == payment.Returned && there == payment.Rejected:
				s.res.Returned++
			default:
				s.fail("payments", "%s of %s: %s here, %s there", p.TID, t.name, p.State, there)
			}
			delete(decided, keyOf(t, p))
		})
	}
	for k, state := range decided {
		if state == payment.Accepted {
			s.fail("payments", "%s: accepted, but never sent", k.id)
		}
	}
}
