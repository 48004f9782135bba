package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/backup"
)

func verify(t *testing.T, path string, id backup.Identity) backup.Report {
	t.Helper()
	r, err := backup.Verify(t.Context(), path, id)
	must(t, err)
	return r
}

// TestVerify proves a good backup with either identity, and says what shows without one.
func TestVerify(t *testing.T) {
	b := newBooks(t)
	b.place("hall")
	path, m := b.write("one", noon)
	meta := machine.ReadMeta(b.state)
	rows, sum := b.state.Rows()
	if m.Position != 4 || m.Head != meta.Head || m.StateHash != machine.StateHash(b.state) ||
		m.Rows != rows || m.Sum != sum || m.Index != b.index ||
		m.ExpiresAt != noon.AddDate(0, 0, 35).UnixMilli() {
		t.Errorf("manifest %+v", m)
	}
	for _, id := range []age.Identity{b.own, b.escrow} {
		r := verify(t, path, backup.Identity{id})
		if r.Wrong() != 0 || !r.Full || len(r.Checks) != 8 {
			t.Errorf("report %+v", r)
		}
	}
	if r := verify(t, path, nil); r.Wrong() != 0 || r.Full || len(r.Checks) != 2 {
		t.Errorf("report without an identity: %+v", r)
	}
	stranger, err := age.GenerateX25519Identity()
	must(t, err)
	_, err = backup.Verify(t.Context(), path, backup.Identity{stranger})
	if !errors.Is(err, backup.ErrIdentity) {
		t.Errorf("with a stranger's identity: %v", err)
	}
	raw, err := os.ReadFile(path)
	must(t, err)
	for _, secret := range []string{"Alice", "Farida", "Hebden", "AGE-SECRET"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q stands in the file in clear", secret)
		}
	}
}

// TestEveryByteCounts changes each byte, cuts the file at each place and adds to it: it always shows, without
// any identity.
func TestEveryByteCounts(t *testing.T) {
	b := newBooks(t)
	path, _ := b.write("one", noon)
	raw, err := os.ReadFile(path)
	must(t, err)
	try := func(what string, at int, changed []byte) {
		t.Helper()
		must(t, os.WriteFile(path, changed, 0o600))
		if r := verify(t, path, nil); r.Wrong() == 0 {
			t.Fatalf("%s at byte %d of %d: nothing is wrong", what, at, len(raw))
		}
	}
	for i := range raw {
		for _, bits := range []byte{0x01, 0x20} { // 0x20: another case, where it is a letter
			changed := bytes.Clone(raw)
			changed[i] ^= bits
			try("changed", i, changed)
		}
		try("cut", i, raw[:i])
	}
	try("added to", len(raw), append(bytes.Clone(raw), '\n'))
	try("added to", 0, append([]byte("c"), raw...))
}

// TestSignedBySomebodyElse: a body of one circle under the manifest of another shows once it is opened.
func TestSignedBySomebodyElse(t *testing.T) {
	b := newBooks(t)
	j := b.job(noon)
	j.Key = keyOf("somebody else")
	path := filepath.Join(b.config.Dir, "forged"+backup.Suffix)
	b.writeJob(path, j)
	r := verify(t, path, backup.Identity{b.own})
	if r.Wrong() != 1 || !strings.Contains(r.Checks[len(r.Checks)-1].Found, "not that of the circle") {
		t.Errorf("report %+v", r)
	}
}

// TestTamperedState: rows that the rules did not make show when the journal is played again, even though
// whoever put them there signed for them.
func TestTamperedState(t *testing.T) {
	b := newBooks(t)
	b.place("hall")
	key := append([]byte{}, machine.Key("s/").Str("coin.place")...)
	found := false
	b.state.Ascend(key[:2], nil, func(k, v []byte) bool {
		key, found = bytes.Clone(k), true
		return false
	})
	if !found {
		t.Fatal("no row to tamper with")
	}
	b.state.Delete(key)
	b.index++
	b.state.Commit(b.index)
	path, _ := b.write("tampered", noon)
	r := verify(t, path, backup.Identity{b.own})
	wrong := []string{}
	for _, c := range r.Checks {
		if !c.OK {
			wrong = append(wrong, c.What)
		}
	}
	if len(wrong) == 0 || wrong[0] != "replay" {
		t.Errorf("wrong: %v, want the replay", wrong)
	}
}

// TestNoBackupOfABrokenState: a journal with a command missing, or a manifest that would not fit the state,
// ends the backup, and nothing is left.
func TestNoBackupOfABrokenState(t *testing.T) {
	b := newBooks(t)
	write := func(j backup.Job) error {
		_, err := backup.WriteFile(t.Context(), filepath.Join(b.config.Dir, "x"+backup.Suffix),
			func(w io.Writer) error {
				_, err := backup.Write(t.Context(), w, j)
				return err
			})
		return err
	}
	other := b.job(noon)
	other.Index++
	behind := b.job(noon)
	behind.Meta.Position--
	short := b.job(noon)
	short.State = cutting{short.State}
	var journal []byte
	b.state.Ascend([]byte("j/"), nil, func(k, _ []byte) bool {
		journal = bytes.Clone(k)
		return false
	})
	b.state.Delete(journal)
	b.index++
	b.state.Commit(b.index)
	for name, j := range map[string]backup.Job{
		"another index": other, "another position": behind, "cut": short, "a command missing": b.job(noon),
	} {
		if err := write(j); err == nil {
			t.Errorf("%s: the backup was made", name)
		}
		if left := files(t, b.config.Dir); len(left) > 0 {
			t.Fatalf("%s: left behind: %v", name, left)
		}
	}
}

// cutting writes a state without its end.
type cutting struct{ io.WriterTo }

func (c cutting) WriteTo(w io.Writer) (int64, error) {
	var all bytes.Buffer
	if _, err := c.WriterTo.WriteTo(&all); err != nil {
		return 0, err
	}
	n, err := w.Write(all.Bytes()[:all.Len()-1])
	return int64(n), err
}

// TestDiskFull: wherever the disk is full, there is no file under the backup's name and nothing beside it.
func TestDiskFull(t *testing.T) {
	b := newBooks(t)
	j := b.job(noon)
	size := len(jobBytes(t, j))
	path := filepath.Join(b.config.Dir, "x"+backup.Suffix)
	for room := 0; room < size; room += 97 {
		_, err := backup.WriteFile(t.Context(), path, func(w io.Writer) error {
			_, err := backup.Write(t.Context(), &fullAfter{w: w, room: room, err: syscall.ENOSPC}, j)
			return err
		})
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("with room for %d of %d bytes: %v", room, size, err)
		}
		// A stream that just ends, as from a node that is killed while it sends.
		cut := jobBytes(t, j)[:room]
		_, err = backup.WriteFile(t.Context(), path, func(w io.Writer) error {
			_, err := w.Write(cut)
			return err
		})
		if !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut off after %d of %d bytes: %v", room, size, err)
		}
		if left := files(t, b.config.Dir); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
}

func TestWriteFileRefuses(t *testing.T) {
	b := newBooks(t)
	path, _ := b.write("one", noon)
	before, err := os.ReadFile(path)
	must(t, err)
	fill := func(w io.Writer) error {
		_, err := backup.Write(t.Context(), w, b.job(noon))
		return err
	}
	if _, err := backup.WriteFile(t.Context(), path, fill); err == nil {
		t.Error("it wrote over another backup")
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the other backup was changed")
	}
	if _, err := backup.WriteFile(t.Context(), filepath.Join(b.config.Dir, "x.tar"), fill); err == nil {
		t.Error("it took another ending")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = backup.Write(ctx, io.Discard, b.job(noon))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after it was called off: %v", err)
	}
}

func TestConfig(t *testing.T) {
	b := newBooks(t)
	own, escrow := b.config.Recipients[0], b.config.Recipients[1]
	for name, c := range map[string]struct {
		config backup.Config
		says   string
	}{
		"good":     {backup.Config{Recipients: []string{own, escrow}}, ""},
		"three":    {backup.Config{Recipients: []string{own, escrow, keygen(t)}}, ""},
		"none":     {backup.Config{}, "carecircle backup keygen"},
		"one":      {backup.Config{Recipients: []string{own}}, "at least 2"},
		"the same": {backup.Config{Recipients: []string{own, own}}, "twice"},
		"no key":   {backup.Config{Recipients: []string{own, "age1x"}}, "is not an age recipient"},
		"hours":    {backup.Config{Recipients: []string{own, escrow}, EveryHours: -1}, "everyHours"},
		"days":     {backup.Config{Recipients: []string{own, escrow}, KeepDays: 100_000}, "keepDays"},
	} {
		said := ""
		err := c.config.Check()
		if err != nil {
			said = err.Error()
		}
		if (err == nil) != (c.says == "") || !strings.Contains(said, c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	b.config.Recipients = b.config.Recipients[:1]
	if _, err := backup.Write(t.Context(), io.Discard, b.job(noon)); err == nil {
		t.Error("sealed to one recipient")
	}
}

func keygen(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id")
	recipient, err := backup.Keygen(path, noon)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the identity has mode %v", info.Mode())
	}
	if _, err := backup.Keygen(path, noon); err == nil {
		t.Error("an identity was overwritten")
	}
	id, err := backup.ReadIdentity(path)
	must(t, err)
	if len(id) != 1 || id[0].(*age.X25519Identity).Recipient().String() != recipient {
		t.Errorf("the file holds %v, not the identity of %s", id, recipient)
	}
	return recipient
}
