package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// smallLog makes a log with all there can be: several segments and runs, deletions at both ends, a vote.
// It is closed; its entries are 4 to 24.
func smallLog(t *testing.T, dir string) LogConfig {
	t.Helper()
	cfg := logConfig(t, dir)
	cfg.segmentBytes = 1024
	l := mustLog(t, cfg)
	must(t, l.StoreLogs(entries(1, 9, 1)))
	must(t, l.SetUint64([]byte("CurrentTerm"), 1))
	must(t, l.Close())
	l = mustLog(t, cfg)
	must(t, l.StoreLogs(entries(10, 3, 1)))
	must(t, l.DeleteRange(11, 12))
	must(t, l.StageCommitIndex(10))
	must(t, l.StoreLogs(entries(11, 10, 1)))
	must(t, l.SetUint64([]byte(voteTermKey), 5))
	must(t, l.Set([]byte(voteCandidateKey), []byte("ann")))
	must(t, l.DeleteRange(1, 3))
	for index := uint64(21); index <= 24; index++ {
		must(t, l.StoreLogs(entries(index, 1, 1)))
	}
	must(t, l.Close())
	return cfg
}

// wrong says what is not as smallLog made it, but for entries above last.
func wrong(l *Log, last uint64) error {
	var errs []error
	first, gotLast := l.bounds()
	commit, _ := l.GetCommitIndex()
	term, err := l.GetUint64([]byte(voteTermKey))
	candidate, err2 := l.Get([]byte(voteCandidateKey))
	if first != 4 || gotLast != last || commit != 10 || term != 5 || string(candidate) != "ann" {
		errs = append(errs, fmt.Errorf("%d to %d, commit %d, %d for %s", first, gotLast, commit, term,
			candidate))
	}
	for index := uint64(4); index <= last; index++ {
		var e raft.Log
		if err := l.GetLog(index, &e); err != nil {
			errs = append(errs, err)
		} else if !sameEntry(&e, entries(index, 1, 1)[0]) {
			errs = append(errs, fmt.Errorf("entry %d reads %v", index, e))
		}
	}
	return errors.Join(append(errs, err, err2)...)
}

// look opens the log after its files were changed. It must be as it was, or be said to be damaged; which of
// the two is returned.
func look(t *testing.T, what string, cfg LogConfig) (damaged bool) {
	t.Helper()
	l, err := OpenLog(cfg)
	if errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), "restore this node") {
		return true
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := wrong(l, 24); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	must(t, l.Close())
	return false
}

// Whatever bit of a log's files is changed: the log is as it was, or is known to be damaged.
func TestEveryFlippedByte(t *testing.T) {
	root := t.TempDir()
	cfg := smallLog(t, filepath.Join(root, "log"))
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	must(t, err)
	for _, path := range files {
		raw, err := os.ReadFile(path)
		must(t, err)
		name, counts := filepath.Base(path), map[bool]int{}
		if name == oldManifest {
			continue
		}
		for at := range raw {
			if name == stableFile && at%slotBytes > 300 && at%11 != 0 {
				continue
			}
			bad := bytes.Clone(raw)
			bad[at] ^= 1 << rand.IntN(8)
			must(t, os.WriteFile(path, bad, 0o600))
			counts[look(t, fmt.Sprintf("byte %d of %s", at, name), cfg)]++
		}
		must(t, os.WriteFile(path, raw, 0o600))
		t.Logf("%s: %d harmless, %d known", name, counts[false], counts[true])
		if name == stableFile && counts[true] > 0 || name != stableFile && counts[true] < 100 {
			t.Errorf("%s: %v", name, counts)
		}
	}
}

// Files that are cut short, zeroed in part, gone, or put in another's place.
func TestWrongFiles(t *testing.T) {
	root := t.TempDir()
	cfg := smallLog(t, filepath.Join(root, "log"))
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+segmentSuffix))
	must(t, err)
	contents := map[string][]byte{}
	for _, path := range append(files, filepath.Join(cfg.Dir, stableFile)) {
		contents[path], err = os.ReadFile(path)
		must(t, err)
	}
	known := func(what string) {
		t.Helper()
		if !look(t, what, cfg) {
			t.Errorf("%s: not noticed", what)
		}
		for path, raw := range contents {
			must(t, os.WriteFile(path, raw, 0o600))
		}
	}
	for i, path := range files {
		raw := contents[path]
		for size := range raw {
			must(t, os.Truncate(path, int64(size)))
			known(fmt.Sprintf("%s cut to %d", path, size))
		}
		must(t, os.Remove(path))
		known(path + " is gone")
		other := contents[files[(i+1)%len(files)]]
		must(t, os.WriteFile(path, other, 0o600))
		known(path + " is another's copy")
		must(t, os.WriteFile(path, append(bytes.Clone(raw[:len(raw)/2]), other[len(other)/2:]...), 0o600))
		known(path + " is half another's")
		if i == len(files)-1 {
			break
		}
		for at := 0; at < len(raw); at += 512 {
			bad := bytes.Clone(raw)
			clear(bad[at:min(at+512, len(bad))])
			must(t, os.WriteFile(path, bad, 0o600))
			known(fmt.Sprintf("%s without the sector at %d", path, at))
		}
	}
	must(t, os.Remove(filepath.Join(cfg.Dir, stableFile)))
	known("no file of stable values")
	must(t, os.WriteFile(filepath.Join(cfg.Dir, stableFile), make([]byte, 2*slotBytes), 0o600))
	if _, err := OpenLog(cfg); err == nil {
		t.Error("opened without a vote")
	}
}

// The only segment of a log is missed, too.
func TestMissingLogIsNoticed(t *testing.T) {
	cfg := logConfig(t, filepath.Join(t.TempDir(), "log"))
	l := mustLog(t, cfg)
	must(t, l.StoreLogs(entries(1, 3, 1)))
	must(t, l.Close())
	must(t, os.Remove(segmentPath(cfg.Dir, 1)))
	if _, err := OpenLog(cfg); !errors.Is(err, ErrDamaged) {
		t.Fatalf("the entries are gone: %v", err)
	}
}

// tornLog is smallLog with one more batch, entries 25 to 33, from end to after in the newest segment.
func tornLog(t *testing.T) (cfg LogConfig, path string, end, after int64) {
	t.Helper()
	cfg = smallLog(t, filepath.Join(t.TempDir(), "log"))
	l := mustLog(t, cfg)
	l.reserve = 16 << 10
	must(t, l.StoreLogs(entries(25, 20, 1))) // a segment of its own
	must(t, l.DeleteRange(25, 99))
	end = l.newest().end
	path = l.newest().file.Name()
	batch := entries(25, 9, 2)
	batch[4].Data = make([]byte, 1500)
	must(t, l.StoreLogs(batch))
	after = l.newest().end
	must(t, l.Close())
	return cfg, path, end, after
}

// What a crash cuts off before it was synced is forgotten, whichever sectors of it had reached the disk.
func TestTornBatch(t *testing.T) {
	cfg, path, end, after := tornLog(t)
	raw, err := os.ReadFile(path)
	must(t, err)
	var whole, cut int
	for range 300 {
		bad, all := bytes.Clone(raw), true
		for at := end &^ 511; at < after; at += 512 {
			if rand.IntN(3) == 0 {
				clear(bad[max(at, end):min(at+512, after)])
				all = false
			}
		}
		must(t, os.WriteFile(path, bad, 0o600))
		l := mustLog(t, cfg)
		if _, last := l.bounds(); last != 24 && last != 33 || all != (last == 33) {
			t.Fatalf("ends at %d; nothing missing: %t", last, all)
		}
		if all {
			whole++
			must(t, l.Close())
			continue
		}
		cut++
		if err := wrong(l, 24); err != nil {
			t.Fatal(err)
		}
		must(t, l.StoreLogs(entries(25, 2, 1))) // over what was cut off
		must(t, l.Close())
		l = mustLog(t, cfg)
		if err := wrong(l, 26); err != nil {
			t.Fatal(err)
		}
		must(t, l.Close())
	}
	t.Logf("%d whole, %d cut off", whole, cut)
	for size := end; size < after; size++ { // a write that stopped in the middle of a sector
		bad := bytes.Clone(raw)
		clear(bad[size:])
		must(t, os.WriteFile(path, bad, 0o600))
		if what := fmt.Sprintf("written up to %d of %d to %d", size, end, after); look(t, what, cfg) {
			t.Fatalf("%s: said to be damaged", what)
		}
	}
}

// A hole with a later batch behind it is damage: that batch was written after the one before was synced.
func TestHoleIsNoTornBatch(t *testing.T) {
	cfg, path, end, after := tornLog(t)
	l := mustLog(t, cfg)
	must(t, l.StoreLogs(entries(34, 1, 2)))
	must(t, l.Close())
	raw, err := os.ReadFile(path)
	must(t, err)
	for at := end; at < after; at += frameUnit {
		bad := bytes.Clone(raw)
		clear(bad[at:min(at+512, after)])
		must(t, os.WriteFile(path, bad, 0o600))
		if !look(t, "a hole", cfg) {
			t.Fatalf("a hole at %d before a later batch is not noticed", at)
		}
	}
}

// A damaged entry found while the log is in use is fatal and named.
func TestDamagedEntryIsNamed(t *testing.T) {
	var failed []error
	cfg := smallLog(t, filepath.Join(t.TempDir(), "log"))
	cfg.Fatal = func(err error) { failed = append(failed, err) }
	l := mustLog(t, cfg)
	closeAfter(t, l)
	s := l.holder(7)
	p := s.places[7-s.base]
	frame := make([]byte, p.size)
	_, err := s.file.ReadAt(frame, int64(p.at))
	must(t, err)
	for at := range frame {
		bad := bytes.Clone(frame)
		bad[at] ^= 4
		_, err := s.file.WriteAt(bad, int64(p.at))
		must(t, err)
		err = l.GetLog(7, new(raft.Log))
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "log entry 7 is damaged") {
			t.Fatalf("byte %d: %v", at, err)
		}
		if len(failed) != at+1 {
			t.Fatalf("byte %d: not fatal", at)
		}
	}
	if _, err := l.Verify(t.Context(), 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: %v", err)
	}
	must(t, l.GetLog(8, new(raft.Log)))
}

// The vote file cut off in the middle of a write holds the vote from before or the new one, whole.
func TestTornVote(t *testing.T) {
	cfg := smallLog(t, filepath.Join(t.TempDir(), "log"))
	path := filepath.Join(cfg.Dir, stableFile)
	before, err := os.ReadFile(path)
	must(t, err)
	l := mustLog(t, cfg)
	must(t, l.SetUint64([]byte(voteTermKey), 6))
	must(t, l.Set([]byte(voteCandidateKey), []byte("bob")))
	must(t, l.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	for at := 0; at <= len(after); at += 64 {
		must(t, os.WriteFile(path, append(bytes.Clone(after[:at]), before[at:]...), 0o600))
		for range 2 { // what the first opening finds is what the second finds
			l := mustLog(t, cfg)
			term, err := l.GetUint64([]byte(voteTermKey))
			must(t, err)
			candidate, err := l.Get([]byte(voteCandidateKey))
			must(t, err)
			must(t, l.stable.check()) // both copies are whole again
			want := "5 ann"
			if at >= slotBytes {
				want = "6 bob"
			}
			if got := fmt.Sprintf("%d %s", term, candidate); got != want {
				t.Fatalf("written up to %d: %s, want %s", at, got, want)
			}
			must(t, l.Close())
		}
	}
	half := append(bytes.Clone(after[:slotBytes-64]), before[slotBytes-64:]...)
	half[slotBytes+70] ^= 1 // the other copy is damaged meanwhile
	must(t, os.WriteFile(path, half, 0o600))
	if _, err := OpenLog(cfg); !errors.Is(err, ErrDamaged) {
		t.Fatalf("no whole copy: %v", err)
	}
}

func TestWrongKeyIsSaid(t *testing.T) {
	cfg := smallLog(t, filepath.Join(t.TempDir(), "log"))
	cfg.EncryptionKey = bytes.Repeat([]byte{8}, KeyBytes)
	_, err := OpenLog(cfg)
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "give that key") {
		t.Fatal(err)
	}
}

// nonces are the frames seen so far, by what their key and nonce were made from.
type nonces map[string]string

func (n nonces) collect(t *testing.T, dir string) {
	t.Helper()
	numbers, _, err := listSegments(dir)
	must(t, err)
	for _, number := range numbers {
		raw, err := os.ReadFile(segmentPath(dir, number))
		must(t, err)
		var salt []byte
		for at := int64(0); at < int64(len(raw)); {
			h, ok := readHead(raw[at:], number, at)
			if !ok {
				at += frameUnit // nothing, or torn
				continue
			}
			if h.kind == runFrame {
				salt = raw[at+headBytes : at+headBytes+saltBytes]
			}
			place, frame := fmt.Sprintf("%x %d", salt, at), string(raw[at:at+int64(h.size)])
			if old, ok := n[place]; ok && old != frame {
				t.Fatalf("segment %d at %d: sealed twice with one key and nonce", number, at)
			}
			n[place] = frame
			at += int64(h.size)
		}
	}
}

// work does some appends and deletions, and loses the last sector of a batch after.
func work(t *testing.T, cfg LogConfig, term uint64, lose bool) {
	t.Helper()
	l := mustLog(t, cfg)
	for range rand.IntN(6) {
		first, last := l.bounds()
		if rand.IntN(3) == 0 && last != 0 {
			must(t, l.DeleteRange(first+rand.Uint64N(last-first+1), last))
			_, last = l.bounds()
		}
		must(t, l.StoreLogs(entries(last+1, 1+rand.IntN(5), term)))
	}
	_, last := l.bounds()
	before := l.newest().end
	must(t, l.StoreLogs(entries(last+1, 9, term)))
	s := l.newest()
	must(t, l.Close())
	if !lose || s.end <= before { // or the batch has its own segment
		return
	}
	raw, err := os.ReadFile(s.file.Name())
	must(t, err)
	clear(raw[max(before, (s.end-1)&^511):])
	must(t, os.WriteFile(s.file.Name(), raw, 0o600))
}

// No two different frames are ever sealed with one key and nonce: not after deletions, torn ends, or when an
// old copy of the directory goes on. A frame's salt and place stand for them.
func TestNoNonceTwice(t *testing.T) {
	root, seen := t.TempDir(), nonces{}
	cfg := smallLog(t, filepath.Join(root, "0"))
	cfg.segmentBytes = 4096
	for round := range 60 {
		from := round
		if round%4 == 3 {
			from = rand.IntN(round) // a copy from long ago
		}
		cfg.Dir = filepath.Join(root, fmt.Sprint(1+round))
		must(t, os.CopyFS(cfg.Dir, os.DirFS(filepath.Join(root, fmt.Sprint(from)))))
		work(t, cfg, uint64(round+2), false)
		seen.collect(t, cfg.Dir)
		work(t, cfg, uint64(round+100), true)
		seen.collect(t, cfg.Dir)
	}
	t.Logf("%d different frames", len(seen))
}
