package replica

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A small feature: a counter that goes up to a limit, and the list of who raised it.
type (
	add struct {
		N    uint64 `cbor:"1,keyasint"`
		Text string `cbor:"2,keyasint,omitempty"`
	}
	total struct {
		Sum, Count uint64
	}
	added struct {
		ID  machine.ID `cbor:"1,keyasint"`
		N   uint64     `cbor:"2,keyasint"`
		Now int64      `cbor:"3,keyasint"`
	}
)

const tooMuch = 1_000_000

var (
	sums = machine.NewTable[total]("test", "sum")
	list = machine.NewTable[added]("test", "list")
	anna = machine.Caller{Actor: "anna"}
)

func applyAdd(tx *machine.Tx, b add) (total, error) {
	sum, _ := sums.Get(tx, nil)
	sum.Sum += b.N
	sum.Count++
	sums.Put(tx, nil, sum)
	list.Put(tx, machine.Key{}.Num(sum.Count), added{ID: tx.ID(), N: b.N, Now: tx.Now()})
	tx.Emit(machine.Event{Kind: "test.added", Minutes: int64(b.N)})
	if b.N >= tooMuch { // after the writes, so that these must be undone
		return total{}, machine.Refuse("too_much", "%d is too much.", b.N)
	}
	return sum, nil
}

func newMachine(t testing.TB) *machine.Machine { return machineThat(t, applyAdd) }

func machineThat(t testing.TB, add func(*machine.Tx, add) (total, error)) *machine.Machine {
	m, err := machine.New(func(machine.Read) error { return nil }, machine.Feature{
		Name: "test",
		Rules: []machine.Rule{
			machine.Do("test.add", "Raise the counter.", machine.Anyone, add),
		},
		Views: []machine.View{
			machine.Ask("test.total", "The counter.", machine.Anyone,
				func(rd machine.Read, _ machine.None) (total, error) {
					sum, _ := sums.Get(rd, nil)
					return sum, nil
				}),
		},
	})
	must(t, err)
	return m
}

func newID() machine.ID { return machine.ID(uuid.Must(uuid.NewV7())) }

func command(t testing.TB, n uint64) machine.Command {
	c, err := machine.NewCommand(newID(), anna, 0, "test.add", add{N: n})
	must(t, err)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustDo does a command that is to be done, not refused.
func mustDo(t testing.TB, r *Replica, n uint64) machine.Outcome {
	t.Helper()
	out, err := r.Do(t.Context(), command(t, n))
	must(t, err)
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	return out
}

// added lists what is in the list table.
func listed(t testing.TB, r *Replica) []added {
	t.Helper()
	var out []added
	must(t, r.Read(func(state machine.Reader) error {
		for _, a := range list.All(state, nil, nil) {
			out = append(out, a)
		}
		return nil
	}))
	return out
}

type standing struct {
	meta  machine.Meta
	state machine.Hash
}

func stands(t testing.TB, r *Replica) standing {
	t.Helper()
	var s standing
	must(t, r.Read(func(state machine.Reader) error {
		s = standing{machine.ReadMeta(state), machine.StateHash(state)}
		return nil
	}))
	return s
}

// memState is a State in memory. It can lose what was committed since the last Sync, as a crash would.
type memState struct {
	*machine.Mem
	applied  uint64
	commits  int
	restores int
	hang     chan struct{} // if set, the next commit waits until it is closed

	durable        *machine.Mem
	durableApplied uint64
	open           int // snapshots not yet closed
	mu             sync.Mutex
}

func newMemState() *memState { return &memState{Mem: machine.NewMem(), durable: machine.NewMem()} }

func (s *memState) Applied() uint64 { return s.applied }

func (s *memState) Commit(index uint64) {
	if index <= s.applied {
		panic(fmt.Sprintf("commit %d after %d", index, s.applied))
	}
	if s.hang != nil {
		<-s.hang
	}
	s.applied = index
	s.commits++
}

func (s *memState) Sync() error {
	s.durable, s.durableApplied = copyOf(s.Mem), s.applied
	return nil
}

func (s *memState) Sum() (rows, sum uint64, err error) {
	s.Ascend(nil, nil, func(key, value []byte) bool {
		h := sha256.Sum256(append(binary.AppendUvarint(nil, uint64(len(key))), slices.Concat(key, value)...))
		rows, sum = rows+1, sum+binary.BigEndian.Uint64(h[:])
		return true
	})
	return rows, sum, nil
}

func copyOf(m *machine.Mem) *machine.Mem {
	to := machine.NewMem()
	machine.Copy(to, m)
	return to
}

// crash goes back to what was durable.
func (s *memState) crash() { s.Mem, s.applied = copyOf(s.durable), s.durableApplied }

func (s *memState) Snapshot() (Snap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &memSnap{of: s, mem: copyOf(s.Mem), applied: s.applied}, nil
}

type memSnap struct {
	of      *memState
	mem     *machine.Mem
	applied uint64
}

func (n *memSnap) WriteTo(w io.Writer) (int64, error) {
	out := binary.AppendUvarint(nil, n.applied)
	n.mem.Ascend(nil, nil, func(key, value []byte) bool {
		for _, part := range [][]byte{key, value} {
			out = append(binary.AppendUvarint(out, uint64(len(part))), part...)
		}
		return true
	})
	return bytes.NewReader(out).WriteTo(w)
}

func (n *memSnap) WriteClear(w io.Writer) (int64, error) { return n.WriteTo(w) }

func (n *memSnap) Close() {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.of.open--
}

func (s *memState) restore(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open > 0 {
		return errors.New("a snapshot is still open")
	}
	in := bytes.NewBuffer(raw)
	part := func() []byte {
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return nil
		}
		return slices.Clone(in.Next(int(n)))
	}
	s.applied, err = binary.ReadUvarint(in)
	if err != nil {
		return err
	}
	s.Mem = machine.NewMem()
	for in.Len() > 0 {
		key := part()
		s.Set(key, part())
	}
	s.restores++
	return s.Sync()
}

// countingLog counts what is written with one sync, and can lose what was not synced.
type countingLog struct {
	Store
	mu              sync.Mutex
	writes, entries int
	err             error
	hang            chan struct{} // syncs wait until it is closed
	takes           time.Duration // for a sync
	late            []*raft.Log   // written and not synced
	off             bool          // the power is cut: nothing reaches the disk any more
}

var errPowerCut = errors.New("the power is cut")

func (l *countingLog) StoreLogs(logs []*raft.Log) error {
	if err := l.WriteLogs(logs); err != nil {
		return err
	}
	return l.Sync()
}

func (l *countingLog) WriteLogs(logs []*raft.Log) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	l.entries += len(logs)
	switch {
	case l.off:
		return errPowerCut
	case l.err != nil:
		return l.err
	case len(l.late) > 0:
		return fmt.Errorf("entry %d is written before entry %d is synced", logs[0].Index, l.late[0].Index)
	}
	l.late = logs
	return l.Store.StoreLogs(logs)
}

func (l *countingLog) Sync() error {
	l.mu.Lock()
	hang, takes := l.hang, l.takes
	l.mu.Unlock()
	if takes > 0 {
		<-time.After(takes)
	}
	if hang != nil {
		<-hang
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off {
		return errPowerCut
	}
	l.late = nil
	return l.err
}

func (l *countingLog) DeleteRange(low, high uint64) error {
	if l.isOff() {
		return errPowerCut
	}
	return l.Store.DeleteRange(low, high)
}

func (l *countingLog) Set(key, value []byte) error {
	if l.isOff() {
		return errPowerCut
	}
	return l.Store.Set(key, value)
}

func (l *countingLog) SetUint64(key []byte, value uint64) error {
	if l.isOff() {
		return errPowerCut
	}
	return l.Store.SetUint64(key, value)
}

func (l *countingLog) isOff() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.off
}

// cut cuts the power.
func (l *countingLog) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = true
}

// mend has the power back. Of what was not synced only the first entries are there, so many or fewer.
func (l *countingLog) mend(t testing.TB, left int) (lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = false
	if left < len(l.late) {
		lost = len(l.late) - left
		must(t, l.Store.DeleteRange(l.late[left].Index, l.late[len(l.late)-1].Index))
	}
	l.late = nil
	return lost
}

func (l *countingLog) set(err error, hang chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.hang = err, hang
}

// node is a replica in memory with what outlives it.
type node struct {
	id    string
	life  uint32
	rules func(testing.TB) *machine.Machine // nil: newMachine
	log   *countingLog
	snaps *raft.InmemSnapshotStore
	state *memState
	trans *raft.InmemTransport
	r     *Replica
	fatal chan error
	tune  func(*raft.Config)
	now   func() time.Time
}

func newNode(id string) *node {
	return &node{
		id: id, log: &countingLog{Store: raft.NewInmemStore()}, snaps: raft.NewInmemSnapshotStore(),
		state: newMemState(), fatal: make(chan error, 16),
	}
}

func (n *node) config(t testing.TB) Config {
	_, n.trans = raft.NewInmemTransport(address(n.id, n.life))
	rules := n.rules
	if rules == nil {
		rules = newMachine
	}
	return Config{
		ID: n.id, Machine: rules(t), State: n.state, Log: n.log, Transport: n.trans, Snapshots: n.snaps,
		Restore: n.state.restore, Fatal: func(err error) { n.fatal <- err }, tune: n.tune, Now: n.now,
	}
}

// start opens a replica that is its circle's only one and waits until it is ready.
func (n *node) start(t testing.TB) *Replica {
	t.Helper()
	r, err := Open(n.config(t))
	must(t, err)
	n.r = r
	must(t, r.Bootstrap())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, r.Ready(ctx))
	return r
}

// died waits until the replica has called Fatal, and returns the error it gave.
func (n *node) died(t testing.TB) error {
	t.Helper()
	select {
	case err := <-n.fatal:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the replica goes on")
		return nil
	}
}

func closeAfter(t testing.TB, r *Replica) { t.Cleanup(func() { must(t, r.Close()) }) }
