package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

func plainFiles(t *testing.T) *Files { return &Files{Dir: t.TempDir()} }

func openVault(t *testing.T, f *Files) *Vault {
	t.Helper()
	v, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func made(t *testing.T, v *Vault, version uint32) Entry {
	t.Helper()
	e, err := v.Make(version)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSecretsDoNotShow prints a key in every way there is.
func TestSecretsDoNotShow(t *testing.T) {
	s := Secret(bytes.Repeat([]byte{0xab}, 32))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s, "entry", Entry{Version: 1, Key: s})
	asJSON, err := json.Marshal(map[string]any{"key": s, "entry": Entry{Version: 1, Key: s}})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, Entry{Key: s}) + fmt.Sprintf(verb, []Secret{s})
	}
	for _, shows := range []string{"abab", "ABAB", "171", "q6ur"} {
		if strings.Contains(all, shows) {
			t.Errorf("%q shows in %s", shows, all)
		}
	}
}

// TestSealText wants the same bytes for the same command, and others for everything that differs.
func TestSealText(t *testing.T) {
	key, id := NewSecret(), machine.ID{1}
	p := SealText(key, "norah", id, "note", []byte("tea at four"))
	again := SealText(key, "norah", id, "note", []byte("tea at four"))
	if !bytes.Equal(p.Data, again.Data) {
		t.Error("sealed again it is something else: a retry would not be recognised")
	}
	if len(p.Data) != len("tea at four")+machine.SealOverhead {
		t.Errorf("%d bytes", len(p.Data))
	}
	for what, other := range map[string]machine.Private{
		"another command": SealText(key, "norah", machine.ID{2}, "note", []byte("tea at four")),
		"another place":   SealText(key, "norah", id, "name", []byte("tea at four")),
		"other words":     SealText(key, "norah", id, "note", []byte("tea at five")),
		"another person":  SealText(key, "ben", id, "note", []byte("tea at four")),
		"another key":     SealText(NewSecret(), "norah", id, "note", []byte("tea at four")),
	} {
		if bytes.Equal(other.Data[:nonceBytes], p.Data[:nonceBytes]) {
			t.Errorf("%s has the same nonce", what)
		}
	}
	if b, err := OpenText(key, p); err != nil || string(b) != "tea at four" {
		t.Errorf("opened %q: %v", b, err)
	}
	for what, change := range map[string]func(p *machine.Private){
		"as somebody else's": func(p *machine.Private) { p.Of = "ben" },
		"changed":            func(p *machine.Private) { p.Data[nonceBytes] ^= 1 },
		"cut":                func(p *machine.Private) { p.Data = p.Data[:nonceBytes+tagBytes-1] },
	} {
		q := p
		q.Data = bytes.Clone(p.Data)
		change(&q)
		if b, err := OpenText(key, q); !errors.Is(err, ErrSealed) {
			t.Errorf("%s it opens: %q, %v", what, b, err)
		}
	}
}

// TestLetters opens a memo with the key that goes beside it, and with no other.
func TestLetters(t *testing.T) {
	own := NewSecret()
	key := LetterKey(own, machine.ID{7})
	sealed := SealLetter(key, []byte("for your birthday"))
	if b, err := OpenLetter(key, sealed); err != nil || string(b) != "for your birthday" {
		t.Errorf("opened %q: %v", b, err)
	}
	others := []Secret{own, LetterKey(own, machine.ID{8}), LetterKey(NewSecret(), machine.ID{7})}
	for _, wrong := range others {
		if _, err := OpenLetter(wrong, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("another key opens it: %v", err)
		}
	}
}

// TestWrap unwraps a person's key as that person's, from that key of the vault, and not otherwise.
func TestWrap(t *testing.T) {
	v := openVault(t, plainFiles(t))
	e := made(t, v, 1)
	key := NewSecret()
	k := Wrap(e, "norah", key)
	for range 2 { // from the file's keys, then from memory
		if got, err := v.Unwrap(k); err != nil || got != key {
			t.Fatalf("unwrapped %v", err)
		}
	}
	as := k
	as.Person = "ben"
	other := k
	other.Version = 2
	changed := k
	changed.Wrapped = bytes.Clone(k.Wrapped)
	changed.Wrapped[20] ^= 1
	for _, wrong := range []member.Key{as, other, changed} {
		if _, err := v.Unwrap(wrong); !errors.Is(err, ErrSealed) {
			t.Errorf("%+v unwraps: %v", wrong, err)
		}
	}
}

// TestKeepDestroys: what Keep refuses is in no file any more, nor in memory.
func TestKeepDestroys(t *testing.T) {
	f := plainFiles(t)
	v := openVault(t, f)
	old, next := made(t, v, 1), made(t, v, 2)
	if again := made(t, v, 2); again != next {
		t.Error("made twice, a version has two keys here")
	}
	wrapped := Wrap(old, "norah", NewSecret())
	if _, err := v.Unwrap(wrapped); err != nil {
		t.Fatal(err)
	}
	if !shows(t, f.Dir, old.Key) {
		t.Fatal("the search does not find a key that is there")
	}
	if err := v.Keep(func(e Entry) bool { return e.Version == 2 }); err != nil {
		t.Fatal(err)
	}
	if shows(t, f.Dir, old.Key) {
		t.Error("the old key is still in a file")
	}
	if _, err := v.Unwrap(wrapped); err == nil {
		t.Error("it unwraps from memory")
	}
	again := openVault(t, f)
	if _, ok := again.Export(2, next.Mark()); !ok {
		t.Error("the new key is gone")
	}
	if _, ok := again.Export(1, old.Mark()); ok {
		t.Error("the old key is back")
	}
}

// shows tells whether a key stands in any file of a directory.
func shows(t *testing.T, dir string, key Secret) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, key[:]) {
			return true
		}
	}
	return false
}

// TestTwoOfOneVersion keeps two keys that replicas made for one version until the log says which.
func TestTwoOfOneVersion(t *testing.T) {
	v := openVault(t, plainFiles(t))
	own, other := made(t, v, 1), Entry{Version: 1, Key: NewSecret()}
	for range 2 {
		if err := v.Import(other); err != nil {
			t.Fatal(err)
		}
	}
	key := NewSecret()
	for _, e := range []Entry{own, other} {
		if got, ok := v.Export(1, e.Mark()); !ok || got != e {
			t.Error("a key is missing")
		}
		if got, err := v.Unwrap(Wrap(e, "norah", key)); err != nil || got != key {
			t.Errorf("it does not unwrap: %v", err)
		}
	}
	if err := v.Import(Entry{Key: NewSecret()}); err == nil {
		t.Error("a key without a version was taken")
	}
}

// TestReplaceAfterCrash opens the vault wherever a crash may have left its files.
func TestReplaceAfterCrash(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, old, next string){
		"new one written":   func(t *testing.T, _, next string) { move(t, next, next+".new", "") },
		"old one out":       func(t *testing.T, old, next string) { move(t, next, next+".new", old) },
		"not yet destroyed": func(t *testing.T, old, next string) { write(t, next+".old", old) },
	} {
		t.Run(name, func(t *testing.T) {
			f := plainFiles(t)
			v := openVault(t, f)
			first := made(t, v, 1)
			path := f.path(FileName)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			second := made(t, v, 2)
			leave(t, string(before), path)
			if _, err := os.Stat(path); err != nil && name == "new one written" {
				write(t, path, string(before))
			}
			again := openVault(t, f)
			if _, ok := again.Export(1, first.Mark()); !ok {
				t.Error("the first key is lost")
			}
			_, has := again.Export(2, second.Mark())
			if want := name != "new one written"; has != want {
				t.Errorf("the second key is there: %v, want %v", has, want)
			}
			left, err := filepath.Glob(filepath.Join(f.Dir, "*"))
			if err != nil || len(left) != 1 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

// TestFirstVaultAfterCrash: a first file that was never whole is no vault.
func TestFirstVaultAfterCrash(t *testing.T) {
	f := plainFiles(t)
	write(t, f.path(FileName)+".new", "half a va")
	if _, err := f.Read(FileName); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read %v", err)
	}
	made(t, openVault(t, f), 1)
	left, err := filepath.Glob(filepath.Join(f.Dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// TestReadWhileReplaced reads a file again and again while it is replaced: always whole, and in nobody's way.
func TestReadWhileReplaced(t *testing.T) {
	f := plainFiles(t)
	text := func(n int) string { return strings.Repeat(string(rune('a'+n%26)), 1000) }
	if err := f.Replace("a.key", []byte(text(0))); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 1; n < 300 && err == nil; n++ {
			err = f.Replace("a.key", []byte(text(n)))
		}
		done <- err
	}()
	for reads := 0; ; reads++ {
		raw, err := f.Read("a.key")
		if err != nil || len(raw) != 1000 || strings.Trim(string(raw), string(raw[:1])) != "" {
			t.Fatalf("read %d: %d bytes, %v", reads, len(raw), err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func move(t *testing.T, from, to, old string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if old != "" {
		write(t, from+".old", old)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func passphrase(text string) Master {
	return Master{Passphrase: func() (string, error) { return text, nil }}
}

// TestMasterKey seals files, reads them, and is told what to do where the key is missing or wrong.
func TestMasterKey(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "master")
	if err := NewMaster(keyFile); err != nil {
		t.Fatal(err)
	}
	otherFile := filepath.Join(t.TempDir(), "other")
	if err := NewMaster(otherFile); err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(credentials, credentialName), string(raw))
	names := []string{"a.key", FileName}
	for name, c := range map[string]struct{ right, wrong, none Master }{
		"file": {Master{File: keyFile}, Master{File: otherFile}, Master{}},
		"credential": {
			Master{Credential: credentials}, Master{File: otherFile}, Master{Credential: t.TempDir()},
		},
		"passphrase": {passphrase("four little words"), passphrase("four little birds"), Master{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "a.key"), "a secret text\n")
			for range 2 { // again, as after a crash
				if err := Seal(dir, c.right, names); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(filepath.Join(dir, "a.key"))
			if err != nil || bytes.Contains(raw, []byte("secret text")) ||
				bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString([]byte("secret text")))) {
				t.Errorf("the sealed file holds %s (%v)", raw, err)
			}
			reads(t, dir, c.right)
			if _, err := OpenFiles(dir, c.wrong); !errors.Is(err, ErrSealed) {
				t.Errorf("another key: %v", err)
			}
			if _, err := OpenFiles(dir, c.none); err == nil || !strings.Contains(err.Error(), "--") {
				t.Errorf("no key: %v", err)
			}
			if err := Rotate(dir, c.right, Master{File: otherFile}); err != nil {
				t.Fatal(err)
			}
			reads(t, dir, Master{File: otherFile})
			if _, err := OpenFiles(dir, c.right); err == nil {
				t.Error("the old key still opens them")
			}
			if err := Unseal(dir, Master{File: otherFile}, names); err != nil {
				t.Fatal(err)
			}
			reads(t, dir, Master{})
		})
	}
	if err := Seal(t.TempDir(), passphrase("short"), names); err == nil ||
		!strings.Contains(err.Error(), "longer") {
		t.Errorf("a short passphrase: %v", err)
	}
}

func reads(t *testing.T, dir string, m Master) {
	t.Helper()
	f, err := OpenFiles(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := f.Read("a.key"); err != nil || string(text) != "a secret text\n" {
		t.Errorf("read %q: %v", text, err)
	}
}

// TestSealedFilesAreBound: a sealed file is no other file, and no other node's.
func TestSealedFilesAreBound(t *testing.T) {
	dir, keyFile := t.TempDir(), filepath.Join(t.TempDir(), "master")
	if err := NewMaster(keyFile); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.key"), "a")
	write(t, filepath.Join(dir, "b.key"), "b")
	if err := Seal(dir, Master{File: keyFile}, []string{"a.key", "b.key"}); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFiles(dir, Master{File: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "b.key"), filepath.Join(dir, "a.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read("a.key"); !errors.Is(err, ErrSealed) {
		t.Errorf("one file stands for another: %v", err)
	}
	plain := &Files{Dir: dir}
	if _, err := plain.Read("a.key"); err == nil || !strings.Contains(err.Error(), "master.json") {
		t.Errorf("without master.json: %v", err)
	}
}

func BenchmarkSealNote(b *testing.B) {
	key, note := NewSecret(), bytes.Repeat([]byte("tea "), 50)
	for b.Loop() {
		SealText(key, "norah", machine.ID{1}, "note", note)
	}
}

func BenchmarkOpenNote(b *testing.B) {
	key := NewSecret()
	p := SealText(key, "norah", machine.ID{1}, "note", bytes.Repeat([]byte("tea "), 50))
	for b.Loop() {
		if _, err := OpenText(key, p); err != nil {
			b.Fatal(err)
		}
	}
}
