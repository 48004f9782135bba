package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const damagedRows = 3000

func damagedRow(i uint64) (key, value []byte) {
	return fmt.Appendf(nil, "row%05d", i), bytes.Repeat(encodeUint64(i), 12)
}

// childLook opens a state after its files were changed, and says what it found.
func childLook(dir string) error {
	var failed error
	s, err := OpenState(StateConfig{
		Dir: dir, EncryptionKey: testKey, Log: quiet, Fatal: func(err error) { failed = err },
	})
	if err != nil {
		return err
	}
	rows := uint64(0)
	for i := range uint64(damagedRows) {
		key, want := damagedRow(i + 1)
		if got, ok := s.Get(key); ok && !bytes.Equal(got, want) {
			return fmt.Errorf("wrong: row %d reads %x", i+1, got)
		} else if ok {
			rows++
		}
	}
	if err := errors.Join(s.Verify(context.Background(), 0), failed); err != nil {
		return err
	}
	if rows != s.Applied() { // each commit made one row; an earlier state is made good by the log
		return fmt.Errorf("wrong: %d rows at %d", rows, s.Applied())
	}
	fmt.Println("right")
	return s.Close()
}

// A bit changed anywhere in any file of a state, closed or killed: it reads as after some commit, or the
// start says what is wrong. Wrong rows are never read. In children, since Badger ends the process for some.
func TestDamagedStateFiles(t *testing.T) {
	root := t.TempDir()
	cfg := stateConfig(t, filepath.Join(root, "closed"))
	s := mustState(t, cfg)
	for i := range uint64(damagedRows) {
		s.Set(damagedRow(i + 1))
		s.Commit(i + 1)
	}
	must(t, s.Flush())
	copyDir(t, cfg.Dir, filepath.Join(root, "killed"))
	must(t, s.Close())
	outcomes := map[string]map[string]int{}
	for _, kind := range []string{"closed", "killed"} {
		files, err := os.ReadDir(filepath.Join(root, kind))
		must(t, err)
		for _, f := range files {
			raw, err := os.ReadFile(filepath.Join(root, kind, f.Name()))
			must(t, err)
			used := len(trimZeros(raw))
			name := kind + " " + strings.TrimLeft(f.Name(), "0123456789")
			for i := range min(6, used) {
				at := (used - 1) * i / max(min(6, used)-1, 1)
				what := flipAndLook(t, root, kind, f.Name(), raw, at)
				if outcomes[name] == nil {
					outcomes[name] = map[string]int{}
				}
				outcomes[name][what]++
			}
		}
	}
	for name, counts := range outcomes {
		t.Logf("%s: %v", name, counts)
	}
	if outcomes["closed .sst"]["said"] != 6 {
		t.Errorf("damaged tables: %v", outcomes["closed .sst"])
	}
}

func flipAndLook(t *testing.T, root, kind, name string, raw []byte, at int) string {
	t.Helper()
	dir := filepath.Join(root, "flipped")
	copyDir(t, filepath.Join(root, kind), dir)
	bad := bytes.Clone(raw)
	bad[at] ^= 0x10
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path+".bad", bad, 0o600))
	must(t, errors.Join(copySparse(path+".bad", path), os.Remove(path+".bad")))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=look:"+dir)
	out, err := cmd.CombinedOutput()
	must(t, os.RemoveAll(dir))
	text := strings.TrimSpace(string(out))
	switch {
	case err == nil && text == "right":
		return "right"
	case strings.HasPrefix(text, "error wrong"), text == "":
		t.Errorf("%s of the %s state, byte %d of %d: %v %s", name, kind, at, len(raw), err, text)
	case strings.HasPrefix(text, "error"):
		return "said"
	}
	t.Logf("%s %s, byte %d: %.300s", kind, name, at, text)
	return "ended by badger"
}

// A state that was killed is opened without Badger's look at every table, and one flipped byte is said.
func TestKilledStateKnowsItsTables(t *testing.T) {
	root := t.TempDir()
	cfg := stateConfig(t, filepath.Join(root, "state"))
	s := mustState(t, cfg)
	closeAfter(t, s)
	for i := range uint64(60) {
		s.Set(fmt.Appendf(nil, "big%d", i), spaceless(i))
		s.Commit(i + 1)
		must(t, s.Flush())
	}
	until(t, "tables", func() bool { return len(s.tables()) > 0 })
	dir := filepath.Join(root, "killed")
	var sums tableSums
	until(t, "a copy with all tables on the list", func() bool { // Badger may write one after the last flush
		must(t, s.Flush())
		copyStill(t, cfg.Dir, dir)
		var all bool
		var err error
		sums, all, err = compareTables(dir)
		must(t, err)
		return all && len(sums) > 0
	})
	for name := range sums {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		must(t, err)
		raw[len(raw)/2] ^= 1
		must(t, os.WriteFile(path, raw, 0o600))
		cfg.Dir = dir
		if _, err := OpenState(cfg); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
}

// copyStill copies the directory of an open state when Badger has come to rest: with one write-ahead file,
// and the same files after the copy as before it.
func copyStill(t *testing.T, from, to string) {
	t.Helper()
	list := func() (names []string) {
		entries, err := os.ReadDir(from)
		must(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	until(t, "rest", func() bool {
		before := list()
		if mems, _ := filepath.Glob(filepath.Join(from, "*.mem")); len(mems) != 1 {
			return false
		}
		must(t, os.RemoveAll(to))
		return copyFiles(from, to) == nil && slices.Equal(before, list())
	})
}

// Badger empties a table before it removes it. A process that ends between the two leaves an empty one, which
// is nothing to complain of; an empty one that is needed is.
func TestKilledWhileRemovingATable(t *testing.T) {
	root := t.TempDir()
	cfg := stateConfig(t, filepath.Join(root, "state"))
	s := mustState(t, cfg)
	s.Set([]byte("k"), []byte("v"))
	s.Commit(7)
	must(t, s.Close())
	needed, err := listTables(cfg.Dir)
	if err != nil || len(needed) == 0 {
		t.Fatalf("no table: %v", err)
	}
	sums, err := readChecked(cfg.Dir)
	must(t, err)
	sums["000090.sst"] = 1
	must(t, sums.write(cfg.Dir))
	left := filepath.Join(cfg.Dir, "000090.sst")
	must(t, os.WriteFile(left, nil, 0o600))
	s = mustState(t, cfg)
	if v, ok := s.Get([]byte("k")); !ok || string(v) != "v" {
		t.Errorf("the state has %q %t", v, ok)
	}
	must(t, s.Close())
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty table is still there: %v", err)
	}
	must(t, os.Truncate(filepath.Join(cfg.Dir, needed[0]), 0))
	if _, err := OpenState(cfg); !errors.Is(err, ErrDamaged) {
		t.Errorf("a state without its table: %v", err)
	}
}

// spaceless is a value that compression does not shorten.
func spaceless(i uint64) []byte {
	value := make([]byte, 800_000)
	_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(value) // cannot fail
	return value
}
