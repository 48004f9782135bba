package clearing_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/federation/clearing"
)

// TestOptimum compares with a linear programme: of every obligation x is set off and s stays, x + s is all of
// it, and at every circle as much x goes in as out.
func TestOptimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := clearing.Solve(drawn.Draw(t, "obligations"))
		if err != nil {
			t.Fatal(err)
		}
		m := len(p.Obligations)
		if m == 0 {
			return
		}
		place := rows(p)
		circles := 0
		for _, row := range place {
			circles = max(circles, row+1)
		}
		a, b, cost := mat.NewDense(m+circles, 2*m, nil), make([]float64, m+circles), make([]float64, 2*m)
		for i, o := range p.Obligations {
			cost[i] = -1
			a.Set(i, i, 1)
			a.Set(i, m+i, 1)
			b[i] = float64(o.Minutes)
			if from := place[o.Debtor]; from >= 0 {
				a.Set(m+from, i, -1)
			}
			if to := place[o.Creditor]; to >= 0 {
				a.Set(m+to, i, 1)
			}
		}
		best, _, err := lp.Simplex(cost, a, b, 1e-9, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.GrossBefore - p.GrossAfter; math.Abs(float64(got)+best) > 1e-6 {
			t.Fatalf("set off %d, the programme %v: %+v", got, -best, p)
		}
	})
}

// rows gives every circle a row of the programme, but one of those that hang together: its row follows from
// theirs.
func rows(p clearing.Proposal) map[string]int {
	part := map[string]string{}
	for _, l := range p.Labels {
		part[l.Circle] = l.Circle
	}
	for range p.Labels { // as often as the longest way
		for _, o := range p.Obligations {
			least := min(part[o.Debtor], part[o.Creditor])
			part[o.Debtor], part[o.Creditor] = least, least
		}
	}
	row, n := map[string]int{}, 0
	for _, l := range p.Labels {
		if row[l.Circle] = -1; part[l.Circle] != l.Circle {
			row[l.Circle] = n
			n++
		}
	}
	return row
}
