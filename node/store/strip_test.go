package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/dgraph-io/badger/v4"
	"pgregory.net/rapid"
)

// Rows of a numbered table are kept in strips.
var _ = machine.NewNumberedTable[uint64]("test", "numbered")

// numberedKey is a key of one of three series; the numbers of one of them carry over into the next byte.
func numberedKey(series int, n uint64) []byte {
	table := []byte("s/test.numbered\x00")
	switch series {
	case 0:
		return machine.Key("j/").Num(n)
	case 1:
		return machine.Key(table).Num(250 + n)
	default:
		return machine.Key(table).Str("x").Num(n)
	}
}

const numberedSeries, numberedRows = 3, 12

// Append adds some rows behind the last of a series.
func (m *stateModel) Append(t *rapid.T) {
	series, next := rapid.IntRange(0, numberedSeries-1).Draw(t, "series"), uint64(0)
	for n := range uint64(numberedRows) {
		if _, ok := m.mem.Get(numberedKey(series, n)); ok {
			next = n + 1
		}
	}
	for range rapid.IntRange(1, 6).Draw(t, "rows") {
		if next == numberedRows {
			return
		}
		value := bytes.Repeat([]byte{byte(next)}, rapid.SampledFrom([]int{0, 1, 5, 9000}).Draw(t, "bytes"))
		m.s.Add(numberedKey(series, next), value)
		m.mem.Set(numberedKey(series, next), value)
		next++
	}
}

// stripsOf returns how many rows each Badger value under a prefix has, in order.
func stripsOf(t *testing.T, s *State, prefix string) (rows []int) {
	t.Helper()
	must(t, s.db.View(func(txn *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.Prefix = rowKey([]byte(prefix))
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			p, err := readStrip(it.Item())
			if err != nil {
				return err
			}
			rows = append(rows, len(p.values))
		}
		return nil
	}))
	return rows
}

// New rows of a series are kept together, as many as fit; what changes later touches no more than its strip.
func TestStrips(t *testing.T) {
	s := mustState(t, stateConfig(t, filepath.Join(t.TempDir(), "state")))
	closeAfter(t, s)
	commit := func() {
		t.Helper()
		s.Commit(s.Applied() + 1)
		must(t, s.Flush())
	}
	want := func(rows ...int) {
		t.Helper()
		if got := stripsOf(t, s, "j/"); !slices.Equal(got, rows) {
			t.Fatalf("strips of %v rows, want %v", got, rows)
		}
	}
	for n := range uint64(100) {
		s.Add(numberedKey(0, n), []byte{byte(n)})
	}
	commit()
	want(64, 36)
	s.Set(numberedKey(0, 70), bytes.Repeat([]byte("x"), maxStripBytes)) // does not fit with others
	s.Delete(numberedKey(0, 10))
	commit()
	want(10, 53, 6, 1, 29)
	s.Delete(numberedKey(0, 0))
	s.Delete(numberedKey(0, 70))
	s.Set(numberedKey(0, 10), nil) // between two strips
	commit()
	want(9, 1, 53, 6, 29)
	s.Add(numberedKey(0, 100), nil)
	s.Add(numberedKey(0, 102), nil)
	commit()
	want(9, 1, 53, 6, 29, 1, 1)
}

// A strip that does not read as one is damage, and never fewer rows.
func TestDamagedStrip(t *testing.T) {
	cfg := stateConfig(t, filepath.Join(t.TempDir(), "state"))
	var fatal error
	cfg.Fatal = func(err error) { fatal = err }
	s := mustState(t, cfg)
	for n := range uint64(5) {
		s.Add(numberedKey(0, n), fmt.Appendf(nil, "row %d", n))
	}
	s.Commit(1)
	must(t, s.Flush())
	must(t, s.db.Update(func(txn *badger.Txn) error {
		e := badger.NewEntry(rowKey(numberedKey(0, 0)), []byte{3, 'a', 'b'})
		return txn.SetEntry(e.WithMeta(stripMeta))
	}))
	s.cache = newRowCache()
	s.lookAgain()
	if s.Get(numberedKey(0, 4)); !errors.Is(fatal, ErrDamaged) {
		t.Errorf("a read: %v", fatal)
	}
	fatal = nil
	if all(s); !errors.Is(fatal, ErrDamaged) {
		t.Errorf("a walk: %v", fatal)
	}
	must(t, s.db.Close())
}
