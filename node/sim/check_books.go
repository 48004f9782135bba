package sim

import (
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/ledger"
)

// checkBooks: the auditor, who heard of nothing but commands and letters, has every balance as the circle.
func checkBooks(s *sim) {
	if s.lawless() {
		return
	}
	for _, t := range s.towns {
		if !t.up || t.leader().applied != t.books.judged || t == s.liar {
			continue
		}
		if at := machine.ReadMeta(t.state()).At; at != t.books.at {
			s.fail("auditor", "%s: ledger time is %d, the auditor says %d", t.name, at, t.books.at)
		}
		n := 0
		t.accounts(func(a ledger.Account) {
			n++
			want := t.books.accounts[a.ID]
			if want == nil {
				s.fail("auditor", "%s: has no account %s", t.name, a.ID)
				return
			}
			if a.Posted != want.posted || a.HeldOut != want.out || a.HeldIn != want.in ||
				(a.State == ledger.StateFrozen) != want.frozen {
				s.fail("auditor", "%s: %s has %d, holds %d out and %d in; the auditor says %d, %d and %d",
					t.name, a.ID, a.Posted, a.HeldOut, a.HeldIn, want.posted, want.out, want.in)
			}
		})
		if n != len(t.books.accounts) {
			s.fail("auditor", "%s: has %d accounts, the auditor says %d", t.name, n, len(t.books.accounts))
		}
	}
}
