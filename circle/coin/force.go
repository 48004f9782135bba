package coin

import (
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/ledger"
)

// Force is Move for what was decided elsewhere and cannot be refused any more: whatever limits the accounts
// have, and also where one is stopped. Both have their limits back afterwards, so that the next movement
// keeps to them. Accounts for losses and for people not known any more are opened when first needed.
func Force(tx *machine.Tx, m Movement) (Act, error) {
	var before []ledger.AccountSpec
	for _, id := range []string{m.From, m.To} {
		if err := openForced(tx, id); err != nil {
			return Act{}, err
		}
		a, ok := Store(tx).Account(Book, id)
		if !ok {
			continue // Move says so
		}
		spec := a.Spec()
		before = append(before, spec)
		spec.Floor, spec.Ceiling, spec.State = -ledger.Unlimited, ledger.Unlimited, ledger.StateOpen
		if err := ledger.Amend(Store(tx), tx.Now(), spec); err != nil {
			return Act{}, err
		}
	}
	act, err := Move(tx, m)
	if err != nil {
		return Act{}, err
	}
	for _, spec := range before {
		if err := ledger.Amend(Store(tx), tx.Now(), spec); err != nil {
			return Act{}, err
		}
	}
	return act, nil
}

func openForced(tx *machine.Tx, id string) error {
	switch kind := kindOf(id); kind {
	case KindLoss, KindSuspense:
		if _, ok := Store(tx).Account(Book, id); ok {
			return nil
		}
		return open(tx, id, kind, -ledger.Unlimited, ledger.Unlimited)
	case KindCircle: // of a forgotten alliance, which is heard of again and gives it a limit
		if _, ok := Store(tx).Account(Book, id); ok {
			return nil
		}
		return open(tx, id, kind, 0, 0)
	case KindPerson:
		return openKnown(tx, id)
	default:
		return nil
	}
}

// Holder is the account for coins of a person: their own, or one for people not known any more. Where each of
// those has one, the coins are theirs again as soon as they are known: see GiveBack.
func Holder(r machine.Reader, person string, each bool) string {
	if _, ok := member.Find(r, person); ok {
		return person
	}
	if each && person != "" {
		return SuspensePrefix + person
	}
	return Suspense
}

// GiveBack gives somebody who is known again what was kept for them, or has them owe it. Person may be the
// account that it is kept on.
func GiveBack(tx *machine.Tx, person string) error {
	person = strings.TrimPrefix(person, SuspensePrefix)
	kept, ok := Store(tx).Account(Book, SuspensePrefix+person)
	if _, known := member.Find(tx, person); !ok || !known || kept.Posted == 0 {
		return nil
	}
	m := Movement{
		Op: ledger.OpPost, ID: tx.Fresh(), From: kept.ID, To: person, Minutes: kept.Posted,
		Act: Act{Reason: ReasonKept, Note: machine.Private{Of: person}},
	}
	if m.Minutes < 0 {
		m.From, m.To, m.Minutes = m.To, m.From, -m.Minutes
	}
	_, err := Force(tx, m)
	return err
}
