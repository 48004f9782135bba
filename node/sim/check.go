package sim

import (
	"crypto/ed25519"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
	"github.com/carecircle/carecircle/ledger"
)

// checker looks at the whole federation, in every round.
type checker func(s *sim)

// checkers returns those of every round, for one run: some remember what they saw.
func checkers() []checker {
	states := newStates()
	read := newReadings()
	return []checker{checkSums, checkHolds, checkMirrors, checkFrozen, states.check, read.check, checkBooks}
}

// round runs the checkers of every round.
func (s *sim) round() {
	for _, check := range s.rounds {
		check(s)
	}
}

// lastRound runs those that look at the end, at rest.
func (s *sim) lastRound() {
	for _, t := range s.towns {
		checkAudit(s, t)
		checkReplay(s, t)
	}
	checkReplicas(s)
	checkStreams(s)
	s.checkAnswers()
	checkPayments(s)
	checkAlliances(s)
}

// seen is what was last read of a state, kept while the state is the same.
type seen struct {
	print    uint64
	payments []payment.Payment
	peers    []exchange.PeerState
}

func (t *town) look() *seen {
	if print := t.leader().kv.print; t.seen == nil || t.seen.print != print {
		t.seen = &seen{print: print, peers: exchange.Peers(t.state())}
	}
	return t.seen
}

// peers are what a town knows of the others.
func (t *town) peers() []exchange.PeerState { return t.look().peers }

// payments calls each for all payments of a town, of both sides. They are read as they lie in the state:
// checkers trust no view.
func (t *town) payments(each func(payment.Payment)) {
	l := t.look()
	if l.payments == nil {
		for _, p := range machine.NewTable[payment.Payment]("exchange", "payment").All(t.state(), nil, nil) {
			l.payments = append(l.payments, p)
		}
	}
	for _, p := range l.payments {
		each(p)
	}
}

// accounts calls each for all coin accounts of a town.
func (t *town) accounts(each func(ledger.Account)) {
	coin.ReadBooks(t.state()).Accounts(coin.Book, func(a ledger.Account) bool {
		each(a)
		return true
	})
}

// peerState is what a town knows of its stream to and from another.
func (t *town) peerState(other *town) exchange.PeerState {
	for _, p := range t.peers() {
		if p.Circle == other.id {
			return p
		}
	}
	return exchange.PeerState{}
}

func (t *town) public() ed25519.PublicKey { return t.key.Public().(ed25519.PublicKey) }

// pairs calls each for every two towns, both of which are running, in both orders.
func (s *sim) pairs(each func(a, b *town)) {
	for _, a := range s.towns {
		for _, b := range s.towns {
			if a != b && a.up && b.up {
				each(a, b)
			}
		}
	}
}

// key names a payment within the federation: payer, payee, id.
type key struct {
	payer, payee letter.CircleID
	id           payment.TID
}

// keyOf names a payment as one of the two sides keeps it.
func keyOf(t *town, p payment.Payment) key {
	if p.Side == payment.Payer {
		return key{t.id, p.Peer, p.TID}
	}
	return key{p.Peer, t.id, p.TID}
}
