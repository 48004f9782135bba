package replica

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/store"
	"github.com/hashicorp/raft"
)

// disk is a replica on real stores.
type disk struct {
	dir   string
	state *diskState
	log   *countingLog
	raw   *store.Log
	r     *Replica
	tune  func(*raft.Config)
}

// diskState makes a store.State a State: what it restores is another directory, opened anew.
type diskState struct {
	*store.State
	cfg     store.StateConfig
	commits int
}

func (s *diskState) Commit(index uint64) {
	s.commits++
	s.State.Commit(index)
}

func (s *diskState) Snapshot() (Snap, error) {
	snap, err := s.State.Snapshot()
	if err != nil {
		return nil, err
	}
	return snap, nil
}

func (s *diskState) restore(from io.Reader) error {
	if err := s.Close(); err != nil {
		return err
	}
	if err := store.Restore(s.cfg, from); err != nil {
		return err
	}
	opened, err := store.OpenState(s.cfg)
	if err == nil {
		s.State = opened
	}
	return err
}

var testKey = bytes.Repeat([]byte{7}, store.KeyBytes)

func openDisk(t testing.TB, dir string, tune func(*raft.Config)) *disk {
	t.Helper()
	fatal := func(err error) { t.Errorf("fatal: %v", err) }
	d := &disk{dir: dir, tune: tune}
	cfg := store.StateConfig{Dir: filepath.Join(dir, "state"), EncryptionKey: testKey, Fatal: fatal}
	state, err := store.OpenState(cfg)
	must(t, err)
	d.state = &diskState{State: state, cfg: cfg}
	d.raw, err = store.OpenLog(store.LogConfig{
		Dir: filepath.Join(dir, "log"), EncryptionKey: testKey, Fatal: fatal,
	})
	must(t, err)
	d.log = &countingLog{Store: d.raw}
	snaps := filepath.Join(dir, "raft")
	must(t, store.Bind(state, d.raw, snaps))
	d.r, err = Open(Config{
		ID: "a", Dir: snaps, Machine: newMachine(t), State: d.state, Log: d.log,
		Restore: d.state.restore, Fatal: fatal, tune: tune,
	})
	must(t, err)
	must(t, d.r.Bootstrap())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(t, d.r.Ready(ctx))
	return d
}

func (d *disk) close(t testing.TB) {
	t.Helper()
	must(t, d.r.Close())
	must(t, d.state.Close())
	must(t, d.raw.Close())
}

// crash copies the directories as they are, which is what a kill leaves, in the order that no instant could
// contradict: the state never is ahead of the log, nor the log shortened without its snapshot.
func (d *disk) crash(t testing.TB) string {
	t.Helper()
	to := t.TempDir()
	for _, part := range []string{"state", "log", "raft"} {
		copyDir(t, filepath.Join(d.dir, part), filepath.Join(to, part))
	}
	return to
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	must(t, filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if entry.Name() == "LOCK" {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// Badger's files are large and mostly empty: leave holes where there are zeros.
		must(t, os.WriteFile(filepath.Join(to, rel), bytes.TrimRight(raw, "\x00"), 0o600))
		return os.Truncate(filepath.Join(to, rel), int64(len(raw)))
	}))
}

func few(c *raft.Config) { c.TrailingLogs = 10 }

// A restart applies only what the state does not hold yet.
func TestRestartReplaysTheRest(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	for range 40 {
		mustDo(t, d.r, 1)
	}
	must(t, d.state.Flush())
	const rest = 15
	for range rest {
		mustDo(t, d.r, 1)
	}
	refused, err := d.r.Do(t.Context(), command(t, tooMuch))
	if err != nil || refused.Refusal == nil {
		t.Fatal(refused, err)
	}
	want := stands(t, d.r)
	crashed := d.crash(t)
	d.close(t)

	for name, c := range map[string]struct {
		dir     string
		commits int // the mark of Ready included
	}{
		"after a kill": {crashed, rest + 2}, "after a close": {d.dir, 1},
	} {
		again := openDisk(t, c.dir, nil)
		if again.state.commits != c.commits {
			t.Errorf("%s: %d entries applied, want %d", name, again.state.commits, c.commits)
		}
		if got := stands(t, again.r); got != want {
			t.Errorf("%s: stands at %+v, want %+v", name, got, want)
		}
		mustDo(t, again.r, 1)
		again.close(t)
	}
}

// Killed in the middle of writes, over and over: what was answered is there, once.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []machine.ID
	for round := range 3 {
		d := openDisk(t, dir, few)
		var mu sync.Mutex
		var clients sync.WaitGroup
		stop := make(chan struct{})
		enough := make(chan struct{}, 1)
		for range 4 {
			clients.Go(func() {
				for n := range 200 {
					select {
					case <-stop:
						return
					default:
					}
					c := command(t, 1)
					if out, err := d.r.Do(context.Background(), c); err != nil || out.Refusal != nil {
						t.Errorf("%+v, %v", out, err)
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, c.ID)
					mu.Unlock()
					if n == 40 {
						select {
						case enough <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		<-enough
		if round%2 == 1 {
			must(t, d.r.Snapshot())
		}
		mu.Lock()
		before := len(acknowledged)
		mu.Unlock()
		dir = d.crash(t)
		close(stop)
		clients.Wait()
		d.close(t)
		acknowledged = acknowledged[:before] // of the others this copy need not know

		again := openDisk(t, dir, few)
		times := map[machine.ID]int{}
		for _, a := range listed(t, again.r) {
			times[a.ID]++
		}
		for _, id := range acknowledged {
			if times[id] != 1 {
				t.Errorf("round %d: %v was acknowledged and done %d times", round, id, times[id])
			}
		}
		t.Logf("round %d: %d acknowledged, %d done, %d applied at start", round, before, len(times),
			again.state.commits)
		again.close(t)
	}
}

// doMany does commands of which every third is refused.
func doMany(t testing.TB, r *Replica, n int) {
	t.Helper()
	for i := range n {
		_, err := r.Do(t.Context(), command(t, []uint64{1, 2, tooMuch}[i%3]))
		must(t, err)
	}
}

// wipeState leaves of a state its id, without which the stores refuse to open.
func wipeState(t testing.TB, dir string) {
	t.Helper()
	state := filepath.Join(dir, "state")
	id, err := os.ReadFile(filepath.Join(state, "IDENTITY"))
	must(t, err)
	must(t, os.RemoveAll(state))
	must(t, os.MkdirAll(state, 0o700))
	must(t, os.WriteFile(filepath.Join(state, "IDENTITY"), id, 0o600))
}

// A snapshot and what follows it give the same as every entry from the first on.
func TestSnapshotAndTailEqualFullReplay(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	doMany(t, d.r, 60)
	must(t, d.r.Snapshot())
	doMany(t, d.r, 31)
	want := stands(t, d.r)
	tail, full := d.crash(t), d.crash(t)
	d.close(t)

	wipeState(t, tail)
	wipeState(t, full)
	must(t, os.RemoveAll(filepath.Join(full, "raft", "snapshots")))
	for name, c := range map[string]struct {
		dir     string
		commits int // two marks and the configuration included, where they are replayed
	}{
		"snapshot and tail": {tail, 31 + 1}, "full replay": {full, 60 + 31 + 3},
	} {
		again := openDisk(t, c.dir, nil)
		if got := stands(t, again.r); got != want || again.state.commits != c.commits {
			t.Errorf("%s: %d entries give %+v, want %d and %+v",
				name, again.state.commits, got, c.commits, want)
		}
		again.close(t)
	}
}

// A snapshot shortens the log, and a replica starts from what is left.
func TestSnapshotShortensTheLog(t *testing.T) {
	d := openDisk(t, t.TempDir(), few)
	doMany(t, d.r, 60)
	must(t, d.r.Snapshot())
	first, err := d.log.FirstIndex()
	must(t, err)
	s := d.r.Status()
	if first != s.Applied-9 || s.SnapshotIndex != s.Applied || time.Since(s.SnapshotAt) > time.Minute {
		t.Errorf("the log begins at %d: %+v", first, s)
	}
	doMany(t, d.r, 4)
	want := stands(t, d.r)
	dir := d.crash(t)
	d.close(t)
	again := openDisk(t, dir, few)
	if got := stands(t, again.r); got != want || again.state.commits != 5 {
		t.Errorf("%d entries give %+v, want %+v", again.state.commits, got, want)
	}
	again.close(t)
}

func BenchmarkDo1(b *testing.B)  { benchmarkDo(b, 1) }
func BenchmarkDo64(b *testing.B) { benchmarkDo(b, 64) }

// benchmarkDo does commands from so many clients at once, on real stores that sync.
func benchmarkDo(b *testing.B, clients int) {
	d := openDisk(b, b.TempDir(), nil)
	writes, commands := d.log.writes, make(chan machine.Command, clients)
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for c := range commands {
				if out, err := d.r.Do(context.Background(), c); err != nil || out.Refusal != nil {
					b.Errorf("%+v, %v", out, err)
				}
			}
		})
	}
	for range b.N {
		commands <- command(b, 1)
	}
	close(commands)
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(d.log.writes-writes), "commands/write")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	d.close(b)
}

// A circle is ready soon after its process starts; here with 1000 entries in the log.
func BenchmarkReady(b *testing.B) {
	d := openDisk(b, b.TempDir(), nil)
	for range 1000 {
		if _, err := d.r.Do(context.Background(), command(b, 1)); err != nil {
			b.Fatal(err)
		}
	}
	d.close(b)
	for b.Loop() {
		openDisk(b, d.dir, nil).close(b)
	}
}
