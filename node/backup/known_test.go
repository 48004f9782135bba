package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/node/backup"
)

// restore plays a restore of a backup: its note is left beside it, and the books go on from there.
func (b *books) restore(path string, m backup.Manifest, at time.Time) *books {
	b.t.Helper()
	known, err := backup.Gather(b.circle(), b.config.Dir)
	must(b.t, err)
	must(b.t, known.Judge(m))
	note, raw, err := known.NoteFor(m, b.key, "the disk broke", at)
	must(b.t, err)
	must(b.t, os.WriteFile(backup.NotePath(path, note), raw, 0o600))
	again := newBooks(b.t)
	again.config = b.config
	for machine.ReadMeta(again.state).Position < m.Position {
		again.place("place-" + string(rune('a'+machine.ReadMeta(again.state).Position)))
	}
	mark := note.Epochs.Newest()
	again.do("timeline.open", timeline.Open{
		Epoch: mark.Epoch, FromPosition: mark.FromPosition, FromHead: machine.ReadMeta(again.state).Head,
		Backup: mark.Backup, Why: note.Why, At: mark.At,
	})
	return again
}

// fill brings the books to a position, always by the same commands.
func (b *books) fill(position uint64) {
	for machine.ReadMeta(b.state).Position < position {
		b.place("place-" + string(rune('a'+machine.ReadMeta(b.state).Position)))
	}
}

// judged tells which of the backups in the directory are good, by name.
func (b *books) judged() map[string]bool {
	b.t.Helper()
	known, err := backup.Gather(b.circle(), b.config.Dir)
	must(b.t, err)
	out := map[string]bool{}
	for _, s := range known.Backups {
		err := known.Judge(s.Manifest)
		if (err == nil) != known.Good(s.Manifest) || err != nil && !errors.Is(err, backup.ErrAbandoned) {
			b.t.Errorf("Judge says %v, Good %v", err, known.Good(s.Manifest))
		}
		out[strings.TrimSuffix(filepath.Base(s.Path), backup.Suffix)] = err == nil
	}
	return out
}

func (b *books) want(when string, want map[string]bool) {
	b.t.Helper()
	got := b.judged()
	for name, good := range want {
		if got[name] != good {
			b.t.Errorf("%s: %s good: %v, want %v", when, name, got[name], good)
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("%s: judged %v, want %v", when, got, want)
	}
}

// TestTimelines plays the life of a circle that is restored three times: which backups are good after each.
func TestTimelines(t *testing.T) {
	at := noon
	later := func() time.Time {
		at = at.Add(time.Hour)
		return at
	}
	b := newBooks(t)
	b.fill(4)
	early, earlyM := b.write("early", later())
	b.fill(6)
	path6, m6 := b.write("at6", later())
	b.fill(8)
	b.write("at8", later())
	b.want("before any restore", map[string]bool{"early": true, "at6": true, "at8": true})

	one := b.restore(path6, m6, later())
	one.want("epoch 1 began after 6", map[string]bool{"early": true, "at6": true, "at8": false})
	one.fill(9)
	_, m9 := one.write("one-at9", later())
	if got := m9.Epochs.Newest(); got.Epoch != 1 || got.FromPosition != 6 || got.Backup != m6.ID {
		t.Errorf("the new backup knows of %+v", got)
	}
	one.want("and was backed up", map[string]bool{"early": true, "at6": true, "at8": false, "one-at9": true})

	// The machine is lost again, before it was backed up again: its number is used up all the same.
	two := one.restore(early, earlyM, later())
	two.want("epoch 2 began after 4", map[string]bool{
		"early": true, "at6": false, "at8": false, "one-at9": false,
	})
	three := two.restore(early, earlyM, later())
	three.fill(12)
	_, m12 := three.write("three-at12", later())
	if got := m12.Epochs; len(got) != 1 || got[0].Epoch != 3 {
		t.Errorf("the third restore made epochs %+v", got)
	}
	three.want("epoch 3 goes on", map[string]bool{
		"early": true, "at6": false, "at8": false, "one-at9": false, "three-at12": true,
	})

	// The notes alone tell it, and so do the manifests alone.
	for _, ending := range []string{backup.NoteSuffix, backup.Suffix} {
		dir := t.TempDir()
		for _, name := range files(t, b.config.Dir) {
			if strings.HasSuffix(name, ending) {
				must(t, os.Link(filepath.Join(b.config.Dir, name), filepath.Join(dir, name)))
			}
		}
		known, err := backup.Gather(b.circle(), dir)
		must(t, err)
		err = known.Judge(m9)
		if !errors.Is(err, backup.ErrAbandoned) || !strings.Contains(err.Error(), "epoch 3") {
			t.Errorf("by files that end in %s: %v", ending, err)
		}
		if ending == backup.Suffix && !strings.Contains(err.Error(), "three-at12") {
			t.Errorf("it does not name the good ones: %v", err)
		}
	}
}

// TestForksThatDidNotKnowOfEachOther: two restores of which neither saw the other's note.
func TestForksThatDidNotKnowOfEachOther(t *testing.T) {
	mark := func(epoch, from uint64, at int64) backup.Mark {
		return backup.Mark{Epoch: epoch, FromPosition: from, FromHead: machine.Hash{byte(from)}, At: at}
	}
	first, second := mark(1, 6, 100), mark(1, 10, 200)
	for name, c := range map[string]struct {
		backup backup.History
		at     uint64
		known  backup.History
		good   bool
	}{
		"same number, begun later":   {backup.History{first}, 20, backup.History{second}, false},
		"same number, begun earlier": {backup.History{second}, 20, backup.History{first}, true},
		"before the fork, of another line": {
			backup.History{first}, 9, backup.History{mark(2, 10, 300)}, false,
		},
		"before the fork, of this line": {
			backup.History{first}, 9, backup.History{first, mark(2, 10, 300)}, true,
		},
		"at the fork":                  {nil, 6, backup.History{first}, true},
		"at the fork, another command": {nil, 6, backup.History{mark(1, 6, 100)}, true},
		"behind the fork":              {nil, 7, backup.History{first}, false},
		"the very same":                {backup.History{first}, 7, backup.History{first}, true},
		"two epochs on": {
			backup.History{first}, 7, backup.History{first, mark(3, 7, 400)}, true,
		},
		"after two epochs": {
			backup.History{first}, 8, backup.History{first, mark(3, 7, 400)}, false,
		},
	} {
		m := backup.Manifest{Epochs: c.backup, Position: c.at, Head: machine.Hash{byte(c.at)}}
		if got := !backup.Leaves(c.known, m); got != c.good {
			t.Errorf("%s: good %v, want %v", name, got, c.good)
		}
		if c.at == 6 {
			m.Head[5]++
			if !backup.Leaves(c.known, m) {
				t.Errorf("%s: another journal with as many commands was taken", name)
			}
		}
	}
}

// TestOnlyTheCirclesOwnWordCounts: notes of others, and changed ones, tell nothing, but are not passed over
// in silence.
func TestOnlyTheCirclesOwnWordCounts(t *testing.T) {
	b := newBooks(t)
	b.fill(5)
	path, m := b.write("one", noon)
	known, err := backup.Gather(b.circle(), b.config.Dir)
	must(t, err)
	older := m
	older.Position = 1
	note, raw, err := known.NoteFor(older, b.key, "", noon)
	must(t, err)
	_, forged, err := known.NoteFor(older, keyOf("somebody else"), "", noon)
	must(t, err)
	for i := range raw {
		changed := slices.Clone(raw)
		changed[i] ^= 1
		must(t, os.WriteFile(backup.NotePath(path, note), changed, 0o600))
		if _, err := backup.ReadNote(backup.NotePath(path, note)); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("note changed at byte %d: %v", i, err)
		}
	}
	if known, err = backup.Gather(b.circle(), b.config.Dir); err != nil || len(known.Unread) != 1 {
		t.Errorf("a changed note: %+v %v", known, err)
	}
	must(t, known.Judge(m))
	must(t, os.WriteFile(backup.NotePath(path, note), forged, 0o600))
	b.want("a note of another circle", map[string]bool{"one": true})
	must(t, os.WriteFile(backup.NotePath(path, note), raw, 0o600))
	b.want("the circle's own note", map[string]bool{"one": false})
	if _, err := backup.Gather(b.circle(), filepath.Join(b.config.Dir, "nowhere")); err == nil {
		t.Error("a place that is not there was taken")
	}
}
