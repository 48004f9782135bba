package replica

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/hashicorp/raft"
)

func TestDo(t *testing.T) {
	n := newNode("a")
	r := n.start(t)
	closeAfter(t, r)

	c := command(t, 5)
	out, err := r.Do(t.Context(), c)
	must(t, err)
	if out.Result != (total{Sum: 5, Count: 1}) || out.Repeated || len(out.Events) != 1 {
		t.Fatalf("got %+v", out)
	}
	again, err := r.Do(t.Context(), c)
	must(t, err)
	if again.Result != out.Result || !again.Repeated || again.Position != out.Position {
		t.Fatalf("the second time: %+v", again)
	}
	c.Body = command(t, 6).Body
	other, err := r.Do(t.Context(), c)
	must(t, err)
	if other.Refusal == nil || other.Refusal.Code != "id_reused" {
		t.Fatalf("another body under the same id: %+v", other)
	}
	got, err := r.View(t.Context(), anna, "test.total", nil)
	must(t, err)
	if got != (total{Sum: 5, Count: 1}) {
		t.Fatalf("view: %+v", got)
	}
	s := r.Status()
	if s.State != "Leader" || s.Leader != "a" || s.Position != 1 || s.Err != nil ||
		s.Applied < 3 || s.Commit < s.Applied || s.Term == 0 {
		t.Fatalf("status: %+v", s)
	}
}

func TestRefusedCommandChangesNothing(t *testing.T) {
	r := newNode("a").start(t)
	closeAfter(t, r)
	mustDo(t, r, 1)
	before := stands(t, r)
	out, err := r.Do(t.Context(), command(t, tooMuch))
	must(t, err)
	after := stands(t, r)
	if out.Refusal == nil || out.Refusal.Code != "too_much" || len(out.Events) != 0 {
		t.Fatalf("got %+v", out)
	}
	if before.state != after.state || after.meta.Position != before.meta.Position+1 {
		t.Fatalf("before %+v, after %+v", before, after)
	}
}

// What could not be read back from the log, or is refused by every state, must not be logged.
func TestNotLogged(t *testing.T) {
	n := newNode("a")
	r := n.start(t)
	closeAfter(t, r)
	big := func(size int) machine.Command {
		c, err := machine.NewCommand(newID(), anna, 0, "test.add", add{N: 1, Text: strings.Repeat("x", size)})
		must(t, err)
		return c
	}
	fits, err := big(0).Encode()
	must(t, err)
	edited := func(edit func(*machine.Command)) machine.Command {
		c := command(t, 1)
		edit(&c)
		return c
	}
	for name, c := range map[string]machine.Command{
		"unknown kind":  edited(func(c *machine.Command) { c.Kind = "test.nothing" }),
		"as the circle": edited(func(c *machine.Command) { c.Actor = machine.ActorCircle }),
		"no id":         edited(func(c *machine.Command) { c.ID = machine.ID{} }),
		"sealed":        edited(func(c *machine.Command) { c.Scheme = 9 }),
		"no text":       edited(func(c *machine.Command) { c.OnBehalfOf = "\xff\xfe" }),
		"too large":     big(machine.MaxCommandBytes),
		// without the time it is still small enough
		"too large with its time": big(machine.MaxCommandBytes - len(fits) - 6),
	} {
		before := n.log.entries
		out, err := r.Do(t.Context(), c)
		must(t, err)
		if out.Refusal == nil || out.Kind != c.Kind || n.log.entries != before {
			t.Errorf("%s: %+v, %d entries logged", name, out, n.log.entries-before)
		}
	}
	mustDo(t, r, 1) // it still runs
}

func TestTimeNeverGoesBack(t *testing.T) {
	n := newNode("a")
	clock := time.UnixMilli(5_000_000)
	n.now = func() time.Time { return clock }
	r := n.start(t)
	mustDo(t, r, 1)
	clock = time.UnixMilli(3_000_000)
	mustDo(t, r, 2)
	must(t, r.Close())
	r = n.start(t) // the next one must know from the state
	closeAfter(t, r)
	mustDo(t, r, 3)
	clock = time.UnixMilli(6_000_000)
	mustDo(t, r, 4)
	var at []int64
	must(t, r.Read(func(state machine.Reader) error {
		machine.Journal(state, 0, func(_ uint64, raw []byte) bool {
			c, err := machine.DecodeCommand(raw)
			must(t, err)
			at = append(at, c.At)
			return true
		})
		return nil
	}))
	want := []int64{5_000_000, 5_000_000, 5_000_000, 6_000_000}
	for i := range want {
		if len(at) != len(want) || at[i] != want[i] {
			t.Fatalf("times in the journal %v, want %v", at, want)
		}
	}
}

// While the log is replayed the state is ahead of what raft would call the snapshot; and another replica's
// snapshot does not wait for one of ours that nobody writes.
func TestSnapshotAndRestoreMeet(t *testing.T) {
	n := newNode("a")
	r := n.start(t)
	closeAfter(t, r)
	mustDo(t, r, 1)
	f := &fsm{r: r}
	if _, err := f.Snapshot(); err == nil {
		t.Error("a snapshot in the middle of a replay")
	}
	f.seen = n.state.Applied()
	f.failed = true
	if _, err := f.Snapshot(); !errors.Is(err, ErrStopped) {
		t.Errorf("a snapshot of a state that lacks entries: %v", err)
	}
	f.failed = false
	ours, err := f.Snapshot()
	must(t, err)
	var theirs bytes.Buffer
	_, err = ours.(*snapshot).snap.WriteTo(&theirs)
	must(t, err)
	want := stands(t, r)
	mustDo(t, r, 1)
	events, stop := r.Watch()
	defer stop()
	must(t, f.Restore(io.NopCloser(&theirs)))
	if got := stands(t, r); got != want || f.failed {
		t.Errorf("restored %+v, want %+v", got, want)
	}
	if batch := <-events; len(batch) != 0 {
		t.Errorf("watchers were told %v", batch)
	}
	sink, err := n.snaps.Create(1, 99, 1, raft.Configuration{}, 1, n.trans)
	must(t, err)
	if err := ours.Persist(sink); err == nil {
		t.Error("the old state was written as a snapshot")
	}
	ours.Release()
	n.snaps = raft.NewInmemSnapshotStore()
}

// Many at once share a write to the log, and each gets its own answer.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, each = 64, 25
		n := newNode("a")
		r := n.start(t)
		n.log.takes = time.Millisecond
		before := n.log.writes
		var all sync.WaitGroup
		seen := make([]map[uint64]bool, clients)
		for i := range clients {
			seen[i] = map[uint64]bool{}
			all.Go(func() {
				for range each {
					out, err := r.Do(t.Context(), command(t, 1))
					if err != nil || out.Refusal != nil {
						t.Errorf("%+v, %v", out, err)
						return
					}
					seen[i][out.Result.(total).Count] = true
				}
			})
		}
		all.Wait()
		counts := map[uint64]bool{}
		for _, m := range seen {
			for count := range m {
				counts[count] = true
			}
		}
		writes := n.log.writes - before
		t.Logf("%d commands, %d writes", clients*each, writes)
		if len(counts) != clients*each || writes > 3*each {
			t.Errorf("%d different answers, %d writes for %d commands", len(counts), writes, clients*each)
		}
		must(t, r.Close())
	})
}

func TestTwoWaitForTheSameCommand(t *testing.T) {
	n := newNode("a")
	n.now = func() time.Time { return time.UnixMilli(1) } // so that even the bytes are the same
	r := n.start(t)
	closeAfter(t, r)
	c := command(t, 7)
	var both sync.WaitGroup
	for range 8 {
		both.Go(func() {
			out, err := r.Do(t.Context(), c)
			if err != nil || out.Result != (total{Sum: 7, Count: 1}) {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
	both.Wait()
	if len(r.waiting.by) != 0 {
		t.Errorf("%d still wait", len(r.waiting.by))
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newNode("a").start(t)
		slow, stopSlow := r.Watch()
		fast, stopFast := r.Watch()
		var read []uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for batch := range fast {
				for _, e := range batch {
					read = append(read, e.Number)
				}
			}
		}()
		const n = maxEventsWaited + 100
		for range n {
			mustDo(t, r, 1)
		}
		out, err := r.Do(t.Context(), command(t, tooMuch)) // refused: no event
		if err != nil || out.Refusal == nil {
			t.Fatal(out, err)
		}
		synctest.Wait()
		stopFast()
		stopFast()
		<-done
		for i, number := range read {
			if number != uint64(i+1) || len(read) != n {
				t.Fatalf("event %d of %d has number %d", i, len(read), number)
			}
		}
		batch := <-slow
		if len(batch) != maxEventsWaited || batch[0].Number != 101 || batch[len(batch)-1].Number != n {
			t.Errorf("the slow one got %d from %d", len(batch), batch[0].Number)
		}
		must(t, r.Close())
		if _, open := <-slow; open {
			t.Error("not closed")
		}
		stopSlow()
		late, stopLate := r.Watch()
		if _, open := <-late; open {
			t.Error("open after close")
		}
		stopLate()
	})
}

// A quiet circle takes a snapshot once a day, if there is anything new.
func TestSnapshotByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode("a")
		n.tune = func(c *raft.Config) { // raft would look at its lease a million times
			const long = 10 * time.Second
			c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = long, long, long
		}
		r := n.start(t)
		mustDo(t, r, 1)
		time.Sleep(2 * time.Hour)
		first := r.Status()
		if first.SnapshotIndex != first.Applied || time.Since(first.SnapshotAt) > 2*time.Hour {
			t.Fatalf("after two hours: %+v", first)
		}
		time.Sleep(48 * time.Hour)
		if s := r.Status(); s.SnapshotAt != first.SnapshotAt {
			t.Errorf("a snapshot of nothing new: %+v", s)
		}
		mustDo(t, r, 1)
		time.Sleep(2 * time.Hour)
		second := r.Status()
		if second.SnapshotIndex != second.Applied || second.SnapshotIndex == first.SnapshotIndex {
			t.Errorf("no second snapshot: %+v", second)
		}
		must(t, r.Close())
		r = n.start(t) // which logs a mark, so that there is something new
		if s := r.Status(); s.SnapshotAt != second.SnapshotAt || s.SnapshotIndex != second.SnapshotIndex {
			t.Errorf("after a restart: %+v, want %+v", s, second)
		}
		if n.state.restores > 0 {
			t.Error("restored a snapshot that the state holds already")
		}
		time.Sleep(5 * time.Hour)
		if s := r.Status(); s.SnapshotAt != second.SnapshotAt {
			t.Errorf("a snapshot before its time: %+v", s)
		}
		must(t, r.Close())
	})
}

// A state that lost what a snapshot holds gets it back from that; entries gone for good are an error.
func TestStateOlderThanSnapshot(t *testing.T) {
	n := newNode("a")
	n.tune = func(c *raft.Config) { c.TrailingLogs = 1 }
	r := n.start(t)
	for range 20 {
		mustDo(t, r, 1)
	}
	must(t, r.Snapshot())
	if n.state.durableApplied != r.Status().SnapshotIndex {
		t.Errorf("the state on disk is at %d, behind the snapshot: %+v", n.state.durableApplied, r.Status())
	}
	must(t, r.Snapshot()) // nothing new
	mustDo(t, r, 1)
	want := stands(t, r)
	must(t, r.Close())

	n.state = newMemState()
	r = n.start(t)
	if got := stands(t, r); got != want {
		t.Errorf("restored %+v, want %+v", got, want)
	}
	must(t, r.Close())

	cfg := n.config(t)
	cfg.Snapshots = raft.NewInmemSnapshotStore()
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "are missing") {
		t.Errorf("without the snapshot: %v", err)
	}
	cfg = n.config(t)
	cfg.Log, cfg.Snapshots = raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "not of one time") {
		t.Errorf("without log and snapshot: %v", err)
	}
	cfg = n.config(t)
	n.state.applied = 0
	cfg.Restore = func(io.Reader) error { return errors.New("torn") }
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("with a restore that fails: %v", err)
	}
}

func TestOpenNeeds(t *testing.T) {
	full := newNode("a").config(t)
	for name, drop := range map[string]func(*Config){
		"ID":               func(c *Config) { c.ID = "" },
		"Machine":          func(c *Config) { c.Machine = nil },
		"State":            func(c *Config) { c.State = nil },
		"Log":              func(c *Config) { c.Log = nil },
		"Transport":        func(c *Config) { c.Transport, c.Several = nil, true },
		"Dir or Snapshots": func(c *Config) { c.Snapshots = nil },
		"Restore":          func(c *Config) { c.Restore = nil },
		"Fatal":            func(c *Config) { c.Fatal = nil },
	} {
		cfg := full
		drop(&cfg)
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), name+" is not set") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
