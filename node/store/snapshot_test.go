package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// fillState commits rows under a tag, one commit each.
func fillState(s *State, tag string, rows int) {
	for i := range rows {
		s.Set(fmt.Appendf(nil, "%s/%05d", tag, i), bytes.Repeat([]byte(tag), i%50))
		s.Commit(s.Applied() + 1)
	}
}

func snapshot(t *testing.T, s *State) []byte {
	t.Helper()
	snap, err := s.Snapshot()
	must(t, err)
	defer snap.Close()
	var out bytes.Buffer
	n, err := snap.WriteTo(&out)
	must(t, err)
	if n != int64(out.Len()) {
		t.Fatalf("said %d bytes, wrote %d", n, out.Len())
	}
	return out.Bytes()
}

func TestSnapshotRestore(t *testing.T) {
	dir := t.TempDir()
	a := mustState(t, stateConfig(t, filepath.Join(dir, "a")))
	fillState(a, "old", 3000)
	a.Set([]byte{}, []byte("an empty key"))
	a.Set([]byte("large"), bytes.Repeat([]byte("x"), 900_000))
	a.Commit(4000)
	want := all(a)
	settle(a)
	liveRows, liveSum := a.Rows()
	snap, err := a.Snapshot()
	must(t, err)
	fillState(a, "later", 100) // not seen by the snapshot
	must(t, a.Flush())
	var stream bytes.Buffer
	_, err = snap.WriteTo(&stream)
	must(t, err)
	rows, sum := snap.Rows()
	if snap.Applied() != 4000 || rows != 3002 || rows != liveRows || sum != liveSum {
		t.Fatalf("snapshot of %d rows at %d", rows, snap.Applied())
	}
	snap.Close()
	snap.Close()
	must(t, a.Verify(t.Context(), 0))
	must(t, a.Close())

	cfg := stateConfig(t, filepath.Join(dir, "b"))
	b := mustState(t, cfg)
	fillState(b, "gone", 100)
	must(t, b.Close())
	must(t, Restore(cfg, &stream))
	for range 2 {
		b = mustState(t, cfg)
		if gotRows, gotSum := b.Rows(); gotRows != rows || gotSum != sum || b.Applied() != 4000 {
			t.Fatalf("%d rows %x at %d", gotRows, gotSum, b.Applied())
		}
		if !equalRows(all(b), want) {
			t.Fatal("restored rows differ")
		}
		must(t, b.Close())
	}
	left, _ := filepath.Glob(cfg.Dir + ".*")
	if len(left) != 1 || left[0] != cfg.Dir+lockSuffix {
		t.Errorf("left over: %q", left)
	}
	// A replica that applied the same has the same snapshot, byte for byte.
	a = mustState(t, stateConfig(t, filepath.Join(dir, "a")))
	must(t, Restore(cfg, bytes.NewReader(snapshot(t, a))))
	b = mustState(t, cfg)
	if !bytes.Equal(snapshot(t, a), snapshot(t, b)) {
		t.Error("snapshots of equal states differ")
	}
	must(t, a.Close())
	must(t, b.Close())
}

func TestTornSnapshotIsRefused(t *testing.T) {
	dir := t.TempDir()
	a := mustState(t, stateConfig(t, filepath.Join(dir, "a")))
	fillState(a, "new", 20)
	good := snapshot(t, a)
	must(t, a.Close())
	cfg := stateConfig(t, filepath.Join(dir, "b"))
	b := mustState(t, cfg)
	fillState(b, "old", 10)
	want := all(b)
	err := Restore(cfg, bytes.NewReader(good))
	if err == nil || !strings.Contains(err.Error(), "close that first") {
		t.Fatalf("restored under an open state: %v", err)
	}
	must(t, b.Close())
	refused := func(what string, r io.Reader) {
		t.Helper()
		if err := Restore(cfg, r); err == nil {
			t.Fatalf("%s: restored", what)
		}
		if exists(cfg.Dir + newSuffix) {
			t.Fatalf("%s: left over", what)
		}
	}
	end := len(good)
	for _, n := range []int{0, 1, 7, 15, 16, 17, 100, end / 2, end - 49, end - 48, end - 1} {
		refused(fmt.Sprintf("cut at %d", n), bytes.NewReader(good[:n]))
	}
	refused("longer", bytes.NewReader(append(bytes.Clone(good), 0)))
	for at := 0; at < len(good); at += 1 + len(good)/20 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x40
		refused(fmt.Sprintf("flipped at %d", at), bytes.NewReader(bad))
	}
	b = mustState(t, cfg)
	if !equalRows(all(b), want) || b.Applied() != 10 {
		t.Fatal("the old state was touched")
	}
	must(t, b.Close())
	must(t, Restore(cfg, bytes.NewReader(good)))
}

// Every single byte of a snapshot counts.
func TestSnapshotNoticesEveryFlip(t *testing.T) {
	a := mustState(t, stateConfig(t, filepath.Join(t.TempDir(), "a")))
	fillState(a, "row", 5)
	good := snapshot(t, a)
	must(t, a.Close())
	nothing := func(_, _ []byte) error { return nil }
	if _, _, err := readSnapshot(bytes.NewReader(good), nothing); err != nil {
		t.Fatal(err)
	}
	for at := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			if _, _, err := readSnapshot(bytes.NewReader(bad), nothing); err == nil {
				t.Fatalf("bit %d of byte %d flipped: read", bit, at)
			}
		}
	}
}

// An interrupted Restore is discarded or finished at the next start, wherever it was cut.
func TestRestoreCutAnywhere(t *testing.T) {
	root := t.TempDir()
	build := func(name, tag string, rows int) string {
		dir := filepath.Join(root, name)
		s := mustState(t, stateConfig(t, dir))
		fillState(s, tag, rows)
		must(t, s.Close())
		return dir
	}
	oldDir, newDir := build("old", "old", 5), build("new", "new", 7)
	cases := []struct {
		name                          string
		dir, fresh, marked, old, done bool // which directories are there
		want                          int
	}{
		{name: "filling", dir: true, fresh: true, want: 5},
		{name: "filled", dir: true, fresh: true, marked: true, want: 7},
		{name: "first", fresh: true, marked: true, want: 7},
		{name: "moved", fresh: true, marked: true, old: true, want: 7},
		{name: "switched", dir: true, done: true, old: true, want: 7},
		{name: "tidied", dir: true, done: true, want: 7},
		{name: "only old", old: true, want: 5},
	}
	for _, c := range cases {
		dir := filepath.Join(root, c.name)
		if c.dir {
			from := oldDir
			if c.done {
				from = newDir
			}
			copyDir(t, from, dir)
		}
		if c.fresh {
			copyDir(t, newDir, dir+newSuffix)
		}
		if c.old {
			copyDir(t, oldDir, dir+oldSuffix)
		}
		if c.marked {
			must(t, os.WriteFile(filepath.Join(dir+newSuffix, restoreDone), nil, 0o600))
		}
		if c.done {
			must(t, os.WriteFile(filepath.Join(dir, restoreDone), nil, 0o600))
		}
		s := mustState(t, stateConfig(t, dir))
		if got := len(all(s)); got != c.want || s.Applied() != uint64(c.want) {
			t.Errorf("%s: %d rows at %d, want %d", c.name, got, s.Applied(), c.want)
		}
		if exists(dir+newSuffix) || exists(dir+oldSuffix) || exists(filepath.Join(dir, restoreDone)) {
			t.Errorf("%s: left over", c.name)
		}
		must(t, s.Close())
	}
}

// Badger reads past damage as if nothing were there, and has brought deleted rows back: the count and the
// sum of the rows tell.
func TestLostRowIsNoticed(t *testing.T) {
	var failed error
	cfg := stateConfig(t, filepath.Join(t.TempDir(), "state"))
	cfg.Fatal = func(err error) { failed = err }
	s := mustState(t, cfg)
	closeAfter(t, s)
	fillState(s, "row", 10)
	must(t, s.Flush())
	raw := func(do func(*badger.Txn) error) { must(t, s.db.Update(do)) }
	key := rowKey([]byte("row/00004"))
	damage := []struct{ harm, mend func(*badger.Txn) error }{
		{
			func(txn *badger.Txn) error { return txn.Delete(key) },
			func(txn *badger.Txn) error { return txn.Set(key, []byte("rowrowrowrow")) },
		},
		{
			func(txn *badger.Txn) error { return txn.Set(key, []byte("rowrowrowroe")) },
			func(txn *badger.Txn) error { return txn.Set(key, []byte("rowrowrowrow")) },
		},
		{
			func(txn *badger.Txn) error { return txn.Set(rowKey([]byte("x")), nil) },
			func(txn *badger.Txn) error { return txn.Delete(rowKey([]byte("x"))) },
		},
	}
	for i, d := range damage {
		raw(d.harm)
		snap, err := s.Snapshot()
		must(t, err)
		_, err = snap.WriteTo(io.Discard)
		snap.Close()
		if err == nil || failed == nil || !strings.Contains(failed.Error(), "restore from a replica") {
			t.Fatalf("damage %d: %v, %v", i, err, failed)
		}
		failed, s.faults.first = nil, nil
		raw(d.mend)
	}
	snapshot(t, s)
}

func TestBind(t *testing.T) {
	root := t.TempDir()
	path := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	start := func(state, log, snaps string, use bool) error {
		s, l := mustState(t, stateConfig(t, path(state))), mustLog(t, logConfig(t, path(log)))
		err := Bind(s, l, path(snaps))
		if use {
			fillState(s, "row", 3)
			must(t, l.StoreLogs(entries(l.last+1, 3, 1)))
			must(t, l.SetUint64([]byte("CurrentTerm"), 1))
			must(t, os.MkdirAll(path(snaps, "snapshots", "1-2-3"), 0o700))
			must(t, os.WriteFile(path(snaps, "snapshots", "1-2-3", "state.bin"), []byte("x"), 0o600))
		}
		must(t, s.Close())
		must(t, l.Close())
		return err
	}
	must(t, start("s1", "l1", "n1", false))
	must(t, start("s1", "l1", "n1", true))
	must(t, start("s1", "l1", "n1", true))
	must(t, start("s2", "l2", "n2", false))
	for _, c := range []struct{ state, log, snaps, want string }{
		{"s1", "l1", "n2", "different nodes"},
		{"s1", "l2", "n1", "different nodes"},
		{"s2", "l1", "n1", "different nodes"},
		{"s1", "l1", "wiped", "no id"},
		{"s1", "wiped-l", "n1", "no id"},
		{"wiped-s", "l1", "n1", "no id"},
		{"wiped-s", "wiped-l", "n1", "no id"},
	} {
		err := start(c.state, c.log, c.snaps, false)
		if text := fmt.Sprint(err); !strings.Contains(text, c.want) || !strings.Contains(text, "put back") {
			t.Errorf("%v: %v", c, err)
		}
	}
	must(t, start("s1", "l1", "n1", false))
	// A restore keeps the id; a start that was cut while the ids were written goes on.
	s := mustState(t, stateConfig(t, path("s1")))
	stream := snapshot(t, s)
	must(t, s.Close())
	must(t, Restore(stateConfig(t, path("s1")), bytes.NewReader(stream)))
	must(t, start("s1", "l1", "n1", false))
	must(t, os.Remove(path("l2", identityFile)))
	must(t, start("s2", "l2", "n2", true))
	must(t, os.WriteFile(path("l2", identityFile), []byte("nonsense"), 0o600))
	if err := start("s2", "l2", "n2", false); err == nil || !strings.Contains(err.Error(), "not an id") {
		t.Errorf("%v", err)
	}
}

// TestBindHome wants the stores that the node had, though all of them be lost or exchanged together.
func TestBindHome(t *testing.T) {
	root := t.TempDir()
	start := func(stores string) error {
		dir := func(part string) string { return filepath.Join(root, stores, part) }
		s, l := mustState(t, stateConfig(t, dir("state"))), mustLog(t, logConfig(t, dir("log")))
		must(t, Bind(s, l, dir("snapshots")))
		err := BindHome(root, s)
		must(t, s.Close())
		must(t, l.Close())
		return err
	}
	must(t, start("first"))
	must(t, start("first"))
	for range 2 { // it stays an error
		if err := start("second"); !errors.Is(err, ErrApart) {
			t.Errorf("exchanged: %v", err)
		}
	}
	must(t, os.RemoveAll(filepath.Join(root, "first")))
	if err := start("first"); !errors.Is(err, ErrApart) {
		t.Errorf("lost: %v", err)
	}
	must(t, UnbindHome(root))
	must(t, UnbindHome(root))
	must(t, start("second"))
	if err := start("first"); !errors.Is(err, ErrApart) {
		t.Errorf("exchanged again: %v", err)
	}
}
