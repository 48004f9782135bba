// Package clearing sets off what circles owe each other in round loops: A owes B, B owes C, C owes A. Of all
// ways to do that it finds one that sets off the most, without changing what any circle owes or is owed in
// all. Whoever doubts it can check the result by itself: see Check.
package clearing

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Limits of this package.
const (
	// MaxCircles and MaxObligations bound one round.
	MaxCircles     = 1 << 20
	MaxObligations = 1 << 23
	// MaxMinutes bounds the sum of all obligations, so that no sum of some of them overflows.
	MaxMinutes = 1 << 60
	// MaxNameBytes bounds a circle's name.
	MaxNameBytes = 128

	maxLabel = MaxCircles // a way along obligations has no more hops
)

// ErrObligation: an obligation that makes no sense, or more of them than there can be.
var ErrObligation = errors.New("obligation not acceptable")

// Obligation is what one circle owes another, or of an obligation the part that is set off.
type Obligation struct {
	Debtor   string `cbor:"1,keyasint" json:"debtor"`
	Creditor string `cbor:"2,keyasint" json:"creditor"`
	Minutes  int64  `cbor:"3,keyasint" json:"minutes"` // more than 0
}

func compare(a, b Obligation) int {
	return cmp.Or(strings.Compare(a.Debtor, b.Debtor), strings.Compare(a.Creditor, b.Creditor))
}

// Label is a circle's place in the proof that nothing better exists.
type Label struct {
	Circle string `cbor:"1,keyasint" json:"circle"`
	Label  int64  `cbor:"2,keyasint" json:"label"`
}

// Proposal is what to set off. Obligations, Changes and Labels are in order of names, each pair once.
type Proposal struct {
	Obligations []Obligation `cbor:"1,keyasint" json:"obligations"` // as they were
	// Changes are by how much each gets less; those that stay are left out.
	Changes     []Obligation `cbor:"2,keyasint" json:"changes"`
	GrossBefore int64        `cbor:"3,keyasint" json:"grossBefore"` // minutes, of all obligations together
	GrossAfter  int64        `cbor:"4,keyasint" json:"grossAfter"`
	// Labels prove that nothing more can be set off: from debtor to creditor of an obligation that is not
	// wholly gone the label goes up by one at least, of one that gets less by one at most.
	Labels []Label `cbor:"5,keyasint" json:"labels"`
}

// Solve returns the proposal for obligations in any order; those between the same two circles count together.
// The same obligations give the same proposal. The error is ErrObligation and names the obligation's place,
// from 1.
func Solve(obligations []Obligation) (Proposal, error) {
	names, arcs, err := index(obligations)
	if err != nil {
		return Proposal{}, err
	}
	g := newNetwork(len(names), arcs)
	g.solve()
	p := Proposal{Obligations: make([]Obligation, 0, len(arcs)), Changes: make([]Obligation, 0, len(arcs))}
	for i, a := range arcs {
		o := Obligation{Debtor: names[a.from], Creditor: names[a.to], Minutes: a.minutes}
		p.Obligations = append(p.Obligations, o)
		p.GrossBefore += o.Minutes
		if o.Minutes = g.setOff(i); o.Minutes > 0 {
			p.Changes = append(p.Changes, o)
			p.GrossAfter -= o.Minutes
		}
	}
	p.GrossAfter += p.GrossBefore
	p.Labels = make([]Label, 0, len(names))
	for i, name := range names {
		p.Labels = append(p.Labels, Label{Circle: name, Label: g.label(i)})
	}
	return p, nil
}

// arc is an obligation between circles by number.
type arc struct {
	from, to int32
	minutes  int64
}

// index numbers the circles in order of their names and returns the obligations in order of both, each once.
func index(obligations []Obligation) (names []string, arcs []arc, err error) {
	if len(obligations) > MaxObligations {
		return nil, nil, fmt.Errorf("%d obligations, at most %d: %w", len(obligations), MaxObligations,
			ErrObligation)
	}
	numbers := newNumbers()
	arcs = make([]arc, 0, len(obligations))
	var sum int64
	for i, o := range obligations {
		if err := o.check(); err != nil {
			return nil, nil, fmt.Errorf("obligation %d: %w", i+1, err)
		}
		if sum += o.Minutes; sum > MaxMinutes {
			return nil, nil, fmt.Errorf("obligation %d: all together come to more than %d minutes: %w", i+1,
				int64(MaxMinutes), ErrObligation)
		}
		arcs = append(arcs, arc{numbers.of(o.Debtor), numbers.of(o.Creditor), o.Minutes})
	}
	if n := len(numbers.names); n > MaxCircles {
		return nil, nil, fmt.Errorf("%d circles, at most %d: %w", n, MaxCircles, ErrObligation)
	}
	names, places := numbers.sorted()
	for i := range arcs {
		arcs[i].from, arcs[i].to = places[arcs[i].from], places[arcs[i].to]
	}
	arcs = inOrder(inOrder(arcs, len(names), func(a arc) int32 { return a.to }), len(names),
		func(a arc) int32 { return a.from })
	kept := arcs[:0]
	for _, a := range arcs {
		if last := len(kept) - 1; last >= 0 && kept[last].from == a.from && kept[last].to == a.to {
			kept[last].minutes += a.minutes
			continue
		}
		kept = append(kept, a)
	}
	return names, kept, nil
}

// inOrder sorts by one of both circles, and leaves those with the same as they were.
func inOrder(arcs []arc, circles int, of func(arc) int32) []arc {
	next := make([]int32, circles+1)
	for _, a := range arcs {
		next[of(a)+1]++
	}
	for i := range circles {
		next[i+1] += next[i]
	}
	sorted := make([]arc, len(arcs))
	for _, a := range arcs {
		sorted[next[of(a)]] = a
		next[of(a)]++
	}
	return sorted
}

func (o Obligation) check() error {
	switch {
	case o.Debtor == "" || o.Creditor == "":
		return fmt.Errorf("who owes or is owed is missing: %w", ErrObligation)
	case len(o.Debtor) > MaxNameBytes || len(o.Creditor) > MaxNameBytes:
		return fmt.Errorf("a name of more than %d bytes: %w", MaxNameBytes, ErrObligation)
	case o.Debtor == o.Creditor:
		return fmt.Errorf("%s owes itself: %w", o.Debtor, ErrObligation)
	case o.Minutes <= 0:
		return fmt.Errorf("%s owes %s %d minutes, want more than 0: %w", o.Debtor, o.Creditor, o.Minutes,
			ErrObligation)
	}
	return nil
}
