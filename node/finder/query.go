package finder

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/golang/geo/s1"
	"github.com/golang/geo/s2"

	"github.com/carecircle/carecircle/federation/directory"
)

const (
	earthMetres    = 6_371_010
	coveringCells  = 12
	degreesToPoint = 100_000
)

// hit is a card found.
type hit struct {
	number uint32
	metres int32 // -1: no place, or none asked for
	draw   uint32
}

// Those that are nearer come first. Those equally near come in an order drawn anew each day, so that nobody
// is always last.
func compareHits(a, b hit) int {
	return cmp.Or(cmp.Compare(uint32(a.metres), uint32(b.metres)), cmp.Compare(a.draw, b.draw),
		cmp.Compare(a.number, b.number))
}

func today(q directory.Query) uint32 { return uint32(q.Now / (24 * hourMillis)) }

// drawOf makes today's order of a card's fixed chance.
func drawOf(draw, day uint32) uint32 {
	z := (draw ^ day*0x9e3779b9) * 0x85ebca6b
	return (z ^ z>>15) * 0xc2b2ae35
}

// search returns the answers in order, and how many there are in all.
func (x *index) search(q directory.Query) ([]hit, int) {
	q = q.Filled()
	sets := []*roaring.Bitmap{x.all}
	for prefix, list := range map[string]directory.Tags{"k": q.Kinds, "s": q.Skills, "l": q.Languages} {
		for _, tag := range list {
			set := x.tags[prefix+tag]
			if set == nil {
				return nil, 0
			}
			sets = append(sets, set)
		}
	}
	for i, word := range fold(q.Text) {
		if i < directory.MaxQueryWords {
			sets = append(sets, x.words.find(word))
		}
	}
	for slot := q.From; slot < q.To; slot++ {
		sets = append(sets, x.slots[slot])
	}
	if q.OnlyOpen {
		sets = append(sets, x.open)
	}
	var metres []int32
	if q.Near != nil {
		var around *roaring.Bitmap
		metres, around = x.around(pointOf(*q.Near), q.Within)
		sets = append(sets, around)
	}
	return x.best(q, and(sets), metres)
}

// and returns what is in all sets, the smallest first.
func and(sets []*roaring.Bitmap) *roaring.Bitmap {
	if len(sets) == 1 {
		return sets[0]
	}
	slices.SortFunc(sets, func(a, b *roaring.Bitmap) int {
		return cmp.Compare(a.GetCardinality(), b.GetCardinality())
	})
	both := roaring.And(sets[0], sets[1])
	for _, set := range sets[2:] {
		if both.IsEmpty() {
			break
		}
		both.And(set)
	}
	return both
}

// best goes through the cards and keeps the first ones in order.
func (x *index) best(q directory.Query, cards *roaring.Bitmap, metres []int32) ([]hit, int) {
	hours, day := uint32(q.Now/hourMillis), today(q)
	kept, total := hits{}, 0
	numbers := cards.ManyIterator()
	buf := make([]uint32, 1024)
	for n := numbers.NextMany(buf); n > 0; n = numbers.NextMany(buf) {
		for _, number := range buf[:n] {
			d := &x.docs[number]
			if d.until <= hours || q.MaxRate > 0 && d.rate > q.MaxRate {
				continue
			}
			total++
			h := hit{number: number, metres: -1, draw: drawOf(d.draw, day)}
			if metres != nil {
				h.metres = metres[d.place]
			}
			kept.keep(h, q.Skip+q.Most)
		}
	}
	slices.SortFunc(kept, compareHits)
	return kept[min(q.Skip, len(kept)):], total
}

// hits is a heap with the last in order on top.
type hits []hit

func (h hits) Len() int           { return len(h) }
func (h hits) Less(i, j int) bool { return compareHits(h[i], h[j]) > 0 }
func (h hits) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *hits) Push(v any)        { *h = append(*h, v.(hit)) }
func (h *hits) Pop() any          { panic("nothing is taken off") }

func (h *hits) keep(v hit, most int) {
	switch {
	case len(*h) < most:
		heap.Push(h, v)
	case compareHits(v, (*h)[0]) < 0:
		(*h)[0] = v
		heap.Fix(h, 0)
	}
}

// around finds the places within so many metres, how far each is, and their cards.
func (x *index) around(center s2.Point, within int) ([]int32, *roaring.Bitmap) {
	metres := make([]int32, len(x.places))
	radius := s1.Angle(float64(within)/earthMetres) + 1e-7
	cover := (&s2.RegionCoverer{MaxLevel: 16, MaxCells: coveringCells}).Covering(
		s2.CapFromCenterAngle(center, radius))
	var sets []*roaring.Bitmap
	for _, cell := range cover {
		from, _ := slices.BinarySearchFunc(x.near, cell.RangeMin(), func(p int32, c s2.CellID) int {
			return cmp.Compare(x.places[p].cell, c)
		})
		for _, p := range x.near[from:] {
			if x.places[p].cell > cell.RangeMax() {
				break
			}
			if far := distance(center, x.places[p].point); far <= within {
				metres[p] = int32(far)
				sets = append(sets, x.places[p].cards)
			}
		}
	}
	return metres, roaring.FastOr(sets...)
}

// distance is in whole metres, in a straight line over the ground.
func distance(a, b s2.Point) int { return int(math.Round(float64(a.Distance(b)) * earthMetres)) }

func pointOf(p directory.Point) s2.Point {
	lat, lng := float64(p.Lat)/degreesToPoint, float64(p.Lng)/degreesToPoint
	return s2.PointFromLatLng(s2.LatLngFromDegrees(lat, lng))
}
