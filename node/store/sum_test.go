package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The sum is as of the last commit, flushed or not; it does not depend on when that was, and one row counts.
func TestSum(t *testing.T) {
	dir := t.TempDir()
	quick, slow := stateConfig(t, filepath.Join(dir, "quick")), stateConfig(t, filepath.Join(dir, "slow"))
	quick.FlushRows = 1
	a, b := mustState(t, quick), mustState(t, slow)
	closeAfter(t, a)
	closeAfter(t, b)
	type sum struct{ rows, sum uint64 }
	sumOf := func(s *State) sum {
		t.Helper()
		rows, total, err := s.Sum()
		must(t, err)
		return sum{rows, total}
	}
	seen := map[sum]bool{}
	for i := range uint64(30) {
		for _, s := range []*State{a, b} {
			s.Set(fmt.Appendf(nil, "row/%d", i%20), fmt.Append(nil, i))
			s.Delete(fmt.Appendf(nil, "row/%d", (i+7)%20))
			s.Commit(i + 1)
		}
		if i%3 != 0 {
			continue
		}
		got := sumOf(a)
		if other := sumOf(b); got != other || seen[got] || a.Flushed() != i+1 {
			t.Fatalf("after %d commits: %+v and %+v, seen before: %v", i+1, got, other, seen[got])
		}
		seen[got] = true
	}
	b.Set([]byte("row/1"), []byte("changed"))
	if _, _, err := b.Sum(); err == nil {
		t.Error("a sum in the middle of a commit")
	}
	b.Commit(31)
	if sumOf(a) == sumOf(b) {
		t.Error("a changed row does not count")
	}
}

// Reading a whole disk takes the time it was given, and ends when it is told.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p, began := newPace(ctx, 1000), time.Now()
		for range 50 {
			if _, err := p.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("5000 bytes at 1000 a second took %v", took)
		}
		time.AfterFunc(time.Second, cancel)
		if _, err := p.Write(make([]byte, 1<<20)); !errors.Is(err, context.Canceled) ||
			time.Since(began) != 6*time.Second {
			t.Errorf("cancelled, after %v: %v", time.Since(began), err)
		}
	})
}

// A check that is told to end says so, and does no harm.
func TestVerifyCancelled(t *testing.T) {
	dir := t.TempDir()
	s, l := mustState(t, stateConfig(t, filepath.Join(dir, "state"))),
		mustLog(t, logConfig(t, filepath.Join(dir, "log")))
	closeAfter(t, s)
	closeAfter(t, l)
	fillState(s, "row", 100)
	must(t, l.StoreLogs(entries(1, 3, 1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Verify(ctx, 0)
	if err2 := s.Verify(ctx, 0); !errors.Is(err, context.Canceled) || !errors.Is(err2, context.Canceled) {
		t.Errorf("cancelled: %v; %v", err, err2)
	}
	_, err = l.Verify(t.Context(), 1<<20)
	must(t, err)
	must(t, s.Verify(t.Context(), 1<<20))
}

// BenchmarkSum sums up a state of 100,000 rows of which as many are changed as may wait.
func BenchmarkSum(b *testing.B) {
	s := mustState(b, stateConfig(b, filepath.Join(b.TempDir(), "state")))
	closeAfter(b, s)
	const rows = 100_000
	for i := range uint64(rows) {
		s.Set(fmt.Appendf(nil, "row/%06d", i), make([]byte, 100))
		if i%100 == 99 {
			s.Commit(i/100 + 1)
		}
	}
	var longest time.Duration
	for n := uint64(0); b.Loop(); n++ {
		for i := range uint64(defaultFlushRows - 1) {
			s.Set(fmt.Appendf(nil, "row/%06d", (n*7919+i*13)%rows), fmt.Append(nil, n))
		}
		s.Commit(s.Applied() + 1)
		began := time.Now()
		if _, _, err := s.Sum(); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
}
