package auth

import "container/list"

// recent is a map of bounded size: when it is full, the entry used longest ago gives way. Its users lock.
type recent[V any] struct {
	max   int
	order *list.List // of *entry[V], the one used longest ago in front
	byKey map[string]*list.Element
}

type entry[V any] struct {
	key   string
	value V
}

func newRecent[V any](limit int) *recent[V] {
	return &recent[V]{max: limit, order: list.New(), byKey: make(map[string]*list.Element)}
}

// get returns the value under key and marks it as used.
func (r *recent[V]) get(key string) (value V, ok bool) {
	e, ok := r.byKey[key]
	if !ok {
		return value, false
	}
	r.order.MoveToBack(e)
	return e.Value.(*entry[V]).value, true
}

// put keeps a value under a key that has none.
func (r *recent[V]) put(key string, value V) {
	for r.order.Len() >= r.max {
		r.remove(r.order.Front())
	}
	r.byKey[key] = r.order.PushBack(&entry[V]{key: key, value: value})
}

// take returns the value under key and forgets it.
func (r *recent[V]) take(key string) (value V, ok bool) {
	e, ok := r.byKey[key]
	if !ok {
		return value, false
	}
	r.remove(e)
	return e.Value.(*entry[V]).value, true
}

func (r *recent[V]) remove(e *list.Element) {
	delete(r.byKey, e.Value.(*entry[V]).key)
	r.order.Remove(e)
}
