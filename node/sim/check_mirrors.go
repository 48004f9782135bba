package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/netting"
	"github.com/carecircle/carecircle/federation/payment"
)

// checkMirrors: the account of another circle is what was settled there less what was credited from there;
// and unless one of the two was just put back to an older copy, nothing is settled at one end that is not
// credited at the other, and nothing returned that is, but for what a verdict has yet to put right.
func checkMirrors(s *sim) {
	s.pairs(func(a, b *town) {
		var made int64
		ours, theirs := map[payment.TID]payment.Payment{}, map[payment.TID]payment.Payment{}
		a.payments(func(p payment.Payment) {
			switch {
			case p.Peer != b.id:
			case p.Side == payment.Payer:
				ours[p.TID] = p
				if p.State == payment.Settled {
					made += p.Minutes
				}
			case p.State == payment.Accepted:
				made -= p.Minutes
			}
		})
		acc, _ := coin.ReadBooks(a.state()).Account(coin.Book, coin.CirclePrefix+string(b.id))
		made += netting.SetOff(a.state(), string(b.id))
		if acc.Posted != made {
			s.fail("mirrors", "%s has %d for %s, its payments make %d", a.name, acc.Posted, b.name, made)
		}
		if !s.settled(a, b) {
			return
		}
		b.payments(func(p payment.Payment) {
			if p.Peer == a.id && p.Side == payment.Payee {
				theirs[p.TID] = p
			}
		})
		for id, p := range ours {
			compareEnds(s, a, b, p, theirs[id])
		}
		for id, p := range theirs {
			if ours[id].State == payment.None && p.State == payment.Accepted {
				s.fail("mirrors", "payment %s: credited by %s, not known to %s", id, b.name, a.name)
			}
		}
	})
}

// compareEnds looks at one payment at both ends, at any time.
func compareEnds(s *sim, payer, payee *town, p, q payment.Payment) {
	ok := true
	switch p.State {
	case payment.Settled:
		ok = q.State == payment.Accepted || q.State == payment.WrittenOff || p.Verdict == payment.Commit
	case payment.Returned:
		ok = q.State != payment.Accepted || p.Verdict == payment.Abort
	default: // not decided here
	}
	if q.State == payment.Accepted && p.Minutes != q.Minutes {
		ok = false
	}
	if !ok {
		s.fail("mirrors", "payment %s of %d: %s at %s, %s with %d at %s", p.TID, p.Minutes, p.State,
			payer.name, q.State, q.Minutes, payee.name)
	}
}

// checkFrozen: no circle here breaks a promise, so no pair is ever stopped.
func checkFrozen(s *sim) {
	s.pairs(func(a, b *town) {
		if p := a.peerState(b); p.Frozen {
			s.fail("frozen", "%s has stopped exchange with %s: %s", a.name, b.name, p.Why)
		}
	})
}
