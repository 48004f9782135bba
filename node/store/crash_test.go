package store

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

const childEnv = "CARECIRCLE_STORE_CHILD"

// TestMain runs the test binary as a child that works until it is killed, saying on its output what it has
// been promised.
func TestMain(m *testing.M) {
	job, dir, isChild := strings.Cut(os.Getenv(childEnv), ":")
	if !isChild {
		flag.Parse()
		if testing.Short() { // under the race detector every step takes several times as long
			if err := flag.Set("rapid.checks", "20"); err != nil {
				panic(err)
			}
		}
		os.Exit(m.Run())
	}
	jobs := map[string]func(dir string) error{
		"look": childLook, "space": childSpace, "full": childFull,
		"log": childLog, "vote": childVote, "state": childState, "restore": childRestore, "open": childOpen,
	}
	if err := jobs[job](dir); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func childLog(dir string) error {
	l, err := OpenLog(LogConfig{Dir: dir, EncryptionKey: testKey, Log: quiet})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		_, last := l.bounds()
		if err := l.StageCommitIndex(last); err != nil {
			return err
		}
		if err := l.StoreLogs(entries(last+1, 1+rand.IntN(20), 1)); err != nil {
			return err
		}
		first, newLast := l.bounds()
		fmt.Println("stored", last, newLast)
		if i%7 == 6 && newLast > first+100 {
			if err := l.DeleteRange(first, newLast-100); err != nil {
				return err
			}
			fmt.Println("deleted", newLast-100, newLast)
		}
	}
}

func childVote(dir string) error {
	l, err := OpenLog(LogConfig{Dir: dir, EncryptionKey: testKey, Log: quiet})
	if err != nil {
		return err
	}
	term, _ := l.GetUint64([]byte(voteTermKey))
	for {
		term++
		if err := l.SetUint64([]byte(voteTermKey), term); err != nil {
			return err
		}
		if err := l.Set([]byte(voteCandidateKey), fmt.Appendf(nil, "candidate %d", term)); err != nil {
			return err
		}
		fmt.Println("voted", term, 0)
	}
}

func childState(dir string) error {
	s, err := OpenState(StateConfig{Dir: dir, EncryptionKey: testKey, Log: quiet, FlushRows: 60})
	if err != nil {
		return err
	}
	for {
		index := s.Applied() + 1
		for _, k := range []uint64{index % 100, 100 + index%77} {
			s.Set(fmt.Appendf(nil, "row%d", k), fmt.Append(nil, index))
		}
		s.Commit(index)
		if rand.IntN(10) == 0 {
			if err := s.Flush(); err != nil {
				return err
			}
			fmt.Println("flushed", index, 0)
		}
	}
}

func childRestore(dir string) error {
	for i := 0; ; i++ {
		stream, err := os.ReadFile(fmt.Sprintf("%s.snap%d", dir, i%2))
		if err != nil {
			return err
		}
		cfg := StateConfig{Dir: dir, EncryptionKey: testKey, Log: quiet}
		if err := Restore(cfg, bytes.NewReader(stream)); err != nil {
			return err
		}
		fmt.Println("restored", i, 0)
	}
}

func childOpen(dir string) error {
	if _, err := OpenState(StateConfig{Dir: dir, EncryptionKey: testKey, Log: quiet}); err == nil {
		return fmt.Errorf("opened the state of another process")
	}
	_, err := OpenLog(LogConfig{Dir: dir + "-log", EncryptionKey: testKey, Log: quiet})
	return err
}

// runAndKill lets a child do a job until it has said n things, kills it, and calls said for each of them.
func runAndKill(t *testing.T, job, dir string, n int, said func(what string, a, b uint64)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+job+":"+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for count := 0; lines.Scan(); count++ { // after the kill: what was still in the pipe
		var what string
		var a, b uint64
		if got, _ := fmt.Sscan(lines.Text(), &what, &a, &b); got != 3 {
			t.Fatalf("child: %s", lines.Text())
		}
		said(what, a, b)
		if count == n {
			must(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v", err)
	}
}

const killRounds = 8

func TestKilledLogKeepsWhatItSaid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	var first, last, commit uint64
	for range killRounds {
		runAndKill(t, "log", dir, rand.IntN(300), func(what string, a, b uint64) {
			switch what {
			case "stored":
				commit, last = a, b
			case "deleted":
				first = a + 1
			}
		})
		l := mustLog(t, logConfig(t, dir))
		gotFirst, gotLast := l.bounds()
		gotCommit, _ := l.GetCommitIndex()
		if gotFirst < first || gotLast < last || gotCommit < commit || gotCommit > gotLast {
			t.Fatalf("%d to %d, commit %d; said were %d to %d, commit %d",
				gotFirst, gotLast, gotCommit, first, last, commit)
		}
		for index := gotFirst; index <= gotLast; index++ {
			var e raft.Log
			must(t, l.GetLog(index, &e))
			if !sameEntry(&e, entries(index, 1, 1)[0]) {
				t.Fatalf("entry %d: %v", index, e)
			}
		}
		must(t, l.Close())
	}
	t.Logf("%d to %d", first, last)
}

func TestKilledVoteIsNeverHalf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	var said uint64
	for range killRounds {
		runAndKill(t, "vote", dir, rand.IntN(200), func(_ string, term, _ uint64) { said = term })
		l := mustLog(t, logConfig(t, dir))
		term, err := l.GetUint64([]byte(voteTermKey))
		must(t, err)
		candidate, err := l.Get([]byte(voteCandidateKey))
		must(t, err)
		if term < said || string(candidate) != fmt.Sprintf("candidate %d", term) {
			t.Fatalf("term %d with %q, said was %d", term, candidate, said)
		}
		must(t, l.Close())
	}
}

func TestKilledStateIsThatOfOneCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var said uint64
	for range killRounds {
		runAndKill(t, "state", dir, rand.IntN(200), func(_ string, index, _ uint64) { said = index })
		s := mustState(t, stateConfig(t, dir))
		if s.Applied() < said {
			t.Fatalf("at %d, said was %d", s.Applied(), said)
		}
		want := map[string]string{}
		for index := max(s.Applied(), 300) - 299; index <= s.Applied(); index++ {
			for _, k := range []uint64{index % 100, 100 + index%77} {
				want[fmt.Sprintf("row%d", k)] = fmt.Sprint(index)
			}
		}
		got := map[string]string{}
		for _, r := range all(s) {
			got[r.key] = r.value
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("state at %d:\n got %v\nwant %v", s.Applied(), got, want)
		}
		snapshot(t, s)
		must(t, s.Close())
	}
}

func TestKilledRestoreLeavesOneOfTheTwo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var want [2][]keyValue
	for i := range 2 {
		s := mustState(t, stateConfig(t, fmt.Sprintf("%s%d", dir, i)))
		fillState(s, fmt.Sprint("tag", i), 50+i)
		must(t, os.WriteFile(fmt.Sprintf("%s.snap%d", dir, i), snapshot(t, s), 0o600))
		want[i] = all(s)
		must(t, s.Close())
	}
	seen := map[uint64]int{}
	for range 2 * killRounds {
		runAndKill(t, "restore", dir, rand.IntN(5), func(string, uint64, uint64) {})
		s := mustState(t, stateConfig(t, dir))
		if n := s.Applied(); n != 50 && n != 51 || !equalRows(all(s), want[n-50]) {
			t.Fatalf("neither the one nor the other, but index %d", n)
		}
		seen[s.Applied()]++
		snapshot(t, s)
		must(t, s.Close())
	}
	t.Logf("found %v", seen)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, l := mustState(t, stateConfig(t, dir)), mustLog(t, logConfig(t, dir+"-log"))
	closeAfter(t, s)
	closeAfter(t, l)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=open:"+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("another process has it open: stop that one first")) {
		t.Fatalf("%v: %s", err, out)
	}
}
