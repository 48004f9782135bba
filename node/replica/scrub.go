package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

const (
	sumsKept  = 8 // of the newest scrubs
	scrubSize = 1 + markBytes
)

// ErrNoSum says that this replica got past a scrub's log entry without applying it: with a snapshot, or in
// the life before this start. The next scrub has one.
var ErrNoSum = errors.New("this replica took no sum there: it was started, or got a snapshot, after it")

// Sum is what the state comes to at one log entry. It is the same on every replica that applied the same.
type Sum struct {
	Index uint64 `json:"index"`
	Rows  uint64 `json:"rows"`
	Sum   uint64 `json:"sum"` // over the rows' hashes
}

// newScrub makes a log entry at which every replica sums up its state; nothing else depends on it. A program
// that does not know it stops there, as it does at a command it does not know.
func newScrub() []byte {
	entry := make([]byte, scrubSize)
	entry[0] = scrubByte
	_, _ = rand.Read(entry[1:]) // cannot fail
	return entry
}

func isScrub(data []byte) bool { return len(data) == scrubSize && data[0] == scrubByte }

// Scrub, on the leader, has every replica sum up its state at the same log entry, and returns that entry's
// index. The replicas' sums are then to be had from SumAt.
func (r *Replica) Scrub(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, doLimit)
	defer cancel()
	entry := newScrub()
	if _, err := r.await(ctx, entry, nil); err != nil {
		return 0, fmt.Errorf("scrub: %w", err)
	}
	index, ok := r.scrubs.of(entry)
	if !ok {
		return 0, fmt.Errorf("scrub: %w", ErrNoSum)
	}
	return index, nil
}

// SumAt waits until this replica has applied a scrub's log entry and returns the state's sum there, or
// ErrNoSum.
func (r *Replica) SumAt(ctx context.Context, index uint64) (Sum, error) {
	if err := r.reach(ctx, index); err != nil {
		return Sum{}, err
	}
	s, ok := r.scrubs.at(index)
	if !ok {
		return Sum{}, fmt.Errorf("replica %s at log entry %d: %w", r.cfg.ID, index, ErrNoSum)
	}
	return s, nil
}

// scrubs are the sums of the newest scrubs.
type scrubs struct {
	mu   sync.Mutex
	kept []scrubbed
}

type scrubbed struct {
	entry string
	Sum
}

// take sums up the state, which is as of a scrub's log entry.
func (s *scrubs) take(state State, index uint64, entry []byte) error {
	rows, sum, err := state.Sum()
	if err != nil {
		return fmt.Errorf("sum up the state at log entry %d: %w", index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, scrubbed{string(entry), Sum{Index: index, Rows: rows, Sum: sum}})
	if over := len(s.kept) - sumsKept; over > 0 {
		s.kept = slices.Clone(s.kept[over:])
	}
	return nil
}

// of returns where an entry was first applied: it may have been proposed more than once.
func (s *scrubs) of(entry []byte) (index uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k.entry == string(entry) {
			return k.Index, true
		}
	}
	return 0, false
}

func (s *scrubs) at(index uint64) (Sum, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k.Index == index {
			return k.Sum, true
		}
	}
	return Sum{}, false
}

// Verdict is what the sums of a circle's replicas at one log entry say of each other.
type Verdict struct {
	Differ []string // ids of those that differ from the majority; where there is none, of all
	Sure   bool     // there is a majority: it has Right
	Right  Sum
}

// Judge compares sums, by replica, of a circle that has so many replicas that count. Only more than half of
// those are a majority: who does not answer may yet be of either side.
func Judge(by map[string]Sum, voters int) Verdict {
	count := map[Sum]int{}
	var v Verdict
	for _, s := range by {
		count[s]++
		if count[s] > voters/2 {
			v.Sure, v.Right = true, s
		}
	}
	if len(count) < 2 {
		return v
	}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		if !v.Sure || by[id] != v.Right {
			v.Differ = append(v.Differ, id)
		}
	}
	return v
}
