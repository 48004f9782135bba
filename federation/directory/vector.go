package directory

import (
	"cmp"
	"slices"

	"github.com/carecircle/carecircle/federation/letter"
)

// Head is how far the run of one circle's cards is known.
type Head struct {
	_      struct{} `cbor:",toarray"`
	Circle letter.CircleID
	Seq    uint64
}

// Vector is what somebody has: of each circle all cards that count, up to a place in its run. It is in order
// of ids.
type Vector []Head

// Sorted puts heads in order.
func (v Vector) Sorted() Vector {
	slices.SortFunc(v, func(a, b Head) int { return cmp.Compare(a.Circle, b.Circle) })
	return v
}

// Of returns how far one circle's cards are known; 0 for a circle that is not.
func (v Vector) Of(circle letter.CircleID) uint64 {
	i, found := slices.BinarySearchFunc(v, circle, func(h Head, id letter.CircleID) int {
		return cmp.Compare(h.Circle, id)
	})
	if !found {
		return 0
	}
	return v[i].Seq
}
