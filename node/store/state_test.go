package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"pgregory.net/rapid"
)

type keyValue struct{ key, value string }

// walkAll collects what a walk shows, at most limit rows.
func walkAll(r machine.Reader, down bool, prefix, from []byte, limit int) []keyValue {
	var out []keyValue
	fn := func(key, value []byte) bool {
		out = append(out, keyValue{string(key), string(value)})
		return len(out) < limit
	}
	if down {
		r.Descend(prefix, from, fn)
	} else {
		r.Ascend(prefix, from, fn)
	}
	return out
}

func all(r machine.Reader) []keyValue { return walkAll(r, false, nil, nil, 1<<30) }

func equalRows(a, b []keyValue) bool { return fmt.Sprint(a) == fmt.Sprint(b) && len(a) == len(b) }

// stateModel drives a State and a machine.Mem side by side.
type stateModel struct {
	t    *testing.T
	cfg  StateConfig
	s    *State
	mem  *machine.Mem
	disk map[uint64][]keyValue // what every commit left, by index
	next uint64
}

func copyMem(rows []keyValue) *machine.Mem {
	mem := machine.NewMem()
	for _, r := range rows {
		mem.Set([]byte(r.key), []byte(r.value))
	}
	return mem
}

var (
	// rowAt is a key that a row may have.
	rowAt = rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "numbered") {
			return numberedKey(rapid.IntRange(0, numberedSeries-1).Draw(t, "series"),
				rapid.Uint64Range(0, numberedRows-1).Draw(t, "n"))
		}
		return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 0, 3).Draw(t, "key")
	})
	// anyKey is one that may be asked for: that of a row, or the front of one, to the end of a part.
	anyKey = rapid.Custom(func(t *rapid.T) []byte {
		key := rowAt.Draw(t, "row")
		if machine.Numbered(key) && rapid.IntRange(0, 9).Draw(t, "part") == 0 {
			return key[:len(key)-rapid.IntRange(8, 9).Draw(t, "less")]
		}
		return key
	})
	anyFrom = rapid.Custom(func(t *rapid.T) []byte {
		if rapid.IntRange(0, 2).Draw(t, "nil") == 0 {
			return nil
		}
		return anyKey.Draw(t, "from")
	})
)

// everyKey is every key that rowAt draws.
func everyKey() [][]byte {
	keys, from := [][]byte{{}}, 0
	for range 3 {
		last := len(keys)
		for _, k := range keys[from:last] {
			for _, b := range []byte{0, 'a', 'b', 0xff} {
				keys = append(keys, append(bytes.Clone(k), b))
			}
		}
		from = last
	}
	for series := range numberedSeries {
		for n := range uint64(numberedRows) {
			keys = append(keys, numberedKey(series, n))
		}
	}
	return keys
}

func (m *stateModel) Set(t *rapid.T) {
	key, value := rowAt.Draw(t, "key"), rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "value")
	m.s.Set(key, value)
	m.mem.Set(key, value)
}

// Add sets a row that is not there.
func (m *stateModel) Add(t *rapid.T) {
	key, value := rowAt.Draw(t, "key"), rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "value")
	if _, ok := m.mem.Get(key); ok {
		return
	}
	m.s.Add(key, value)
	m.mem.Set(key, value)
}

func (m *stateModel) Delete(t *rapid.T) {
	key := anyKey.Draw(t, "key")
	m.s.Delete(key)
	m.mem.Delete(key)
}

// Commit sometimes waits for what it has written, and sometimes leaves the rows between memory and disk.
func (m *stateModel) Commit(t *rapid.T) {
	m.next++
	m.disk[m.next] = all(m.mem)
	m.s.Commit(m.next)
	if rapid.Bool().Draw(t, "settle") {
		settle(m.s)
	}
}

// settle waits until nothing is being written in the background.
func settle(s *State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

func (m *stateModel) Flush(t *rapid.T) {
	if err := m.s.Flush(); err != nil {
		t.Fatal(err)
	}
}

// Crash loses what is only in memory.
func (m *stateModel) Crash(t *rapid.T) {
	settle(m.s)
	flushed := m.s.Flushed()
	if err := m.s.db.Close(); err != nil {
		t.Fatal(err)
	}
	m.reopen(t, flushed)
}

func (m *stateModel) Reopen(t *rapid.T) {
	m.Commit(t)
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.reopen(t, m.next)
}

func (m *stateModel) reopen(t *rapid.T, index uint64) {
	var err error
	if m.s, err = OpenState(m.cfg); err != nil {
		t.Fatal(err)
	}
	if m.s.Applied() != index || m.s.Flushed() != index {
		t.Fatalf("reopened at %d, want %d", m.s.Applied(), index)
	}
	m.mem, m.next = copyMem(m.disk[index]), index
}

func (m *stateModel) Get(t *rapid.T) {
	key := anyKey.Draw(t, "key")
	got, gotOK := m.s.Get(key)
	want, wantOK := m.mem.Get(key)
	if gotOK != wantOK || !bytes.Equal(got, want) {
		t.Fatalf("Get(%x) = %x %v, want %x %v", key, got, gotOK, want, wantOK)
	}
}

func (m *stateModel) Walk(t *rapid.T) {
	prefix, from := anyKey.Draw(t, "prefix"), anyFrom.Draw(t, "from")
	down, limit := rapid.Bool().Draw(t, "down"), rapid.IntRange(1, 20).Draw(t, "limit")
	got, want := walkAll(m.s, down, prefix, from, limit), walkAll(m.mem, down, prefix, from, limit)
	if !equalRows(got, want) {
		t.Fatalf("walk down=%v prefix %x from %x\n got %.3000q\nwant %.3000q", down, prefix, from, got, want)
	}
}

func (m *stateModel) Check(t *rapid.T) {
	if got, want := all(m.s), all(m.mem); !equalRows(got, want) {
		t.Fatalf("rows\n got %q\nwant %q", got, want)
	}
	for _, key := range everyKey() {
		got, gotOK := m.s.Get(key)
		if want, wantOK := m.mem.Get(key); gotOK != wantOK || !bytes.Equal(got, want) {
			t.Fatalf("Get(%x) = %.20x %v, want %.20x %v", key, got, gotOK, want, wantOK)
		}
	}
	m.s.mu.Lock()
	rows, sum, flushed := m.s.totals.rows, m.s.totals.sum, m.s.flushed.Load()
	m.s.mu.Unlock()
	var want totals
	for _, r := range m.disk[flushed] {
		want.add([]byte(r.key), []byte(r.value))
	}
	if want != (totals{rows, sum}) {
		t.Fatalf("totals at %d: %d %x, want %d %x", m.s.Flushed(), rows, sum, want.rows, want.sum)
	}
}

func TestStateModel(t *testing.T) {
	root := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		cfg := stateConfig(t, filepath.Join(root, fmt.Sprint(runs)))
		cfg.FlushRows = rapid.IntRange(3, 30).Draw(rt, "flushRows")
		m := &stateModel{t: t, cfg: cfg, s: mustState(t, cfg), mem: machine.NewMem()}
		m.disk = map[uint64][]keyValue{}
		defer func() {
			settle(m.s)
			_ = m.s.db.Close()
			_ = os.RemoveAll(cfg.Dir)
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"": m.Check, "set": m.Set, "set2": m.Set, "set3": m.Set, "delete": m.Delete, "delete2": m.Delete,
			"add": m.Add, "add2": m.Add, "append": m.Append, "append2": m.Append, "append3": m.Append,
			"commit": m.Commit, "commit2": m.Commit, "flush": m.Flush, "get": m.Get,
			"walk": m.Walk, "walk2": m.Walk, "walk3": m.Walk, "crash": m.Crash, "reopen": m.Reopen,
		})
	})
}

func TestDeletedStaysDeleted(t *testing.T) {
	cfg := stateConfig(t, filepath.Join(t.TempDir(), "state"))
	s := mustState(t, cfg)
	const rows = 5000
	key := func(i int) []byte { return fmt.Appendf(nil, "person/%06d", i) }
	for i := range rows {
		s.Set(key(i), bytes.Repeat([]byte{byte(i)}, 1000))
		s.Commit(uint64(i + 1))
	}
	must(t, s.Sync())
	for i := 0; i < rows; i += 2 {
		s.Delete(key(i))
		s.Commit(uint64(rows + i + 1))
	}
	for range 2 {
		must(t, s.Sync())
		must(t, s.db.Flatten(2))
		for err := error(nil); err == nil; { // until there is nothing left to collect
			err = s.db.RunValueLogGC(0.01)
		}
		must(t, s.Close())
		s = mustState(t, cfg)
		if got := len(all(s)); got != rows/2 {
			t.Fatalf("%d rows, want %d", got, rows/2)
		}
		for i := range rows {
			if _, ok := s.Get(key(i)); ok != (i%2 == 1) {
				t.Fatalf("row %d: present %v", i, ok)
			}
		}
	}
	must(t, s.Close())
}

// A commit as large as promised fits, on top of an overlay just below the limit for a flush.
func TestLargestCommitFits(t *testing.T) {
	cfg := stateConfig(t, filepath.Join(t.TempDir(), "state"))
	cfg.FlushBytes, cfg.FlushRows = maxFlushBytes, maxFlushRows
	s := mustState(t, cfg)
	fill := func(tag string, rows, total int) {
		for i := range rows {
			key := fmt.Appendf(nil, "%s%06d", tag, i)
			s.Set(key, make([]byte, total/rows-len(key)-RowOverheadBytes))
		}
	}
	for i, rows := range []int{1, 2, maxFlushRows - 1} {
		fill("a", rows, maxFlushBytes-1-rows)
		s.Commit(uint64(2*i + 1))
		if s.Flushed() != uint64(2*i) {
			t.Fatalf("flushed %d before there was enough", s.Flushed())
		}
		fill("b", min(rows, MaxCommitRows), MaxCommitBytes)
		s.Commit(uint64(2*i + 2))
		settle(s)
		if s.Flushed() != uint64(2*i+2) {
			t.Fatalf("flushed %d after %d", s.Flushed(), 2*i+2)
		}
	}
	must(t, s.Close())
	var failed []error
	cfg.Fatal = func(err error) { failed = append(failed, err) }
	s = mustState(t, cfg)
	s.Set([]byte("c"), make([]byte, 100))
	for i := range 30_000 {
		s.Set(fmt.Appendf(nil, "d%d", i), make([]byte, 100))
	}
	s.Commit(7)
	settle(s)
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "changed too much") {
		t.Fatalf("an oversized commit: %v", failed)
	}
	if err := s.Flush(); err == nil || s.Flushed() != 6 {
		t.Fatalf("a failed state flushes: %v, %d", err, s.Flushed())
	}
	s.Set([]byte("e"), make([]byte, maxFlushBytes))
	s.Commit(8) // waits for nothing: the write before has failed
	must(t, s.Close())
	cfg.Fatal = fatal(t)
	s = mustState(t, cfg)
	if _, ok := s.Get([]byte("c")); ok || s.Applied() != 6 {
		t.Fatal("part of an oversized commit is on disk")
	}
	must(t, s.Close())
}

// Readers go on while a ticker flushes; run with -race.
func TestFlushBesideReaders(t *testing.T) {
	cfg := stateConfig(t, filepath.Join(t.TempDir(), "state"))
	cfg.FlushRows = 50
	s := mustState(t, cfg)
	var lock sync.RWMutex // the caller's: writer against readers
	var wg sync.WaitGroup
	done := make(chan struct{})
	background := func(fn func()) {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					fn()
				}
			}
		})
	}
	background(func() { must(t, s.Flush()) })
	for range 2 {
		background(func() {
			lock.RLock()
			defer lock.RUnlock()
			// Every commit keeps exactly one of a row and its opposite.
			n := 0
			s.Ascend([]byte("x"), nil, func(key, _ []byte) bool {
				n++
				_, ok := s.Get(append([]byte("y"), key[1:]...))
				if ok {
					t.Errorf("%s and its opposite are there", key)
				}
				return true
			})
			s.Descend([]byte("y"), nil, func(_, _ []byte) bool { n++; return true })
			if a := s.Applied(); a > 100 && n != 100 {
				t.Errorf("%d rows at %d, want 100", n, a)
			}
		})
	}
	for i := range 1500 {
		lock.Lock()
		from, to := "x", "y"
		if i/100%2 == 1 {
			from, to = "y", "x"
		}
		s.Delete(fmt.Appendf(nil, "%s%d", from, i%100))
		s.Set(fmt.Appendf(nil, "%s%d", to, i%100), []byte("v"))
		s.Commit(uint64(i + 1))
		lock.Unlock()
	}
	close(done)
	wg.Wait()
	must(t, s.Close())
}

func TestStateRefusals(t *testing.T) {
	dir := t.TempDir()
	cfg := stateConfig(t, filepath.Join(dir, "state"))
	s := mustState(t, cfg)
	wantError := func(err error, words ...string) {
		t.Helper()
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("error %v, want %q in it", err, w)
			}
		}
	}
	_, err := OpenState(cfg)
	wantError(err, "another process", "stop that one first")
	s.Set([]byte("a"), nil)
	wantError(s.Sync(), "middle of a commit")
	_, err = s.Snapshot()
	wantError(err, "middle of a commit")
	must(t, s.Flush())
	if s.Flushed() != 0 {
		t.Error("flushed in the middle of a commit")
	}
	s.Commit(5)
	snap, err := s.Snapshot()
	must(t, err)
	wantError(s.Close(), "close them first")
	snap.Close()
	must(t, s.Close())

	wrong := cfg
	wrong.EncryptionKey = bytes.Repeat([]byte{8}, KeyBytes)
	_, err = OpenState(wrong)
	wantError(err, "encryption key is not the one")
	wrong.EncryptionKey = nil
	_, err = OpenState(wrong)
	wantError(err, "encryption key is not the one")
	wrong.EncryptionKey = []byte("short")
	_, err = OpenState(wrong)
	wantError(err, "must have 32")
	_, err = OpenLog(logConfig(t, cfg.Dir))
	wantError(err, "not this store's")
	_, err = OpenState(StateConfig{Log: quiet})
	wantError(err, "no directory")
	wantError(checkSpace(dir, 1<<62), "disk full", "free some space")

	var failed error
	cfg.Fatal = func(err error) { failed = err }
	s = mustState(t, cfg)
	s.Commit(4)
	wantError(failed, "out of order")
	failed = nil
	s.Set(make([]byte, MaxKeyBytes+1), nil)
	wantError(failed, "the most is")
	must(t, s.Close())
}

// Every walk over short keys, with rows on disk, changed, deleted, or both: as over a machine.Mem.
func TestEveryWalk(t *testing.T) {
	letters := []string{"\x00", "a", "b", "\xff"}
	keys := []string{""}
	for _, a := range letters {
		keys = append(keys, a)
		for _, b := range letters {
			keys = append(keys, a+b)
		}
	}
	s, mem := mustState(t, stateConfig(t, filepath.Join(t.TempDir(), "state"))), machine.NewMem()
	closeAfter(t, s)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range uint64(12) {
		for _, onDisk := range []bool{true, false} {
			for _, key := range keys {
				switch n := random.IntN(8); {
				case n < 3:
					s.Set([]byte(key), fmt.Append(nil, key, round, onDisk))
					mem.Set([]byte(key), fmt.Append(nil, key, round, onDisk))
				case n < 5:
					s.Delete([]byte(key))
					mem.Delete([]byte(key))
				}
			}
			s.Commit(round)
			if onDisk {
				must(t, s.Flush())
			}
		}
		for _, prefix := range keys {
			for i := -1; i < len(keys); i++ {
				var from []byte
				if i >= 0 {
					from = []byte(keys[i])
				}
				for _, down := range []bool{false, true} {
					got := walkAll(s, down, []byte(prefix), from, 100)
					if want := walkAll(mem, down, []byte(prefix), from, 100); !equalRows(got, want) {
						t.Fatalf("down=%v prefix %x from %x\n got %q\nwant %q", down, prefix, from, got, want)
					}
				}
			}
		}
	}
}
