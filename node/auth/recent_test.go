package auth

import (
	"fmt"
	"testing"
	"time"
)

func TestRecentForgetsWhatWasUsedLongestAgo(t *testing.T) {
	r := newRecent[int](3)
	for i, key := range []string{"a", "b", "c"} {
		r.put(key, i)
	}
	if v, ok := r.get("a"); !ok || v != 0 {
		t.Fatalf("a: %d, %v", v, ok)
	}
	r.put("d", 3)
	if _, ok := r.get("b"); ok {
		t.Error("b was used longest ago and is still there")
	}
	for _, key := range []string{"a", "c", "d"} {
		if _, ok := r.take(key); !ok {
			t.Errorf("%s is gone", key)
		}
	}
	if _, ok := r.take("a"); ok || r.order.Len() != 0 || len(r.byKey) != 0 {
		t.Error("taken, and still there")
	}
}

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(1, 1)
	now := time.Unix(0, 0)
	for i := range 3 * MaxTracked {
		if err := l.take(fmt.Sprint(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.buckets.byKey); n != MaxTracked || l.buckets.order.Len() != n {
		t.Errorf("%d buckets, at most %d", n, MaxTracked)
	}
}

func TestCeremoniesAreBounded(t *testing.T) {
	g := &Gate{now: time.Now, ceremonies: newRecent[ceremony](MaxCeremonies)}
	if n := g.ceremonies.max; n != MaxCeremonies {
		t.Fatalf("room for %d", n)
	}
	for i := range 2 * MaxCeremonies {
		g.ceremonies.put(fmt.Sprint(i), ceremony{})
	}
	if n := len(g.ceremonies.byKey); n != MaxCeremonies {
		t.Errorf("%d ceremonies, at most %d", n, MaxCeremonies)
	}
}
