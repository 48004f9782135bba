package clearing

import "math"

// network finds what has to stay. What stays must leave every circle what it owes or is owed in all, and be
// as little as can be: a flow from those who owe more than they are owed to the others, over the obligations,
// that costs one for each minute on each. It is found by the primal-dual method (Ford and Fulkerson 1962):
// labels are distances; as much as can flows along arcs where they fit exactly; then labels go on to the next
// distance.
//
// Every obligation is two arcs: there, where more may stay, and back, where less may.
type network struct {
	nodes  []node
	first  []int32 // of a circle's arcs; one more at the end
	arcs   []link
	own    []int32 // by obligation: its arc
	excess []int64 // minutes still to go out of a circle; less than 0: into it

	fits  fitting
	place []int32 // by arc: where it is in fits
	rings [][]int32
}

// node is what is looked up most of a circle.
type node struct {
	label int32
	dist  int32 // from those with excess, by what labels do not cover
}

// link is an arc.
type link struct {
	room  int64 // how much more may go along it
	head  int32
	other int32 // the arc the other way; of the obligation's own direction less than 0, as ^other
}

func (l link) pair() int32 { return max(l.other, ^l.other) }

// cost is 1 for the obligation's own direction, -1 for back.
func (l link) cost() int32 {
	if l.other < 0 {
		return 1
	}
	return -1
}

const far = math.MaxInt32

func newNetwork(circles int, arcs []arc) *network {
	g := &network{
		nodes: make([]node, circles), first: make([]int32, circles+1), arcs: make([]link, 2*len(arcs)),
		own: make([]int32, len(arcs)), excess: make([]int64, circles), place: make([]int32, 2*len(arcs)),
	}
	for _, a := range arcs {
		g.first[a.from+1]++
		g.first[a.to+1]++
	}
	for i := range circles {
		g.first[i+1] += g.first[i]
	}
	next := append([]int32{}, g.first...)
	for i, a := range arcs {
		x, y := next[a.from], next[a.to]
		next[a.from]++
		next[a.to]++
		g.own[i] = x
		g.arcs[x] = link{room: a.minutes, head: a.to, other: ^y}
		g.arcs[y] = link{head: a.from, other: x}
		g.excess[a.from] += a.minutes
		g.excess[a.to] -= a.minutes
	}
	return g
}

// setOff is what of an obligation does not have to stay.
func (g *network) setOff(i int) int64 { return g.arcs[g.own[i]].room }

func (g *network) label(circle int) int64 { return int64(g.nodes[circle].label) }

func (g *network) solve() {
	for i := range g.nodes {
		g.nodes[i].dist = far
	}
	for g.reach() {
		g.fit()
		g.fits.most(g.excess)
		g.take()
	}
}

// reach finds how far the nearest circle is into which minutes have to go, and sets the labels so that they
// fit on the way there; false when nothing has to go anywhere any more. (Dial 1969: distances are small, so
// that there is a list of circles for each.)
func (g *network) reach() bool {
	var seen []int32
	for i := range g.rings {
		g.rings[i] = g.rings[i][:0]
	}
	see := func(v, d int32) {
		if g.nodes[v].dist == far {
			seen = append(seen, v)
		}
		g.nodes[v].dist = d
		for int(d) >= len(g.rings) {
			g.rings = append(g.rings, nil)
		}
		g.rings[d] = append(g.rings[d], v)
	}
	for v, x := range g.excess {
		if x > 0 {
			see(int32(v), 0)
		}
	}
	found := int32(far)
	for d := int32(0); int(d) < len(g.rings) && found == far; d++ {
		for i := 0; i < len(g.rings[d]); i++ {
			v := g.rings[d][i]
			if g.nodes[v].dist != d {
				continue
			}
			if g.excess[v] < 0 {
				found = d
			}
			from := g.nodes[v].label
			for _, a := range g.arcs[g.first[v]:g.first[v+1]] {
				if a.room == 0 {
					continue
				}
				to := g.nodes[a.head]
				if far := d + a.cost() + from - to.label; far < to.dist {
					see(a.head, far)
				}
			}
		}
	}
	for _, v := range seen {
		if n := &g.nodes[v]; n.dist < found {
			n.label -= found - n.dist
		}
		g.nodes[v].dist = far
	}
	return found != far
}

// fit collects the arcs that fit the labels: where they go up by exactly what the arc costs.
func (g *network) fit() {
	f := &g.fits
	f.reset(len(g.nodes))
	for v := range g.nodes {
		label := g.nodes[v].label
		for a := g.first[v]; a < g.first[v+1]; a++ {
			l := &g.arcs[a]
			if label+l.cost() != g.nodes[l.head].label {
				continue
			}
			g.place[a] = int32(len(f.arcs))
			pair := l.pair()
			if l.head < int32(v) { // seen from there
				pair = g.place[pair]
				f.arcs[pair].other = int32(len(f.arcs))
			}
			f.arcs = append(f.arcs, link{room: l.room, head: l.head, other: pair})
			f.from = append(f.from, a)
		}
		f.first[v+1] = int32(len(f.arcs))
	}
}

// take takes over how much may still go along the arcs that fit.
func (g *network) take() {
	for i, a := range g.fits.from {
		g.arcs[a].room = g.fits.arcs[i].room
	}
}
