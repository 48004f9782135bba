package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// timedStore is raft's log with a clock on its writes. Raft itself would try again after an error: here one
// ends the replica, since nobody knows what is on the disk.
type timedStore struct {
	Store
	fail  func(error)
	wrote func(entries int, took time.Duration) // nil: nobody is told
	born  time.Time
	since atomic.Int64 // nanoseconds after born at which a write began, plus 1; 0: none is under way
	late  late
}

func newTimedStore(store Store, fail func(error), wrote func(int, time.Duration)) *timedStore {
	s := &timedStore{Store: store, fail: fail, wrote: wrote, born: time.Now()}
	s.late.moved = sync.NewCond(&s.late.mu)
	return s
}

// StoreLog implements raft.LogStore.
func (s *timedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *timedStore) StoreLogs(logs []*raft.Log) error {
	if err := s.settle(); err != nil {
		return err
	}
	began := time.Now()
	s.since.Store(int64(began.Sub(s.born)) + 1)
	if s.mayWait(logs) {
		return s.storeLate(logs, began)
	}
	return s.wroteAll(len(logs), began, s.Store.StoreLogs(logs))
}

// wroteAll notes the end of a write.
func (s *timedStore) wroteAll(entries int, began time.Time, err error) error {
	s.since.Store(0)
	if err == nil && s.wrote != nil {
		s.wrote(entries, time.Since(began))
	}
	return s.check("write the log", err)
}

// DeleteRange implements raft.LogStore.
func (s *timedStore) DeleteRange(from, to uint64) error {
	return s.check("shorten the log", s.Store.DeleteRange(from, to))
}

// Set implements raft.StableStore.
func (s *timedStore) Set(key, value []byte) error {
	return s.check("write a vote", s.Store.Set(key, value))
}

// SetUint64 implements raft.StableStore.
func (s *timedStore) SetUint64(key []byte, value uint64) error {
	return s.check("write a term", s.Store.SetUint64(key, value))
}

// IsMonotonic implements raft.MonotonicLogStore as the store below does.
func (s *timedStore) IsMonotonic() bool {
	below, ok := s.Store.(raft.MonotonicLogStore)
	return ok && below.IsMonotonic()
}

func (s *timedStore) check(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		s.fail(err)
	}
	return err
}

// writing returns for how long the write under way has been going on.
func (s *timedStore) writing() time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(s.born) - time.Duration(since-1)
}

// watchedSnaps are raft's snapshots. Raft would go on after an error in writing one: here it ends the
// replica, unless the disk has no room for it, for then there will be another.
type watchedSnaps struct {
	raft.SnapshotStore
	fail func(error)
}

// Create implements raft.SnapshotStore.
func (s watchedSnaps) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration,
	configIndex uint64, t raft.Transport,
) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, c, configIndex, t)
	if s.check("begin", err) != nil {
		return nil, err
	}
	return watchedSink{sink, s}, nil
}

func (s watchedSnaps) check(what string, err error) error {
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		s.fail(fmt.Errorf("%s a snapshot: %w", what, err))
	}
	return err
}

type watchedSink struct {
	raft.SnapshotSink
	snaps watchedSnaps
}

// Write implements raft.SnapshotSink.
func (s watchedSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	return n, s.snaps.check("write", err)
}

// Close implements raft.SnapshotSink.
func (s watchedSink) Close() error { return s.snaps.check("finish", s.SnapshotSink.Close()) }

// raftLogger passes raft's warnings and errors on and leaves out its chatter.
func raftLogger(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(sink{to})
	return l
}

type sink struct{ to *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	at := slog.LevelWarn
	switch {
	case level >= hclog.Error:
		at = slog.LevelError
	case level < hclog.Warn:
		return
	}
	for i, arg := range args {
		if f, ok := arg.(hclog.Format); ok {
			args[i] = fmt.Sprintf(f[0].(string), f[1:]...)
		}
	}
	s.to.Log(context.Background(), at, "raft: "+msg, args...)
}
