package clearing

import (
	"fmt"
	"slices"
	"strings"
)

// Check says whether a proposal is right for what it says the obligations are: nil, or the first thing wrong.
// It knows nothing of how proposals are found. A circle compares those obligations that are its own with its
// books.
//
// Why the labels prove that nothing better exists: set-off goes round, so along it labels go up as much as
// down. Every minute that stays is on an obligation whose label goes up by one at least, every minute that
// goes on one where it goes up by one at most; so no other way round leaves fewer minutes.
func Check(p Proposal) error {
	var before, gone int64
	sums := make([]int64, len(p.Labels))
	next := 0
	for i, o := range p.Obligations {
		if err := o.check(); err != nil {
			return fmt.Errorf("obligation %d: %w", i+1, err)
		}
		if i > 0 && compare(p.Obligations[i-1], o) >= 0 {
			return fmt.Errorf("obligation %d, of %s to %s, is out of order or there twice", i+1, o.Debtor,
				o.Creditor)
		}
		if before += o.Minutes; before > MaxMinutes {
			return fmt.Errorf("the obligations come to more than %d minutes", int64(MaxMinutes))
		}
		var change int64
		if next < len(p.Changes) && compare(p.Changes[next], o) == 0 {
			if change = p.Changes[next].Minutes; change <= 0 || change > o.Minutes {
				return fmt.Errorf("%s owes %s %d minutes: they cannot get %d less", o.Debtor, o.Creditor,
					o.Minutes, change)
			}
			next++
		}
		from, to, err := ends(p.Labels, o)
		if err != nil {
			return err
		}
		sums[from] -= change
		sums[to] += change
		gone += change
		switch up := p.Labels[to].Label - p.Labels[from].Label; {
		case change > 0 && up > 1:
			return fmt.Errorf("more could be set off otherwise: see %s to %s, where the label goes up by %d",
				o.Debtor, o.Creditor, up)
		case change < o.Minutes && up < 1:
			return fmt.Errorf("more could be set off: see %s to %s, where the label goes up by %d", o.Debtor,
				o.Creditor, up)
		}
	}
	if next < len(p.Changes) {
		c := p.Changes[next]
		return fmt.Errorf("the change of %d minutes of %s to %s is of no obligation, or out of order",
			c.Minutes, c.Debtor, c.Creditor)
	}
	for i, sum := range sums {
		if sum != 0 {
			return fmt.Errorf("%s would be owed %d minutes more in all: its position must stay",
				p.Labels[i].Circle, -sum)
		}
	}
	if p.GrossBefore != before || p.GrossAfter != before-gone {
		return fmt.Errorf("it says %d minutes before and %d after; they are %d and %d", p.GrossBefore,
			p.GrossAfter, before, before-gone)
	}
	return nil
}

// ends finds the labels of both circles.
func ends(labels []Label, o Obligation) (from, to int, err error) {
	find := func(name string) (int, bool) {
		return slices.BinarySearchFunc(labels, name, func(l Label, name string) int {
			return strings.Compare(l.Circle, name)
		})
	}
	from, one := find(o.Debtor)
	to, two := find(o.Creditor)
	if !one || !two {
		return 0, 0, fmt.Errorf("the labels lack %s or %s, or are out of order", o.Debtor, o.Creditor)
	}
	for _, l := range []Label{labels[from], labels[to]} {
		if l.Label < -maxLabel || l.Label > maxLabel {
			return 0, 0, fmt.Errorf("the label of %s is %d, which no way round has", l.Circle, l.Label)
		}
	}
	return from, to, nil
}
