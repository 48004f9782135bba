package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// BenchmarkStoreLogs appends entries of 300 bytes, synced, to a Log and to bbolt.
func BenchmarkStoreLogs(b *testing.B) {
	dir := b.TempDir()
	l := mustLog(b, logConfig(b, filepath.Join(dir, "log")))
	closeAfter(b, l)
	bolt := openBolt(b, dir)
	closeAfter(b, bolt.db)
	for _, s := range []struct {
		name  string
		store raft.LogStore
	}{{"segments", l}, {"bbolt", bolt}} {
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/entries=%d", s.name, n), func(b *testing.B) {
				batch := make([]*raft.Log, n)
				for b.Loop() {
					last, _ := s.store.LastIndex()
					for i := range batch {
						batch[i] = &raft.Log{Index: last + 1 + uint64(i), Term: 1, Data: make([]byte, 300)}
					}
					must(b, s.store.StoreLogs(batch))
				}
			})
		}
	}
}

// BenchmarkStateCommit commits 8 rows of 100 bytes, new ones and a few that change over and over.
func BenchmarkStateCommit(b *testing.B) {
	s := mustState(b, stateConfig(b, filepath.Join(b.TempDir(), "state")))
	closeAfter(b, s)
	for b.Loop() {
		index := s.Applied() + 1
		for i := range uint64(8) {
			key := fmt.Appendf(nil, "t%d/%d", i, index)
			if i >= 4 {
				key = fmt.Appendf(nil, "t%d/%d", i, index%50)
			}
			s.Set(key, make([]byte, 100))
		}
		s.Commit(index)
	}
}

// BenchmarkStateGet reads rows that are on disk.
func BenchmarkStateGet(b *testing.B) {
	s := mustState(b, stateConfig(b, filepath.Join(b.TempDir(), "state")))
	closeAfter(b, s)
	const rows = 20_000
	fillState(s, "row", rows)
	must(b, s.Flush())
	for i := 0; b.Loop(); i++ {
		if _, ok := s.Get(fmt.Appendf(nil, "row/%05d", i*7919%rows)); !ok {
			b.Fatal("a row is missing")
		}
	}
}
