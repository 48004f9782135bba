package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/federation/payment"
)

// checkMirrors: the two accounts of an alliance differ by exactly what one side accepted and the other has
// not settled yet. Nothing is settled that was not accepted, and nothing returned that was.
func checkMirrors(s *sim) {
	s.pairs(func(a, b *town) {
		if a.name > b.name {
			return
		}
		unsettled := s.unsettled(a, b) + s.unsettled(b, a)
		of := func(t, other *town) int64 {
			acc, _ := coin.ReadBooks(t.state()).Account(coin.Book, coin.CirclePrefix+string(other.id))
			return acc.Posted
		}
		if x, y := of(a, b), of(b, a); x+y != -unsettled {
			s.fail("mirrors", "%s has %d for %s, %s has %d for %s, and %d is on its way", a.name, x, b.name,
				b.name, y, a.name, unsettled)
		}
	})
}

// unsettled adds up what the payee side accepted and the payer side has not settled.
func (s *sim) unsettled(payer, payee *town) (minutes int64) {
	ours := map[payment.TID]payment.Payment{}
	payer.payments(func(p payment.Payment) {
		if p.Side == payment.Payer && p.Peer == payee.id {
			ours[p.TID] = p
		}
	})
	accepted := map[payment.TID]bool{}
	payee.payments(func(p payment.Payment) {
		if p.Side != payment.Payee || p.Peer != payer.id || p.State != payment.Accepted {
			return
		}
		accepted[p.TID] = true
		switch own := ours[p.TID]; {
		case own.State == payment.Held && own.Minutes == p.Minutes:
			minutes += p.Minutes
		case own.State != payment.Settled || own.Minutes != p.Minutes:
			s.fail("mirrors", "payment %s of %d: accepted by %s, %s at %s with %d", p.TID, p.Minutes,
				payee.name, own.State, payer.name, own.Minutes)
		}
	})
	payer.payments(func(p payment.Payment) {
		if p.State == payment.Settled && p.Peer == payee.id && !accepted[p.TID] {
			s.fail("mirrors", "payment %s: settled by %s, not accepted by %s", p.TID, payer.name, payee.name)
		}
	})
	return minutes
}

// checkFrozen: no circle here breaks a promise, so no pair is ever stopped.
func checkFrozen(s *sim) {
	s.pairs(func(a, b *town) {
		if a.peerState(b).Frozen {
			s.fail("frozen", "%s has stopped exchange with %s", a.name, b.name)
		}
	})
}
