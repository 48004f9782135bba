package clearing

// fitting is the part of a network along which minutes may go just now, for nothing. As much as can goes from
// circles with excess to those into which minutes have to go, by Dinic's method (1970): in rounds, each along
// ways of the fewest hops, until there is no way.
type fitting struct {
	first []int32 // of a circle's arcs; one more at the end
	arcs  []link  // other is the arc the other way
	from  []int32 // by arc: which it is in the network

	hops  []int32 // from those with excess
	at    []int32 // the arc of a circle to look at next
	queue []int32 // circles by hops
	path  []int32 // arcs from where the search began
}

func (f *fitting) reset(circles int) {
	if f.first == nil {
		f.first, f.at = make([]int32, circles+1), make([]int32, circles)
		f.hops = make([]int32, circles)
	}
	f.arcs, f.from = f.arcs[:0], f.from[:0]
}

// most sends all it can.
func (f *fitting) most(excess []int64) {
	for f.layer(excess) {
		for _, v := range f.queue {
			if f.hops[v] != 0 {
				break
			}
			for excess[v] > 0 && f.advance(v, excess) {
			}
		}
	}
}

// layer counts the hops of every circle from the nearest with excess. It goes no further than the first
// circles into which minutes have to go, and is false when there are none.
func (f *fitting) layer(excess []int64) bool {
	for i := range f.hops {
		f.hops[i] = far
	}
	f.queue = f.queue[:0]
	see := func(v, hops int32) {
		f.hops[v], f.at[v] = hops, f.first[v]
		f.queue = append(f.queue, v)
	}
	for v, x := range excess {
		if x > 0 {
			see(int32(v), 0)
		}
	}
	last := int32(far)
	for i := 0; i < len(f.queue); i++ {
		v := f.queue[i]
		next := f.hops[v] + 1
		if next > last {
			break
		}
		for _, a := range f.arcs[f.first[v]:f.first[v+1]] {
			if a.room == 0 || f.hops[a.head] != far {
				continue
			}
			see(a.head, next)
			if excess[a.head] < 0 {
				last = next
			}
		}
	}
	return last != far
}

// advance sends minutes one way from a circle; false when there is none.
func (f *fitting) advance(source int32, excess []int64) bool {
	path := f.path[:0]
	v := source
	for excess[v] >= 0 {
		a, end, next := f.at[v], f.first[v+1], f.hops[v]+1
		for a < end && (f.arcs[a].room == 0 || f.hops[f.arcs[a].head] != next) {
			a++
		}
		f.at[v] = a
		switch {
		case a < end:
			path = append(path, a)
			v = f.arcs[a].head
		case len(path) == 0:
			return false
		default: // back by one, and past it
			v = f.arcs[f.arcs[path[len(path)-1]].other].head
			path = path[:len(path)-1]
			f.at[v]++
		}
	}
	f.path = path
	sent := min(excess[source], -excess[v])
	for _, a := range path {
		sent = min(sent, f.arcs[a].room)
	}
	for _, a := range path {
		f.arcs[a].room -= sent
		f.arcs[f.arcs[a].other].room += sent
	}
	excess[source] -= sent
	excess[v] += sent
	return true
}
