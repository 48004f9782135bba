package export

import (
	"regexp"
	"testing"

	"github.com/carecircle/carecircle/circle/coin"
)

// TestNamesApart: every account has a name of its own in both formats, one that beancount takes.
func TestNamesApart(t *testing.T) {
	accounts := map[string]string{
		coin.Issuance: coin.KindIssuance, coin.Pool: coin.KindPool, "pabc": coin.KindPerson,
		"place/abc": coin.KindPlace, "circle/abc": coin.KindCircle, "loss/abc": coin.KindLoss,
		coin.Suspense: coin.KindSuspense, "suspense/pabc": coin.KindSuspense,
	}
	valid := regexp.MustCompile(`^(Assets|Equity|Expenses)(:[A-Z][A-Za-z0-9-]*)+$`)
	seen := map[string]string{}
	for account, kind := range accounts {
		p := posting{account: account, kind: kind}
		bean, hl := (&beancount{}).name(p), (&hledger{}).name(p)
		if !valid.MatchString(bean) {
			t.Errorf("beancount does not take %q", bean)
		}
		if seen[bean]+seen[hl] != "" {
			t.Errorf("%q and %q are both %q or %q", seen[bean]+seen[hl], account, bean, hl)
		}
		seen[bean], seen[hl] = account, account
	}
}
