package sim

import "container/heap"

// queue is what is still to happen, in order of time, and of asking within one time.
type queue struct {
	items items
	order uint64
}

type item struct {
	at    int64
	order uint64
	do    func()
}

func (q *queue) push(at int64, do func()) {
	q.order++
	heap.Push(&q.items, item{at: at, order: q.order, do: do})
}

// next returns when the next thing happens; false when nothing will.
func (q *queue) next() (at int64, ok bool) {
	if len(q.items) == 0 {
		return 0, false
	}
	return q.items[0].at, true
}

// due takes out the next thing to do up to now; nil when there is none.
func (q *queue) due(now int64) func() {
	if at, ok := q.next(); !ok || at > now {
		return nil
	}
	return heap.Pop(&q.items).(item).do
}

// items implements heap.Interface.
type items []item

func (h items) Len() int { return len(h) }

func (h items) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

func (h items) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *items) Push(x any) { *h = append(*h, x.(item)) }

func (h *items) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
