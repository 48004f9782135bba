package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// logModel does the same to a Log, to bbolt and to raft's own store in memory, as raft would do it.
type logModel struct {
	cfg            LogConfig
	log            *Log
	bolt           *BoltLog
	mem            *raft.InmemStore
	first, last    uint64 // of the entries
	term           uint64
	commit, staged uint64
	hasStaged      bool
	root           string
	crashes        int
}

func (m *logModel) each(t *rapid.T, do func(raftStore) error) {
	for _, s := range []raftStore{m.log, m.bolt, m.mem} {
		if err := do(s); err != nil {
			t.Fatalf("%T: %v", s, err)
		}
	}
}

var anyEntry = rapid.Custom(func(t *rapid.T) *raft.Log {
	e := &raft.Log{
		Type:       raft.LogType(rapid.IntRange(0, 5).Draw(t, "type")),
		Data:       rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data"),
		Extensions: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "ext"),
	}
	if rapid.Bool().Draw(t, "timed") {
		seconds := rapid.Int64Range(-5, 1<<33).Draw(t, "s")
		e.AppendedAt = time.Unix(seconds, rapid.Int64Range(0, 999).Draw(t, "ns"))
	}
	return e
})

func (m *logModel) store(t *rapid.T, next uint64) {
	m.term += rapid.Uint64Range(0, 2).Draw(t, "term")
	batch := rapid.SliceOfN(anyEntry, 1, 10).Draw(t, "entries")
	for i, e := range batch {
		e.Index, e.Term = next+uint64(i), m.term
	}
	m.each(t, func(s raftStore) error { return s.StoreLogs(batch) })
	if m.first == 0 {
		m.first = next
	}
	m.last = next + uint64(len(batch)) - 1
	if m.hasStaged {
		m.commit, m.hasStaged = min(m.staged, m.last), false
	}
}

func (m *logModel) Append(t *rapid.T) { m.store(t, m.last+1) }

// AppendBeyond is what raft does after a crash between restoring a snapshot and removing the old entries.
func (m *logModel) AppendBeyond(t *rapid.T) {
	old := m.last
	if old != 0 {
		for _, s := range []raftStore{m.bolt, m.mem} {
			if err := s.DeleteRange(m.first, m.last); err != nil {
				t.Fatal(err)
			}
		}
		m.deleted(m.first)
		m.first, m.last = 0, 0
	}
	m.store(t, old+rapid.Uint64Range(2, 20).Draw(t, "gap"))
}

func (m *logModel) deleted(low uint64) {
	m.commit, m.staged = min(m.commit, low-1), min(m.staged, low-1)
}

func (m *logModel) DeleteFront(t *rapid.T) {
	if m.first == m.last {
		return
	}
	high := rapid.Uint64Range(m.first, m.last-1).Draw(t, "high")
	low := rapid.Uint64Range(0, m.first).Draw(t, "low")
	m.each(t, func(s raftStore) error { return s.DeleteRange(low, high) })
	m.first = high + 1
}

func (m *logModel) DeleteBack(t *rapid.T) {
	if m.last == 0 {
		return
	}
	low := rapid.Uint64Range(m.first, m.last).Draw(t, "low")
	high := m.last + rapid.Uint64Range(0, 3).Draw(t, "beyond")
	m.each(t, func(s raftStore) error { return s.DeleteRange(low, high) })
	m.deleted(low)
	if m.last = low - 1; m.last < m.first {
		m.first, m.last = 0, 0
	}
}

func (m *logModel) DeleteOutside(t *rapid.T) {
	for _, s := range []raftStore{m.log, m.bolt} { // InmemStore gets this wrong
		if s.DeleteRange(m.last+1, m.last+9) != nil || m.first > 0 && s.DeleteRange(0, m.first-1) != nil {
			t.Fatalf("%T refuses to delete nothing", s)
		}
	}
}

func (m *logModel) DeleteHole(t *rapid.T) {
	if m.last < m.first+2 || m.first == 0 {
		return
	}
	err := m.log.DeleteRange(m.first+1, m.last-1)
	if err == nil || !strings.Contains(err.Error(), "would leave a hole") {
		t.Fatalf("a hole: %v", err)
	}
}

func (m *logModel) StoreAgain(t *rapid.T) {
	again := entries(rapid.Uint64Range(0, m.last).Draw(t, "again"), 2, m.term)
	if err := m.log.StoreLogs(again); err == nil {
		t.Fatalf("stored %d again, last is %d", again[0].Index, m.last)
	}
	if err := m.log.StoreLogs([]*raft.Log{{Index: m.last + 1}, {Index: m.last + 3}}); err == nil {
		t.Fatal("stored with a hole")
	}
}

func (m *logModel) Stage(t *rapid.T) {
	m.staged, m.hasStaged = rapid.Uint64Range(0, m.last+5).Draw(t, "staged"), true
	if err := m.log.StageCommitIndex(m.staged); err != nil {
		t.Fatal(err)
	}
}

func (m *logModel) Stable(t *rapid.T) {
	key := rapid.SampledFrom([]string{"CurrentTerm", "LastVoteCand", "other"}).Draw(t, "key")
	value := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "value")
	m.each(t, func(s raftStore) error { return s.Set([]byte(key), value) })
}

func (m *logModel) Vote(t *rapid.T) {
	term := rapid.Uint64().Draw(t, "term")
	m.each(t, func(s raftStore) error {
		err := s.SetUint64([]byte(voteTermKey), term)
		return errors.Join(err, s.Set([]byte(voteCandidateKey), []byte("x")))
	})
}

func (m *logModel) Reopen(t *rapid.T) {
	var err error
	if err = m.log.Close(); err == nil {
		m.log, err = OpenLog(m.cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.hasStaged = false
}

// Crash leaves the files as they are; the log goes on in a copy of them.
func (m *logModel) Crash(t *rapid.T) {
	old := m.log
	m.crashes++
	dir := fmt.Sprintf("%s.%d", m.root, m.crashes)
	err := os.CopyFS(dir, os.DirFS(m.cfg.Dir))
	if err == nil {
		err = errors.Join(old.Close(), os.RemoveAll(m.cfg.Dir))
	}
	m.cfg.Dir = dir
	if err == nil {
		m.log, err = OpenLog(m.cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.hasStaged = false
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data) &&
		bytes.Equal(a.Extensions, b.Extensions) && a.AppendedAt.Equal(b.AppendedAt)
}

func (m *logModel) Check(t *rapid.T) {
	for _, s := range []raftStore{m.log, m.bolt, m.mem} {
		first, err := s.FirstIndex()
		last, err2 := s.LastIndex()
		if err != nil || err2 != nil || first != m.first || last != m.last {
			t.Fatalf("%T: %d to %d (%v, %v), want %d to %d", s, first, last, err, err2, m.first, m.last)
		}
	}
	low := m.first - min(m.first, 2)
	for index := low; index <= m.last+2; index++ {
		var got, bolt, mem raft.Log
		err, err2, err3 := m.log.GetLog(index, &got), m.bolt.GetLog(index, &bolt), m.mem.GetLog(index, &mem)
		sameErrors := errors.Is(err, err2) && errors.Is(err, err3)
		if !sameErrors || !sameEntry(&got, &bolt) || !sameEntry(&got, &mem) {
			t.Fatalf("entry %d: %v %v, %v %v, %v %v", index, got, err, bolt, err2, mem, err3)
		}
	}
	for _, key := range []string{"CurrentTerm", voteCandidateKey, voteTermKey, "other", "absent"} {
		got, err := m.log.Get([]byte(key))
		want, err2 := m.bolt.Get([]byte(key))
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%s: %x %v, want %x %v", key, got, err, want, err2)
		}
	}
	if got, err := m.log.GetCommitIndex(); err != nil || got != min(m.commit, m.last) {
		t.Fatalf("commit index %d %v, want %d of %d", got, err, m.commit, m.last)
	}
}

func TestLogModel(t *testing.T) {
	root, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		dir := filepath.Join(root, fmt.Sprint(runs))
		cfg := logConfig(t, dir)
		cfg.segmentBytes = rapid.SampledFrom([]int64{1500, 6000, 1 << 20}).Draw(rt, "segment")
		m := &logModel{cfg: cfg, log: mustLog(t, cfg), bolt: openBolt(t, dir), mem: raft.NewInmemStore()}
		m.root = dir + "-crashed"
		m.bolt.db.NoSync = true
		defer func() {
			err := errors.Join(m.log.Close(), m.bolt.db.Close(), os.RemoveAll(dir), os.RemoveAll(m.cfg.Dir))
			if err != nil {
				t.Error(err)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"": m.Check, "append": m.Append, "append2": m.Append, "append3": m.Append,
			"beyond": m.AppendBeyond,
			"front":  m.DeleteFront, "back": m.DeleteBack, "outside": m.DeleteOutside,
			"hole":  m.DeleteHole,
			"again": m.StoreAgain, "stage": m.Stage, "stable": m.Stable, "vote": m.Vote, "reopen": m.Reopen,
			"crash": m.Crash,
		})
	})
}

// Long appends and deletions leave what they should on disk, and no more files than that takes.
func TestLongRanges(t *testing.T) {
	cfg := logConfig(t, filepath.Join(t.TempDir(), "log"))
	cfg.segmentBytes = 64 << 10
	l := mustLog(t, cfg)
	const n = 9000
	must(t, l.StageCommitIndex(n-10))
	must(t, l.StoreLogs(entries(1, n, 1)))
	want := func(first, last, commit uint64, segments int) {
		t.Helper()
		must(t, l.Close())
		l = mustLog(t, cfg)
		gotFirst, gotLast := l.bounds()
		gotCommit, _ := l.GetCommitIndex()
		if gotFirst != first || gotLast != last || gotCommit != commit {
			t.Fatalf("%d to %d, commit %d; want %d to %d, commit %d",
				gotFirst, gotLast, gotCommit, first, last, commit)
		}
		if count, err := l.Verify(t.Context(), 0); err != nil || first > 0 && count != last-first+1 {
			t.Fatal(count, err)
		}
		if numbers, _, err := listSegments(cfg.Dir); len(numbers) > segments || err != nil {
			t.Fatalf("%d segments, want at most %d: %v", len(numbers), segments, err)
		}
	}
	want(1, n, n-10, 12)
	must(t, l.DeleteRange(1, n/2))
	want(n/2+1, n, n-10, 7)
	must(t, l.DeleteRange(0, n-1))
	want(n, n, n-10, 1)
	must(t, l.StoreLogs(entries(n+1, n, 1)))
	must(t, l.DeleteRange(n-20, 2*n))
	want(0, 0, 0, 1)
	must(t, l.StoreLogs(entries(n, n, 1)))
	must(t, l.DeleteRange(n+21, 2*n))
	must(t, l.StageCommitIndex(n+20))
	// Entries that are not committed take the place of those deleted: they must not pass for committed.
	must(t, l.StoreLogs(entries(n+21, 100, 2)))
	must(t, l.DeleteRange(n+11, 2*n))
	must(t, l.StoreLogs(entries(n+11, 100, 3)))
	want(n, n+110, n+10, 14)
	must(t, l.DeleteRange(0, 3*n))
	want(0, 0, 0, 1)
	big := entries(5, 7, 3)
	for _, e := range big {
		e.Data = make([]byte, MaxEntryBytes/2)
	}
	big[3].Data = bytes.Repeat([]byte("x"), MaxEntryBytes)
	must(t, l.StageCommitIndex(9))
	must(t, l.StoreLogs(big))
	want(5, 11, 9, 8)
	err := l.StoreLog(&raft.Log{Index: 12, Data: make([]byte, MaxEntryBytes+1)})
	if err == nil || !strings.Contains(err.Error(), "make the command smaller") {
		t.Fatalf("an oversized entry: %v", err)
	}
	must(t, l.Close())
}

// A vote's term alone is never on disk: neither after a crash, nor after a Close.
func TestVoteIsStoredWhole(t *testing.T) {
	root := t.TempDir()
	cfg := logConfig(t, filepath.Join(root, "log"))
	l := mustLog(t, cfg)
	vote := func(l *Log) string {
		term, err := l.GetUint64([]byte(voteTermKey))
		candidate, err2 := l.Get([]byte(voteCandidateKey))
		return fmt.Sprintf("%d %v %s %v", term, err, candidate, err2)
	}
	if got := vote(l); got != "0 not found  not found" {
		t.Fatal(got)
	}
	must(t, l.SetUint64([]byte(voteTermKey), 4))
	must(t, l.Set([]byte(voteCandidateKey), []byte("ann")))
	must(t, l.SetUint64([]byte(voteTermKey), 5))
	must(t, l.SetUint64([]byte("CurrentTerm"), 5)) // takes no half of the vote with it
	if got := vote(l); got != "5 <nil> ann <nil>" {
		t.Fatal(got)
	}
	copyDir(t, cfg.Dir, filepath.Join(root, "crashed"))
	must(t, l.Close())
	for _, dir := range []string{"log", "crashed"} {
		l := mustLog(t, logConfig(t, filepath.Join(root, dir)))
		if got := vote(l); got != "4 <nil> ann <nil>" {
			t.Errorf("%s: %s", dir, got)
		}
		if term, err := l.GetUint64([]byte("CurrentTerm")); term != 5 || err != nil {
			t.Errorf("%s: current term %d %v", dir, term, err)
		}
		must(t, l.SetUint64([]byte(voteTermKey), 6))
		must(t, l.Set([]byte(voteCandidateKey), []byte("bob")))
		must(t, l.Close())
		l = mustLog(t, logConfig(t, l.dir))
		if got := vote(l); got != "6 <nil> bob <nil>" {
			t.Errorf("%s: %s", dir, got)
		}
		must(t, l.Close())
	}
}

// After a storage error nothing more is accepted: what is on disk is not known any more.
func TestLogStopsAtFirstError(t *testing.T) {
	var failed []error
	cfg := logConfig(t, filepath.Join(t.TempDir(), "log"))
	cfg.Fatal = func(err error) { failed = append(failed, err) }
	l := mustLog(t, cfg)
	must(t, l.StoreLogs(entries(1, 3, 1)))
	must(t, l.newest().file.Close())
	if err := l.StoreLogs(entries(4, 1, 1)); err == nil || len(failed) != 1 {
		t.Fatalf("%v, %v", err, failed)
	}
	for _, err := range []error{
		l.StoreLogs(entries(4, 1, 1)), l.DeleteRange(1, 2),
		l.Set([]byte("a"), nil), l.SetUint64([]byte("a"), 1),
	} {
		if err == nil || !strings.Contains(err.Error(), "not usable since") {
			t.Errorf("after a failure: %v", err)
		}
	}
}

// Readers go on beside appends and deletions, as raft has it: they find an entry, or none, never another.
func TestReadersBesideWriters(t *testing.T) {
	cfg := logConfig(t, filepath.Join(t.TempDir(), "log"))
	cfg.segmentBytes = 8 << 10
	l := mustLog(t, cfg)
	closeAfter(t, l)
	must(t, l.StoreLogs(entries(1, 50, 1)))
	done := make(chan struct{})
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			for seen := uint64(0); ; {
				select {
				case <-done:
					if seen == 0 {
						t.Error("nothing was read")
					}
					return
				default:
				}
				first, last := l.bounds()
				var e raft.Log
				err := l.GetLog(first+rand.Uint64N(last-first+1), &e)
				switch {
				case err == nil && bytes.HasSuffix(e.Data, fmt.Appendf(nil, "/%d", e.Index)):
					seen++
				case !errors.Is(err, raft.ErrLogNotFound):
					t.Errorf("%v: %v", e, err)
				}
			}
		})
	}
	running.Go(func() { // raft removes the front beside appending
		for range 40 {
			if first, last := l.bounds(); last > first+100 {
				if err := l.DeleteRange(0, last-100); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 300 {
		_, last := l.bounds()
		must(t, l.StoreLogs(entries(last+1, 20, uint64(i+2))))
		if i%10 == 9 {
			must(t, l.DeleteRange(last+5, last+20))
		}
	}
	close(done)
	running.Wait()
}
