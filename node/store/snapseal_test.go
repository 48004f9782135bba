package store

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func sealedConfig(t *testing.T, dir string) StateConfig {
	cfg := stateConfig(t, dir)
	cfg.SnapshotKey = bytes.Repeat([]byte{9}, KeyBytes)
	return cfg
}

// A sealed snapshot restores, hides what it holds, and has a key of its own each time.
func TestSealedSnapshot(t *testing.T) {
	dir := t.TempDir()
	a := mustState(t, sealedConfig(t, filepath.Join(dir, "a")))
	fillState(a, "a word in confidence", 300)
	want := all(a)
	sealed, again := snapshot(t, a), snapshot(t, a)
	must(t, a.Verify(t.Context(), 0))
	must(t, a.Close())
	if bytes.Contains(sealed, []byte("a word in confidence")) || bytes.Contains(sealed, snapshotMagic) {
		t.Error("the snapshot can be read")
	}
	if bytes.Equal(sealed[300:400], again[300:400]) {
		t.Error("two snapshots were sealed alike")
	}
	cfg := sealedConfig(t, filepath.Join(dir, "b"))
	must(t, Restore(cfg, bytes.NewReader(sealed)))
	b := mustState(t, cfg)
	if !equalRows(all(b), want) || b.Applied() != 300 {
		t.Error("restored rows differ")
	}
	must(t, b.Close())
	for what, key := range map[string][]byte{
		"sealed": nil, "another circle": bytes.Repeat([]byte{1}, KeyBytes),
	} {
		cfg.SnapshotKey = key
		if err := Restore(cfg, bytes.NewReader(sealed)); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	cfg.SnapshotKey = testKey[:5]
	if _, err := OpenState(cfg); err == nil || !strings.Contains(err.Error(), "snapshot key has 5 bytes") {
		t.Error(err)
	}
}

// A snapshot that was never sealed restores where there is a key: it is from the format before.
func TestClearSnapshotRestores(t *testing.T) {
	dir := t.TempDir()
	a := mustState(t, stateConfig(t, filepath.Join(dir, "a")))
	fillState(a, "row", 30)
	want, stream := all(a), snapshot(t, a)
	must(t, a.Close())
	cfg := sealedConfig(t, filepath.Join(dir, "b"))
	must(t, Restore(cfg, bytes.NewReader(stream)))
	b := mustState(t, cfg)
	closeAfter(t, b)
	if !equalRows(all(b), want) {
		t.Error("restored rows differ")
	}
}

// Cut short or flipped at every byte of its beginning and end, and at many between: refused, and the old
// state is there as it was.
func TestTornSealedSnapshotIsRefused(t *testing.T) {
	dir := t.TempDir()
	a := mustState(t, sealedConfig(t, filepath.Join(dir, "a")))
	fillState(a, "new", 2500) // several of age's parts
	good := snapshot(t, a)
	must(t, a.Close())
	cfg := sealedConfig(t, filepath.Join(dir, "b"))
	b := mustState(t, cfg)
	fillState(b, "old", 10)
	want := all(b)
	must(t, b.Close())
	nothing := func(_, _ []byte) error { return nil }
	read := func(b []byte) error {
		r, err := snapshotKey(cfg.SnapshotKey).opened(bytes.NewReader(b))
		if err == nil {
			_, _, err = readSnapshot(r, nothing)
		}
		return err
	}
	must(t, read(good))
	for at := range good {
		if at > 600 && at < len(good)-100 && at%1009 != 0 {
			continue
		}
		if err := read(good[:at]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", at, err)
		}
		bad := bytes.Clone(good)
		bad[at] ^= 0x20
		if err := read(bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flipped at %d: %v", at, err)
		}
	}
	if err := read(append(bytes.Clone(good), 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("longer: %v", err)
	}
	for at := 0; at < len(good); at += 1 + len(good)/12 {
		var broken io.Reader = bytes.NewReader(good[:at])
		if at%2 == 0 {
			broken = io.MultiReader(broken, bytes.NewReader(make([]byte, len(good)-at)))
		}
		if err := Restore(cfg, broken); !errors.Is(err, ErrDamaged) {
			t.Fatalf("restored one broken at %d: %v", at, err)
		}
		if exists(cfg.Dir + newSuffix) {
			t.Fatalf("broken at %d: left over", at)
		}
	}
	b = mustState(t, cfg)
	if !equalRows(all(b), want) || b.Applied() != 10 {
		t.Fatal("the old state was touched")
	}
	must(t, b.Close())
	must(t, Restore(cfg, bytes.NewReader(good)))
}
