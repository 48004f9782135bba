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
func (s *sim) checkers() []checker {
	s.states, s.read = newStates(), newReadings()
	return []checker{
		checkSums, checkHolds, checkMirrors, checkFrozen, s.states.check, s.read.check, checkBooks,
		checkHomes, checkRounds,
	}
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
		if s.opt.Seed%replayEvery == 0 {
			checkAudit(s, t)
			checkReplay(s, t)
		}
	}
	if !s.alone() {
		checkReplicas(s)
	}
	for _, t := range s.towns {
		for _, p := range t.peers() {
			if p.Frozen {
				s.res.Seen["pair stopped"]++
			}
		}
	}
	checkStreams(s)
	s.checkAnswers()
	checkPayments(s)
	s.states.stand(s)
	checkAlliances(s)
}

// seen is what was last read of a state, kept while that part of it is the same.
type seen struct {
	of       *watched
	print    uint64
	payments []payment.Payment
	pairs    int
	peers    []exchange.PeerState
}

// peers are what a town knows of the others.
func (t *town) peers() []exchange.PeerState {
	kv := t.leader().kv
	if t.seen.peers == nil || t.seen.of != kv || t.seen.pairs != kv.pairs {
		t.look(kv)
		t.seen.peers, t.seen.pairs = exchange.Peers(kv), kv.pairs
	}
	return t.seen.peers
}

func (t *town) look(kv *watched) {
	if t.seen.of != kv {
		t.seen = seen{of: kv}
	}
}

var paymentRows = machine.NewTable[payment.Payment]("exchange", "payment")

// payments calls each for all payments of a town, of both sides. They are read as they lie in the state:
// checkers trust no view.
func (t *town) payments(each func(payment.Payment)) {
	kv := t.leader().kv
	t.look(kv)
	if t.seen.payments == nil || t.seen.print != kv.print {
		t.seen.payments, t.seen.print = []payment.Payment{}, kv.print
		for _, p := range paymentRows.All(kv, nil, nil) {
			t.seen.payments = append(t.seen.payments, p)
		}
	}
	for _, p := range t.seen.payments {
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
			if a != b && a.up && b.up && s.honest(a.id, b.id) {
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
