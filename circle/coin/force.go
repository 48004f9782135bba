package coin

import (
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

// Holder is the account for coins of a person: their own, or the one for people not known any more.
func Holder(r machine.Reader, person string) string {
	if _, ok := member.Find(r, person); ok {
		return person
	}
	return Suspense
}
