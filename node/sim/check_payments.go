package sim

import (
	"strings"

	"github.com/carecircle/carecircle/federation/payment"
)

// states remembers how far every payment had come at each side.
type states struct {
	last map[key][2]known
	made map[key]bool // settled at the payer, and credited by the payee
}

type known struct {
	state   payment.State
	asking  bool
	verdict payment.Verdict
}

func newStates() *states { return &states{last: map[key][2]known{}, made: map[key]bool{}} }

// check: a decision, once taken, never changes, except by the hub's verdict; none is taken while the hub is
// asked; and there is one verdict for both sides.
func (c *states) check(s *sim) {
	for _, t := range s.towns {
		if !t.up {
			continue
		}
		seen := 0
		t.payments(func(p payment.Payment) {
			k, side := keyOf(t, p), p.Side-payment.Payer
			was := c.last[k]
			before, other := was[side], was[1-side].verdict
			decided := before.state != payment.None && before.state != payment.Held
			if before.state != p.State && p.Verdict == 0 && (decided || before.asking) {
				s.fail("decisions", "payment %s at %s was %s (hub asked: %v) and is %s", p.TID, t.name,
					before.state, before.asking, p.State)
			}
			if p.Verdict != 0 && other != 0 && p.Verdict != other {
				s.fail("verdicts", "payment %s: %s at %s, %s at the other end", p.TID, p.Verdict, t.name,
					other)
			}
			was[side] = known{p.State, p.Asking, p.Verdict}
			c.last[k] = was
			if was[0].state == payment.Settled && was[1].state == payment.Accepted {
				c.made[k] = true
			}
			seen++
		})
	}
}

// stand: a payment that was made at both ends is never unmade, whoever is put back to an older copy. It may
// be forgotten, where both are.
func (c *states) stand(s *sim) {
	for _, t := range s.towns {
		t.payments(func(p payment.Payment) {
			switch p.State {
			case payment.Returned, payment.WrittenOff, payment.Rejected:
				if c.made[keyOf(t, p)] && s.honest(t.id, p.Peer) {
					s.fail("stands", "payment %s was made, and is %s at %s", p.TID, p.State, t.name)
				}
			default:
			}
		})
	}
}

// checkPayments: at rest every payment is decided; settled if it was accepted, returned if not. It counts
// them as well.
func checkPayments(s *sim) {
	decided := map[key]payment.State{} // at the payee
	for _, t := range s.towns {
		t.payments(func(p payment.Payment) {
			if p.Side == payment.Payee && s.honest(t.id, p.Peer) {
				decided[keyOf(t, p)] = p.State
			}
		})
	}
	for _, t := range s.towns {
		t.payments(func(p payment.Payment) {
			if p.Side != payment.Payer || !s.honest(t.id, p.Peer) {
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
			case p.State == payment.Returned && there == payment.WrittenOff:
				s.res.Returned++
				s.res.WrittenOff++
			case p.State == payment.Returned && there == payment.None && p.Account == "": // a tombstone
			default:
				s.fail("payments", "%s of %s: %s here, %s there", p.TID, t.name, p.State, there)
			}
			delete(decided, keyOf(t, p))
		})
	}
	for k, state := range decided {
		if state == payment.Accepted || state == payment.WrittenOff {
			s.fail("payments", "%s: %s, but never sent", k.id, state)
		}
	}
}
