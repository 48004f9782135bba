package sim

import (
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/ledger"
	"github.com/fxamacker/cbor/v2"
)

// terms are the part of a pair's row that says what was consented to.
type terms struct {
	Ours  exchange.Terms `cbor:"8,keyasint"`
	Since int64          `cbor:"10,keyasint"`
}

// checkAlliances: at rest, an alliance that both sides consent to is in force at both, with one limit.
func checkAlliances(s *sim) {
	s.pairs(func(a, b *town) {
		here, there := a.terms(b), b.terms(a)
		switch {
		case here.Since == 0 && there.Since == 0 && here.Ours.LimitMinutes == 0:
			return
		case here.Since == 0 || there.Since == 0:
			s.res.Seen["alliance not of both sides"]++
			if alike(here.Ours, there.Ours) {
				s.fail("alliances", "%s and %s consent to %d, in force since %d and %d", a.name, b.name,
					here.Ours.LimitMinutes, here.Since, there.Since)
			}
			return
		}
		s.res.Seen["alliance of both sides"]++
		x, y := a.limits(b), b.limits(a)
		if !alike(here.Ours, there.Ours) || x.Ceiling != y.Ceiling || x.Floor != -y.Ceiling {
			s.fail("alliances", "%s has %d to %d with %s, which has %d to %d", a.name, x.Floor, x.Ceiling,
				b.name, y.Floor, y.Ceiling)
		}
	})
}

func (t *town) limits(other *town) ledger.Account {
	a, _ := coin.ReadBooks(t.state()).Account(coin.Book, coin.CirclePrefix+string(other.id))
	return a
}

func (t *town) terms(other *town) (with terms) {
	prefix := []byte("s/exchange.pair\x00" + string(other.id) + "\x00")
	t.state().Ascend(prefix, nil, func(_, value []byte) bool {
		if err := cbor.Unmarshal(value, &with); err != nil {
			t.s.fail("alliances", "%s: a row cannot be read: %v", t.name, err)
		}
		return false
	})
	return with
}
