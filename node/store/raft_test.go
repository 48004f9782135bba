package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// testFSM counts in a State: how often each command came, and in what order.
type testFSM struct {
	mu    sync.Mutex
	state *State
	log   *Log
}

func (f *testFSM) Apply(e *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Index <= f.state.Applied() {
		return nil // on disk already
	}
	old, _ := f.state.Get(e.Data)
	f.state.Set(e.Data, append(append([]byte(nil), old...), encodeUint64(e.Index)...))
	f.state.Commit(e.Index)
	if err := f.log.StageCommitIndex(e.Index); err != nil {
		return err
	}
	return nil
}

// replay applies what is known to be committed, before raft starts. (raft's own RestoreCommittedLogs in
// 1.8.0 forgets the configuration if that is in an entry it replays.)
func (f *testFSM) replay(t *testing.T) {
	t.Helper()
	commit, err := f.log.GetCommitIndex()
	must(t, err)
	for index := f.state.Applied() + 1; index <= commit; index++ {
		var e raft.Log
		must(t, f.log.GetLog(index, &e))
		if e.Type == raft.LogCommand {
			f.Apply(&e)
		}
	}
}

func (f *testFSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	snap, err := f.state.Snapshot()
	return testSnap{snap}, err
}

func (f *testFSM) Restore(r io.ReadCloser) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.state.Close()
	if err == nil {
		err = Restore(f.state.cfg, r)
	}
	if err == nil {
		f.state, err = OpenState(f.state.cfg)
	}
	return errors.Join(err, r.Close())
}

func (f *testFSM) rows() []keyValue {
	f.mu.Lock()
	defer f.mu.Unlock()
	return all(f.state)
}

type testSnap struct{ snap *Snap }

func (s testSnap) Persist(sink raft.SnapshotSink) error {
	if _, err := s.snap.WriteTo(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (s testSnap) Release() { s.snap.Close() }

// testNode is a replica on a State and a Log.
type testNode struct {
	fsm   *testFSM
	log   *Log
	raft  *raft.Raft
	trans *raft.InmemTransport
}

func startNode(t *testing.T, dir, id string) *testNode {
	t.Helper()
	n := &testNode{log: mustLog(t, logConfig(t, filepath.Join(dir, id, "log")))}
	n.fsm = &testFSM{log: n.log, state: mustState(t, stateConfig(t, filepath.Join(dir, id, "state")))}
	snapDir := filepath.Join(dir, id, "snaps")
	must(t, Bind(n.fsm.state, n.log, snapDir))
	n.fsm.replay(t)
	snaps, err := raft.NewFileSnapshotStore(snapDir, 2, io.Discard)
	must(t, err)
	_, n.trans = raft.NewInmemTransport(raft.ServerAddress(id))
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput = raft.ServerID(id), io.Discard
	conf.HeartbeatTimeout, conf.ElectionTimeout = 100*time.Millisecond, 100*time.Millisecond
	conf.LeaderLeaseTimeout, conf.CommitTimeout = 50*time.Millisecond, 5*time.Millisecond
	conf.TrailingLogs, conf.SnapshotThreshold, conf.SnapshotInterval = 10, 1<<30, time.Hour
	conf.NoSnapshotRestoreOnStart = true
	n.raft, err = raft.NewRaft(conf, n.fsm, n.log, n.log, snaps, n.trans)
	must(t, err)
	return n
}

func (n *testNode) stop(t *testing.T) {
	t.Helper()
	must(t, n.raft.Shutdown().Error())
	must(t, n.fsm.state.Close())
	must(t, n.log.Close())
}

// until waits for a condition, at most ten seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited too long: %s", what)
		}
	}
}

func (n *testNode) apply(t *testing.T, from, to int) {
	t.Helper()
	until(t, "a leader", func() bool { return n.raft.State() == raft.Leader })
	var futures []raft.ApplyFuture
	for i := from; i < to; i++ {
		futures = append(futures, n.raft.Apply(fmt.Appendf(nil, "command %04d", i), 5*time.Second))
	}
	for _, f := range futures {
		must(t, f.Error())
	}
}

// checkRows wants every command there exactly once, in order.
func (n *testNode) checkRows(t *testing.T, atLeast int) {
	t.Helper()
	var last uint64
	rows := n.fsm.rows()
	if len(rows) < atLeast {
		t.Fatalf("%d commands, want %d", len(rows), atLeast)
	}
	for i, r := range rows {
		index := binary.BigEndian.Uint64([]byte(r.value)[:8])
		if r.key != fmt.Sprintf("command %04d", i) || len(r.value) != 8 || index <= last {
			t.Fatalf("row %d: %q %x after %d", i, r.key, r.value, last)
		}
		last = index
	}
}

// The real raft on these stores: restarts, snapshots, truncation, and a replica that joins by snapshot.
func TestRaftOnTheStores(t *testing.T) {
	dir := t.TempDir()
	a := startNode(t, dir, "a")
	alone := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}
	must(t, a.raft.BootstrapCluster(alone).Error())
	a.apply(t, 0, 200)
	a.stop(t)

	a = startNode(t, dir, "a")
	a.checkRows(t, 200)
	a.apply(t, 200, 300)
	must(t, a.raft.Snapshot().Error())
	if first, _ := a.log.FirstIndex(); first < 250 {
		t.Fatalf("not truncated: %d", first)
	}
	a.apply(t, 300, 319)
	a.apply(t, 319, 320)            // writes the commit index of those before
	must(t, a.fsm.state.db.Close()) // as a crash: what is in memory only is lost
	must(t, a.raft.Shutdown().Error())
	must(t, a.log.Close())

	a = startNode(t, dir, "a")
	a.checkRows(t, 319) // the last was not known to be committed
	a.apply(t, 320, 330)
	b := startNode(t, dir, "b")
	a.trans.Connect("b", b.trans)
	b.trans.Connect("a", a.trans)
	must(t, a.raft.AddNonvoter("b", "b", 0, 5*time.Second).Error())
	caughtUp := func() bool { return b.raft.AppliedIndex() == a.raft.LastIndex() }
	until(t, "b to catch up", caughtUp)
	a.apply(t, 330, 340)
	until(t, "b to catch up", caughtUp)
	a.checkRows(t, 340)
	b.checkRows(t, 340)
	b.stop(t)
	a.apply(t, 340, 400)
	must(t, a.raft.Snapshot().Error()) // b falls behind what the log still has
	b = startNode(t, dir, "b")
	a.trans.Connect("b", b.trans)
	b.trans.Connect("a", a.trans)
	until(t, "b to catch up again", caughtUp)
	a.apply(t, 400, 410)
	until(t, "b to catch up again", caughtUp)
	must(t, a.fsm.state.Sync())
	must(t, b.fsm.state.Sync())
	rowsA, sumA := a.fsm.state.Rows()
	rowsB, sumB := b.fsm.state.Rows()
	if rowsA != rowsB || sumA != sumB {
		t.Errorf("replicas differ: %d %x, %d %x", rowsA, sumA, rowsB, sumB)
	}
	b.checkRows(t, 410)
	b.stop(t)
	a.stop(t)
}
