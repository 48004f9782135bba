package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/node/backup"
)

// names lists the backups in the directory.
func (b *books) names() []string {
	b.t.Helper()
	return slices.DeleteFunc(files(b.t, b.config.Dir), func(name string) bool {
		return !strings.HasSuffix(name, backup.Suffix)
	})
}

// withIdentity lets the keeper's drills open backups.
func (b *books) withIdentity() {
	b.t.Helper()
	b.config.DrillIdentity = filepath.Join(b.t.TempDir(), "drill.key")
	must(b.t, os.WriteFile(b.config.DrillIdentity, []byte(b.own.String()+"\n"), 0o600))
}

// TestKeeper makes a backup each day for two months: no more, and none is kept longer than it should be.
func TestKeeper(t *testing.T) {
	b := newBooks(t)
	b.config.EveryHours, b.config.KeepDays = 24, 10
	b.withIdentity()
	b.config.Dir = filepath.Join(b.config.Dir, "made", "when", "needed")
	now := noon
	k := b.keeper(&now)
	for range 60 * 24 {
		must(t, k.Tick(t.Context(), now))
		now = now.Add(time.Hour)
	}
	if got := b.names(); len(got) != 10 || got[9] != backup.Name(b.circle(), noon.AddDate(0, 0, 59)) {
		t.Errorf("after 60 days: %v", got)
	}
	drills, err := backup.ReadDrills(b.config.Dir)
	must(t, err)
	if len(drills) != 9 || !drills[8].Passed || !drills[8].Full || drills[8].Position != 3 {
		t.Errorf("%d drills, the last %+v", len(drills), drills[len(drills)-1])
	}
	s := k.Status()
	if s.Failed != "" || s.LastBackup == nil || s.LastBackup.File != k.Config.Dir+"/"+b.names()[9] ||
		s.LastDrill == nil || s.LastDrill.At != drills[8].At {
		t.Errorf("status %+v", s)
	}

	// Nothing new comes for a year: the newest stays, as do other circles' backups and all else.
	k.Config.EveryHours = 0
	other := newBooks(t)
	other.key, other.config = keyOf("todmorden"), b.config
	other.write("theirs", noon)
	must(t, os.WriteFile(filepath.Join(b.config.Dir, "letter.txt"), nil, 0o600))
	part := filepath.Join(b.config.Dir, "x"+backup.Suffix+".123.part")
	must(t, os.WriteFile(part, nil, 0o600))
	must(t, os.Chtimes(part, now, now))
	must(t, k.Tick(t.Context(), now))
	if _, err := os.Stat(part); err != nil {
		t.Errorf("a backup that is being written was deleted: %v", err)
	}
	now = now.AddDate(1, 0, 0)
	must(t, k.Tick(t.Context(), now))
	want := []string{backup.Name(b.circle(), noon.AddDate(0, 0, 59)), "theirs" + backup.Suffix}
	if got := b.names(); !slices.Equal(got, want) {
		t.Errorf("after a year: %v, want %v", got, want)
	}
	left := files(t, b.config.Dir)
	if slices.Contains(left, filepath.Base(part)) || !slices.Contains(left, "letter.txt") {
		t.Errorf("after a year: %v", left)
	}
}

// TestKeeperAfterARestore: the newest backup that can be restored stays, however old, and the new timeline is
// backed up at once; a node of the old one is told to stop.
func TestKeeperAfterARestore(t *testing.T) {
	b := newBooks(t)
	b.config.EveryHours, b.config.KeepDays = 24, 10
	b.fill(5)
	path, m := b.write("good", noon)
	b.fill(7)
	lost, _ := b.write("lost", noon.Add(time.Hour))
	now := noon.AddDate(0, 0, 20)
	one := b.restore(path, m, now)

	old := b.keeper(&now)
	if err := old.Tick(t.Context(), now); !errors.Is(err, backup.ErrAbandoned) {
		t.Errorf("the old node goes on: %v", err)
	}
	if left := b.names(); !slices.Equal(left, []string{"good" + backup.Suffix, "lost" + backup.Suffix}) {
		t.Errorf("the old node left %v", left)
	}
	now = now.Add(time.Minute)
	must(t, one.keeper(&now).Tick(t.Context(), now))
	want := []string{backup.Name(b.circle(), now)}
	if got := b.names(); !slices.Equal(got, want) {
		t.Errorf("the new node left %v, want %v", got, want)
	}
	if _, err := os.Stat(lost); err == nil {
		t.Error("an expired backup of the old timeline is still there")
	}
}

// TestKeeperInTrouble: a failure is told until it is over, and tried again after a while.
func TestKeeperInTrouble(t *testing.T) {
	b := newBooks(t)
	b.config.EveryHours = 24
	now := noon
	k := b.keeper(&now)
	good, tries := k.Make, 0
	k.Make = func(context.Context, io.Writer) error {
		tries++
		return errBroken
	}
	if err := k.Tick(t.Context(), now); !errors.Is(err, errBroken) {
		t.Fatalf("Tick: %v", err)
	}
	must(t, k.Tick(t.Context(), now.Add(time.Minute)))
	if s := k.Status(); tries != 1 || !strings.Contains(s.Failed, "broken") || s.LastBackup != nil {
		t.Errorf("%d tries, status %+v", tries, s)
	}
	k.Make = good
	now = now.Add(time.Hour)
	must(t, k.Tick(t.Context(), now))
	if s := k.Status(); s.Failed != "" || s.LastBackup == nil || s.LastDrill == nil || s.LastDrill.Full {
		t.Errorf("once it is over: %+v", s)
	}
}

// TestDrill leaves evidence of what it found, good or bad.
func TestDrill(t *testing.T) {
	b := newBooks(t)
	k := b.keeper(new(noon))
	drill := func(id backup.Identity, want bool, says string) {
		t.Helper()
		d, err := k.Drill(t.Context(), id, noon)
		must(t, err)
		if d.Passed != want || (d.Err() == nil) != want || !strings.Contains(d.Words, says) {
			t.Errorf("passed %v: %s", d.Passed, d.Words)
		}
	}
	id := backup.Identity{b.own}
	drill(id, false, "carecircle backup")
	path, m := b.write("one", noon)
	drill(id, true, m.StateHash.String())
	drill(nil, true, "not opened")
	drill(backup.Identity{newBooks(t).own}, false, "does not open")

	raw, err := os.ReadFile(path)
	must(t, err)
	raw[len(raw)/4] ^= 1
	must(t, os.WriteFile(path, raw, 0o600))
	drill(nil, false, "sealed body")
	b.write("two", noon.Add(time.Hour))
	drill(id, true, "two")
	must(t, os.Truncate(path, 100))
	drill(id, false, "other files")

	evidence := filepath.Join(b.config.Dir, "drills.jsonl")
	whole, err := os.ReadFile(evidence)
	must(t, err)
	must(t, os.WriteFile(evidence, whole[:len(whole)-20], 0o600)) // a crash in the last line
	must(t, os.Remove(path))
	drill(id, true, "two")
	drills, err := backup.ReadDrills(b.config.Dir)
	must(t, err)
	passed := []bool{}
	for _, d := range drills {
		passed = append(passed, d.Passed)
	}
	if want := []bool{false, true, true, false, false, true, false, true}; !slices.Equal(passed, want) {
		t.Errorf("the evidence says %v, want %v", passed, want)
	}
	if !strings.Contains(drills[6].Words, "line 7") {
		t.Errorf("the line that was cut: %s", drills[6].Words)
	}
}

func TestList(t *testing.T) {
	b := newBooks(t)
	k := b.keeper(new(noon))
	k.Config.Dir = filepath.Join(b.config.Dir, "none yet")
	if list, err := k.List(); err != nil || len(list) != 0 {
		t.Errorf("without a directory: %v %v", list, err)
	}
	k.Config.Dir = b.config.Dir
	b.fill(5)
	path, m := b.write("good", noon)
	b.fill(6)
	b.write("lost", noon.Add(time.Hour))
	b.restore(path, m, noon.Add(2*time.Hour))
	must(t, os.WriteFile(filepath.Join(b.config.Dir, "bad"+backup.Suffix), []byte("short"), 0o600))
	list, err := k.List()
	must(t, err)
	states := []string{}
	for _, e := range list {
		word, _, _ := strings.Cut(e.State, ":")
		states = append(states, strings.TrimSuffix(filepath.Base(e.File), backup.Suffix)+" "+word)
	}
	if want := []string{"lost abandoned", "good good", "bad unreadable"}; !slices.Equal(states, want) {
		t.Errorf("listed %v, want %v", states, want)
	}
}
