package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/ledger"
)

// checkSums: every book sums to zero, and what is held to go out is held to come in.
func checkSums(s *sim) {
	for _, t := range s.towns {
		var sum, out, in int64
		t.accounts(func(a ledger.Account) {
			sum += a.Posted
			out += a.HeldOut
			in += a.HeldIn
		})
		if sum != 0 || out != in {
			s.fail("sums", "%s: the accounts sum to %d, held out %d, held in %d", t.name, sum, out, in)
		}
	}
}

// checkAudit: the ledger's own audit finds nothing.
func checkAudit(s *sim, t *town) {
	report, err := ledger.Audit(coin.ReadBooks(t.state()))
	if err != nil || len(report.Findings) > 0 {
		s.fail("audit", "%s: %v, %d findings", t.name, err, len(report.Findings))
	}
}
