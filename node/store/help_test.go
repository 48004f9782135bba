package store

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

var (
	quiet   = slog.New(slog.DiscardHandler)
	testKey = bytes.Repeat([]byte{7}, KeyBytes)
)

// fatal fails the test where a storage error would have ended the process.
func fatal(t testing.TB) func(error) {
	return func(err error) { t.Errorf("fatal: %v", err) }
}

func stateConfig(t testing.TB, dir string) StateConfig {
	return StateConfig{Dir: dir, EncryptionKey: testKey, Log: quiet, Fatal: fatal(t)}
}

func logConfig(t testing.TB, dir string) LogConfig {
	return LogConfig{Dir: dir, EncryptionKey: testKey, Log: quiet, Fatal: fatal(t)}
}

func mustState(t testing.TB, cfg StateConfig) *State {
	t.Helper()
	s, err := OpenState(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustLog(t testing.TB, cfg LogConfig) *Log {
	t.Helper()
	l, err := OpenLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func closeAfter(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// entries makes n log entries from index first on.
func entries(first uint64, n int, term uint64) []*raft.Log {
	var out []*raft.Log
	for i := range uint64(n) {
		data := fmt.Appendf(nil, "entry %d/%d", term, first+i)
		out = append(out, &raft.Log{Index: first + i, Term: term, Data: data})
	}
	return out
}

// copyDir is what a crash leaves: the files as they are, without a Close.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	must(t, copyFiles(from, to))
}

func copyFiles(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if d.Name() == "LOCK" {
			return nil
		}
		return copySparse(path, filepath.Join(to, rel))
	})
}

// copySparse leaves holes where there are zeros: Badger's files are large and mostly empty.
func copySparse(from, to string) error {
	in, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	used := bytes.TrimRight(in, "\x00")
	if _, err := out.Write(used); err != nil {
		return err
	}
	return out.Truncate(int64(len(in)))
}

// raftStore is what raft asks of its stores.
type raftStore interface {
	raft.LogStore
	raft.StableStore
}

// openBolt opens the oracle that a Log is compared with.
func openBolt(t testing.TB, dir string) *BoltLog {
	t.Helper()
	b, err := OpenBoltLog(dir)
	must(t, err)
	return b
}
