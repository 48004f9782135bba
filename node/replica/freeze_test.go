package replica

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/store"
)

// seedDisk makes the stores in dir begin with a snapshot.
func seedDisk(t testing.TB, dir string, index, term uint64, from io.Reader) error {
	t.Helper()
	state, err := store.OpenState(store.StateConfig{Dir: filepath.Join(dir, "state"), EncryptionKey: testKey})
	must(t, err)
	defer func() { must(t, state.Close()) }()
	log, err := store.OpenLog(store.LogConfig{Dir: filepath.Join(dir, "log"), EncryptionKey: testKey})
	must(t, err)
	defer func() { must(t, log.Close()) }()
	must(t, store.Bind(state, log, filepath.Join(dir, "raft")))
	return Seed(Config{ID: "a", Dir: filepath.Join(dir, "raft"), Log: log}, index, term, from)
}

// TestSeed freezes a replica in the middle of its work and goes on from there on other stores: with exactly
// the commands up to that moment, above the old index and term, and again after a restart.
func TestSeed(t *testing.T) {
	old := t.TempDir()
	for range 3 { // each start is another term
		d := openDisk(t, old, nil)
		doMany(t, d.r, 5)
		d.close(t)
	}
	d := openDisk(t, old, nil)
	doMany(t, d.r, 20)
	frozen, err := d.r.Freeze(nil)
	must(t, err)
	want := stands(t, d.r)
	doMany(t, d.r, 20) // of these nothing shows
	var snap bytes.Buffer
	_, err = frozen.WriteTo(&snap)
	must(t, err)
	frozen.Close()
	frozen.Close()
	d.close(t)
	if frozen.Meta != want.meta || frozen.Term < 4 || frozen.Index < want.meta.Position {
		t.Fatalf("frozen at %+v, index %d, term %d; the state stood at %+v", frozen.Meta, frozen.Index,
			frozen.Term, want.meta)
	}

	dir := t.TempDir()
	must(t, seedDisk(t, dir, frozen.Index, frozen.Term, bytes.NewReader(snap.Bytes())))
	err = seedDisk(t, dir, frozen.Index, frozen.Term, bytes.NewReader(snap.Bytes()))
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("seeding twice: %v", err)
	}
	for range 2 {
		d = openDisk(t, dir, nil)
		if got := stands(t, d.r); got != want {
			t.Fatalf("it goes on from %+v, not from %+v", got, want)
		}
		s := d.r.Status()
		if s.Term <= frozen.Term || s.Applied < frozen.Index {
			t.Fatalf("the log goes on at index %d, term %d; the backup was at %d, %d", s.Applied, s.Term,
				frozen.Index, frozen.Term)
		}
		mustDo(t, d.r, 1)
		want = stands(t, d.r)
		d.close(t)
	}
}

func TestSeedWantsAWholeBeginning(t *testing.T) {
	if err := seedDisk(t, t.TempDir(), 0, 3, strings.NewReader("x")); err == nil {
		t.Error("index 0 was taken")
	}
	if err := seedDisk(t, t.TempDir(), 3, 0, strings.NewReader("x")); err == nil {
		t.Error("term 0 was taken")
	}
	broken := errors.New("cut off")
	dir := t.TempDir()
	if err := seedDisk(t, dir, 3, 3, io.MultiReader(strings.NewReader("x"), failing{broken})); !errors.Is(err,
		broken) {
		t.Errorf("a stream that breaks off: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "raft", "*-*-*")); err != nil || len(left) > 0 {
		t.Errorf("half a snapshot is left: %v %v", left, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// stuckWriter lets through what is asked for once.
type stuckWriter struct{ reached, onward chan struct{} }

func (s *stuckWriter) Write(p []byte) (int, error) {
	close(s.reached)
	<-s.onward
	return len(p), nil
}

// TestFrozenEnds: a restore of the whole state, and Close, do not wait for whoever holds a Frozen; nothing
// is written after them.
func TestFrozenEnds(t *testing.T) {
	n := newNode("a")
	r := n.start(t)
	doMany(t, r, 3)
	looked := errors.New("looked")
	if _, err := r.Freeze(func(machine.Reader) error { return looked }); !errors.Is(err, looked) {
		t.Fatalf("an error of look is %v", err)
	}
	idle, err := r.Freeze(nil)
	must(t, err)
	other := newNode("b")
	doMany(t, other.start(t), 1)
	otherSnap, err := other.state.Snapshot()
	must(t, err)
	var raw bytes.Buffer
	_, err = otherSnap.WriteTo(&raw)
	must(t, err)
	otherSnap.Close()
	must(t, other.r.Close())
	must(t, (&fsm{r: r}).Restore(io.NopCloser(&raw)))
	if _, err := idle.WriteTo(io.Discard); !errors.Is(err, errFrozenGone) {
		t.Errorf("written after the state was replaced: %v", err)
	}
	idle.Close()

	busy, err := r.Freeze(nil)
	must(t, err)
	busy.snap = twice{busy.snap}
	w := &stuckWriter{reached: make(chan struct{}), onward: make(chan struct{})}
	done := make(chan error)
	go func() {
		_, err := busy.WriteTo(w)
		done <- err
	}()
	<-w.reached
	closed := make(chan error)
	go func() { closed <- r.Close() }()
	for !busy.gone.Load() {
		runtime.Gosched()
	}
	close(w.onward)
	if err := <-done; !errors.Is(err, errFrozenGone) {
		t.Errorf("it wrote on while the replica closed: %v", err)
	}
	must(t, <-closed)
	if n.state.open != 0 {
		t.Errorf("%d snapshots are still open", n.state.open)
	}
	if _, err := r.Freeze(nil); !errors.Is(err, ErrStopped) {
		t.Errorf("frozen after Close: %v", err)
	}
}

// twice writes in two writes.
type twice struct{ Snap }

func (s twice) WriteClear(w io.Writer) (int64, error) {
	for range 2 {
		if _, err := w.Write([]byte("x")); err != nil {
			return 0, err
		}
	}
	return 2, nil
}
