package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// smallDisk mounts a disk in memory with so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatalf("mount a small disk, as root: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func grow(t *testing.T, dir string, mib int) {
	t.Helper()
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm", mib)))
}

func fillFile(t *testing.T, path string, bytes int64) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	must(t, preallocate(f, bytes))
	must(t, f.Close())
}

func TestSpace(t *testing.T) {
	dir := smallDisk(t, 400)
	s := NewSpace(dir, 0)
	check := func(want SpaceState) int64 {
		t.Helper()
		state, free, margin, err := s.Check()
		must(t, err)
		if now, err := freeSpace(dir); state != want || err != nil || free != now || margin != spaceMargin {
			t.Fatalf("%v with %d MiB free (%d), want %v", state, free>>20, now>>20, want)
		}
		return free
	}
	ballast := func() int64 {
		var st syscall.Stat_t
		if syscall.Stat(filepath.Join(dir, ballastFile), &st) != nil {
			return 0
		}
		return st.Blocks * 512
	}
	free := check(SpaceOK)
	if ballast() < defaultBallast {
		t.Fatalf("the ballast takes %d bytes", ballast())
	}
	other := filepath.Join(dir, "other")
	fillFile(t, other, free-spaceMargin-1<<20)
	check(SpaceOK)
	fillFile(t, filepath.Join(dir, "more"), 2<<20)
	check(SpaceLow)
	most := filepath.Join(dir, "most")
	fillFile(t, most, spaceMargin/2)
	check(SpaceFull)
	must(t, os.Truncate(most, spaceMargin/2-3<<20))
	check(SpaceFull) // by a hair: not yet
	must(t, os.Truncate(most, spaceMargin/4-3<<20))
	check(SpaceLow)
	must(t, os.Remove(most))
	must(t, os.Remove(filepath.Join(dir, "more")))
	check(SpaceLow) // by a hair: not yet
	must(t, s.Release())
	must(t, s.Release())
	check(SpaceOK)
	if ballast() != 0 {
		t.Error("the ballast is back while there is no room for it")
	}
	must(t, os.Remove(other))
	check(SpaceOK)
	if ballast() < defaultBallast {
		t.Error("the ballast was not made again")
	}
	none := NewSpace(t.TempDir(), -1)
	if state, _, _, err := none.Check(); state != SpaceOK || err != nil || exists(none.path()) {
		t.Errorf("without a ballast: %v %v", state, err)
	}
	if _, _, _, err := NewSpace(filepath.Join(dir, "absent"), 0).Check(); err == nil {
		t.Error("there is space in no directory")
	}
}

// What is written or read meanwhile ends before the disk is as low as it must not get.
func TestRoom(t *testing.T) {
	dir := smallDisk(t, 400)
	fillFile(t, filepath.Join(dir, "other"), 400<<20-spaceMargin-8<<20)
	f, err := os.Create(filepath.Join(dir, "large"))
	must(t, err)
	_, err = io.Copy(RoomFor(f, dir), io.LimitReader(zeros{}, 100<<20))
	info, statErr := f.Stat()
	must(t, statErr)
	if !errors.Is(err, ErrFull) || info.Size() < 6<<20 || info.Size() > 9<<20 {
		t.Errorf("written: %d MiB, %v", info.Size()>>20, err)
	}
	if _, err := io.ReadAll(RoomWhile(strings.NewReader("a state"), dir)); !errors.Is(err, ErrFull) {
		t.Errorf("read: %v", err)
	}
	must(t, f.Truncate(0))
	if got, err := io.ReadAll(RoomWhile(strings.NewReader("a state"), dir)); err != nil ||
		string(got) != "a state" {
		t.Errorf("read %q: %v", got, err)
	}
	must(t, f.Close())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// childSpace writes to both stores until the space is low, and says what it has stored; childFull goes on.
func childSpace(dir string) error { return writeUntilLow(dir, true) }
func childFull(dir string) error  { return writeUntilLow(dir, false) }

const (
	spaceEntries = 40 // a round
	spaceRows    = 150
	spaceRounds  = 10 // between two looks: some 4 MB
)

// spaceValue is about 1 KB that cannot be compressed.
func spaceValue(i uint64) []byte {
	value := make([]byte, 1000)
	_, _ = rand.NewChaCha8([32]byte(bytes.Repeat(encodeUint64(i), 4))).Read(value) // cannot fail
	return value
}

func writeUntilLow(dir string, heed bool) error {
	space := NewSpace(dir, 0)
	if _, _, _, err := space.Check(); err != nil {
		return err
	}
	loud := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	l, err := OpenLog(LogConfig{Dir: filepath.Join(dir, "log"), EncryptionKey: testKey, Log: loud})
	if err != nil {
		return err
	}
	s, err := OpenState(StateConfig{Dir: filepath.Join(dir, "state"), EncryptionKey: testKey, Log: loud})
	if err != nil {
		return err
	}
	for round := uint64(0); ; round++ {
		if round%spaceRounds == 0 && heed {
			state, free, _, err := space.Check()
			if err != nil {
				return err
			}
			if state == SpaceLow {
				if err := s.Close(); err != nil { // brings the state to rest: it takes space, too
					return err
				}
				fmt.Println("low", free>>20, round)
				select {}
			}
		}
		batch := make([]*raft.Log, spaceEntries)
		for i := range batch {
			index := round*spaceEntries + uint64(i) + 1
			batch[i] = &raft.Log{Index: index, Term: 1, Data: spaceValue(index)}
		}
		if err := l.StoreLogs(batch); err != nil {
			return err
		}
		fmt.Println("stored", round, len(batch))
		for i := range uint64(spaceRows) {
			s.Set(fmt.Appendf(nil, "%08d/%03d", round, i), spaceValue(round+i))
		}
		s.Commit(round + 1)
		if err := s.Flush(); err != nil {
			return err
		}
		fmt.Println("flushed", round, spaceRows)
	}
}

// checkSpaceChild wants everything that was said to be stored, once there is room again.
func checkSpaceChild(t *testing.T, dir string, stored, flushed uint64) {
	t.Helper()
	l := mustLog(t, logConfig(t, filepath.Join(dir, "log")))
	s := mustState(t, stateConfig(t, filepath.Join(dir, "state")))
	for index := uint64(1); index <= (stored+1)*spaceEntries; index++ {
		var e raft.Log
		must(t, l.GetLog(index, &e))
		if !bytes.Equal(e.Data, spaceValue(index)) {
			t.Fatalf("entry %d is another", index)
		}
	}
	if s.Applied() < flushed+1 {
		t.Fatalf("the state is at %d, said was %d", s.Applied(), flushed+1)
	}
	for round := range s.Applied() {
		for i := range uint64(spaceRows) {
			v, ok := s.Get(fmt.Appendf(nil, "%08d/%03d", round, i))
			if !ok || !bytes.Equal(v, spaceValue(round+i)) {
				t.Fatalf("row %d of round %d: %t", i, round, ok)
			}
		}
	}
	must(t, s.Verify(t.Context(), 0))
	must(t, s.Close())
	must(t, l.Close())
	t.Logf("%d entries, %d rows", (stored+1)*spaceEntries, s.Applied()*spaceRows)
}

// runUntilFull runs a child until it says low, or ends by itself, and returns what it said it had stored.
func runUntilFull(t *testing.T, job, dir string) (stored, flushed uint64, low bool, complaint string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+job+":"+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var what string
		var a, b uint64
		_, err := fmt.Sscan(lines.Text(), &what, &a, &b)
		switch {
		case err != nil:
			complaint += lines.Text()
		case what == "stored":
			stored = a
		case what == "flushed":
			flushed = a
		case what == "low":
			low = true
			must(t, cmd.Process.Kill())
		}
	}
	if cmd.Wait() == nil {
		t.Fatal("the child ended well")
	}
	return stored, flushed, low, complaint + stderr.String()
}

// A node that heeds Space stops writing before the disk is full, however the stores work.
func TestLowComesBeforeTheDiskIsFull(t *testing.T) {
	dir := smallDisk(t, 420)
	stored, flushed, low, complaint := runUntilFull(t, "space", dir)
	if !low || stored < 10 {
		t.Fatalf("after %d rounds: not low but %s", stored, complaint)
	}
	must(t, NewSpace(dir, 0).Release())
	checkSpaceChild(t, dir, stored, flushed)
}

// A disk that did get full ends the process. Once there is room, everything it has stored is there.
func TestFullDiskLosesNothing(t *testing.T) {
	dir := smallDisk(t, 300)
	stored, flushed, _, complaint := runUntilFull(t, "full", dir)
	full := strings.Contains(complaint, "SIGBUS") || strings.Contains(complaint, "no space left")
	if !full || stored < 10 {
		t.Fatalf("after %d rounds: %.2000s", stored, complaint)
	}
	t.Logf("it ended: %.100s", complaint)
	_, err := OpenLog(logConfig(t, filepath.Join(dir, "log")))
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("opened on a full disk: %v", err)
	}
	grow(t, dir, 600)
	checkSpaceChild(t, dir, stored, flushed)
}

// No room for a segment is fatal, as is a write that fails.
func TestNoRoomForASegmentIsFatal(t *testing.T) {
	dir := smallDisk(t, 100)
	var failed error
	cfg := logConfig(t, filepath.Join(dir, "log"))
	cfg.Fatal = func(err error) { failed = err }
	l := mustLog(t, cfg)
	must(t, l.StoreLogs(entries(1, 5, 1)))
	free, err := freeSpace(dir)
	must(t, err)
	fillFile(t, filepath.Join(dir, "other"), free-1<<20)
	big := entries(6, 20, 1)
	for _, e := range big {
		e.Data = bytes.Repeat([]byte("x"), MaxEntryBytes-1)
	}
	err = l.StoreLogs(big)
	if err == nil || failed == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("%v, %v", err, failed)
	}
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(dir, "other")))
	l = mustLog(t, logConfig(t, cfg.Dir))
	closeAfter(t, l)
	if _, last := l.bounds(); last < 5 {
		t.Errorf("ends at %d", last)
	}
	must(t, l.StoreLogs(entries(l.last+1, 5, 1)))
}
