package backup_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// books is a circle with a state on disk, without a node.
type books struct {
	t      *testing.T
	key    ed25519.PrivateKey
	m      *machine.Machine
	state  *store.State
	index  uint64
	person string
	config backup.Config
	own    *age.X25519Identity
	escrow *age.X25519Identity
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newBooks(t *testing.T) *books {
	t.Helper()
	b := &books{t: t, key: keyOf("hebden")}
	var err error
	b.m, err = circle.New()
	must(t, err)
	b.state, err = store.OpenState(store.StateConfig{
		Dir: filepath.Join(t.TempDir(), "state"), EncryptionKey: make([]byte, store.KeyBytes),
		Fatal: func(err error) { t.Log(err) },
	})
	must(t, err)
	t.Cleanup(func() { must(t, b.state.Close()) })
	b.own, err = age.GenerateX25519Identity()
	must(t, err)
	b.escrow, err = age.GenerateX25519Identity()
	must(t, err)
	b.config.Recipients = []string{b.own.Recipient().String(), b.escrow.Recipient().String()}
	b.config.Dir = t.TempDir()
	b.do("member.found", member.Found{
		Circle: string(b.circle()), Key: b.key.Public().(ed25519.PublicKey), Name: "Hebden Bridge",
		Place: "Hebden Bridge", Aim: "care", Founder: machine.Text("", "Farida"),
	})
	b.do("coin.policy", coin.SetPolicy{
		FloorMinutes: -300, WelcomeMinutes: 600, AutoGift: true, EarnDayMinutes: 720, ReviewOn: "2026-09-30",
		Decision: "as founded",
	})
	secret := machine.Hash{1}
	out := b.do("member.invite", member.Invite{
		Name: machine.Text("", "Alice"), Link: secret, Until: noon.UnixMilli() + 1e8,
	})
	b.person = out.Result.(member.Made).Person
	return b
}

func (b *books) circle() letter.CircleID {
	return letter.CircleIDOf(b.key.Public().(ed25519.PublicKey))
}

// do does a command as the operator; it must not be refused.
func (b *books) do(kind string, body any) machine.Outcome {
	b.t.Helper()
	b.index++
	id := machine.ID(sha256.New().Sum([]byte{byte(b.index >> 8), byte(b.index)})[:16])
	by := machine.Caller{Actor: machine.ActorOperator}
	c, err := machine.NewCommand(id, by, noon.UnixMilli()+int64(b.index), kind, body)
	must(b.t, err)
	raw, err := c.Encode()
	must(b.t, err)
	out, err := b.m.Apply(b.state, raw)
	must(b.t, err)
	if out.Refusal != nil {
		b.t.Fatal(out.Refusal)
	}
	b.state.Commit(b.index)
	return out
}

func (b *books) place(name string) { b.do("coin.place", coin.AddPlace{Place: name, Name: name}) }

// job is a backup of the state as it is. Its snapshot is closed with the test.
func (b *books) job(now time.Time) backup.Job {
	b.t.Helper()
	snap, err := b.state.Snapshot()
	must(b.t, err)
	b.t.Cleanup(snap.Close)
	seed := base64.RawURLEncoding.EncodeToString(b.key.Seed())
	return backup.Job{
		Config: b.config, Key: b.key, State: snap, Index: b.index, Term: 3, Meta: machine.ReadMeta(b.state),
		Epochs: backup.HistoryOf(timeline.All(b.state)), Now: now, Program: "test",
		Contents: backup.Contents{
			Config:  []byte(`{"name":"Hebden Bridge"}`),
			Secrets: map[string][]byte{backup.CircleKey: []byte(seed)},
		},
	}
}

// write writes a backup of the state as it is to a file.
func (b *books) write(name string, now time.Time) (string, backup.Manifest) {
	b.t.Helper()
	path := filepath.Join(b.config.Dir, name+backup.Suffix)
	return path, b.writeJob(path, b.job(now))
}

func (b *books) writeJob(path string, j backup.Job) backup.Manifest {
	b.t.Helper()
	m, err := backup.WriteFile(b.t.Context(), path, func(w io.Writer) error {
		_, err := backup.Write(b.t.Context(), w, j)
		return err
	})
	must(b.t, err)
	return m
}

func (b *books) keeper(now *time.Time) *backup.Keeper {
	return &backup.Keeper{
		Config: b.config, Circle: b.circle(),
		Make: func(ctx context.Context, w io.Writer) error {
			_, err := backup.Write(ctx, w, b.job(*now))
			return err
		},
	}
}

// files lists the names in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// fullAfter is a disk with room for so many bytes.
type fullAfter struct {
	w    io.Writer
	room int
	err  error
}

func (f *fullAfter) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.room -= n
	if n, err := f.w.Write(p[:n]); err != nil {
		return n, err
	}
	if n < len(p) {
		return n, f.err
	}
	return n, nil
}

// jobBytes is a backup in memory.
func jobBytes(t *testing.T, j backup.Job) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := backup.Write(t.Context(), &out, j)
	must(t, err)
	return out.Bytes()
}

var errBroken = errors.New("broken")
