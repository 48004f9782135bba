package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/hashicorp/raft"
)

// LogConfig says where a Log lives.
type LogConfig struct {
	Dir           string       // Dir+".restoring", ".replaced" and ".lock" are used, too
	EncryptionKey []byte       // 32 bytes, or nil for a store that is not secret
	Log           *slog.Logger // slog.Default()
	Fatal         func(error)  // called on any storage error; by default logs one line and exits with 3

	segmentBytes int64 // tests only
}

// Log is raft's log and stable store, in segments: files that are only ever written at their end. Every
// call that changes something, but for WriteLogs, has it on disk, synced, when it returns nil. The entries
// are always one unbroken range of indices, whenever the process dies; entries stored by one call of
// StoreLogs come as a whole or from the front on, never with a hole.
//
// About raft 1.8.0: a LogCache would hide the commit index, so pass a Log itself. RestoreCommittedLogs
// forgets the configuration if no snapshot holds it, and blocks for ever on a long log: leave it off, call
// StageCommitIndex from the FSM instead, and apply the entries up to GetCommitIndex before raft starts.
type Log struct {
	dir     string
	log     *slog.Logger
	faults  *faults
	lock    *os.File
	master  []byte
	stable  *slots
	reserve int64 // length of a new segment

	writing sync.Mutex // one change of the entries at a time
	buf     []byte     // of the batch being written
	late    *os.File   // a segment with a batch that is not synced yet; nil: there is none

	mu        sync.RWMutex // guards what follows
	extent                 // what the segments hold
	segments  []*segment   // ascending; the last one is written to
	staged    uint64       // commit index to go to disk with the next entries
	hasStaged bool
}

var (
	_ raft.LogStore               = (*Log)(nil)
	_ raft.StableStore            = (*Log)(nil)
	_ raft.MonotonicLogStore      = (*Log)(nil)
	_ raft.CommitTrackingLogStore = (*Log)(nil)
)

// FirstIndex implements raft.LogStore; 0 means there are no entries.
func (l *Log) FirstIndex() (uint64, error) {
	first, _ := l.bounds()
	return first, nil
}

// LastIndex implements raft.LogStore; 0 means there are no entries.
func (l *Log) LastIndex() (uint64, error) {
	_, last := l.bounds()
	return last, nil
}

func (l *Log) bounds() (first, last uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, l.last
}

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound for an index outside the range; an entry
// inside that is damaged is fatal.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	err := l.get(index, out)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		return l.faults.report(damaged(index, err))
	}
	return err
}

func (l *Log) get(index uint64, out *raft.Log) error {
	plain, err := l.read(index)
	if err != nil {
		return err
	}
	d := decoder{b: plain}
	found := d.uvarint()
	d.uvarint() // the commit index
	if d.bad || found != index {
		return fmt.Errorf("in its place is entry %d", found)
	}
	return decodeEntry(index, d.b, out)
}

// read returns the content of an entry's frame. The segment must not go meanwhile.
func (l *Log) read(index uint64) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if index == 0 || index < l.first || index > l.last {
		return nil, raft.ErrLogNotFound
	}
	s := l.holder(index)
	if s == nil {
		return nil, errors.New("it is missing")
	}
	return s.read(s.places[index-s.base])
}

// holder returns the segment with an entry. It needs mu held.
func (l *Log) holder(index uint64) *segment {
	for i := len(l.segments) - 1; i >= 0; i-- {
		if l.segments[i].holds(index) {
			return l.segments[i]
		}
	}
	return nil
}

// newest returns the segment that is written to, nil if there is none.
func (l *Log) newest() *segment {
	if len(l.segments) == 0 {
		return nil
	}
	return l.segments[len(l.segments)-1]
}

// grow adds entries from index on, which stand at places of s. It needs mu held.
func (l *Log) grow(s *segment, index, commit uint64, places []place) {
	if l.last == 0 {
		l.first = index
	}
	for i, p := range places {
		s.add(index+uint64(i), p)
	}
	l.last = index + uint64(len(places)) - 1
	l.commit = commit
}

// narrows reports whether x is what a deletion can leave of the log.
func (l *Log) narrows(x extent) bool {
	if x.last == 0 {
		return x.first == 0
	}
	return l.last != 0 && l.first <= x.first && x.first <= x.last && x.last <= l.last
}

// narrow makes the range of entries that of x. It needs mu held.
func (l *Log) narrow(x extent) {
	for _, s := range l.segments {
		if x.last < l.last {
			s.cut(x.last)
		}
	}
	l.extent = x
}

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries must follow one another and the last one stored; what is
// too much for one write is written front to back, so a crash leaves a prefix of it. Entries beyond the
// next index come only after raft has restored a snapshot, and was perhaps interrupted before it removed
// the old entries: these are removed first.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.store(entries); err != nil {
		return err
	}
	return l.settle()
}

// WriteLogs is StoreLogs but for the sync of its last write: the entries can be read, and a power cut may
// take the end of them until Sync, or any other change of the log, has returned. So never more than one write
// is without its sync, and what a power cut leaves of it is told from damage as ever.
func (l *Log) WriteLogs(entries []*raft.Log) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.store(entries)
}

// Sync returns when all entries written would outlive a power cut.
func (l *Log) Sync() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.settle()
}

// settle syncs what was written last. It needs writing held.
func (l *Log) settle() error {
	if l.late == nil {
		return nil
	}
	if err := datasync(l.late); err != nil {
		return l.faults.report(fmt.Errorf("log: sync entries: %w", err))
	}
	l.late = nil
	return nil
}

// store writes entries, and needs writing held.
func (l *Log) store(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	if err := l.usable(); err != nil {
		return err
	}
	first, last := l.bounds()
	if err := checkEntries(entries, last); err != nil {
		return err
	}
	if last != 0 && entries[0].Index > last+1 {
		l.log.Info("log: entries before a restored snapshot removed", "first", first, "last", last,
			"next", entries[0].Index)
		if err := l.delete(first, last); err != nil {
			return err
		}
	}
	for len(entries) > 0 {
		n := chunk(entries)
		if err := l.append(entries[:n]); err != nil {
			return l.faults.report(fmt.Errorf("log: store entries from %d: %w", entries[0].Index, err))
		}
		entries = entries[n:]
	}
	l.mu.Lock()
	l.hasStaged = false
	l.mu.Unlock()
	return nil
}

func (l *Log) usable() error {
	if err := l.faults.err(); err != nil {
		return fmt.Errorf("log: not usable since: %w", err)
	}
	return nil
}

// checkEntries finds what must not be stored, before anything is.
func checkEntries(entries []*raft.Log, last uint64) error {
	first := entries[0].Index
	if first <= last { // index 0 too
		return fmt.Errorf("log: store entry %d, the last one is %d: delete from there on first", first, last)
	}
	for i, e := range entries {
		if want := first + uint64(i); e.Index != want {
			return fmt.Errorf("log: store entry %d where %d must come", e.Index, want)
		}
		if n := entryBytes(e); n > MaxEntryBytes {
			return fmt.Errorf("log: entry %d has %d bytes, at most %d are allowed: make the command smaller",
				e.Index, n, MaxEntryBytes)
		}
	}
	return nil
}

func entryBytes(e *raft.Log) int { return len(e.Data) + len(e.Extensions) }

// chunk returns how many of the entries go into one write: at least one.
func chunk(entries []*raft.Log) int {
	size := 0
	for i, e := range entries {
		size += entryBytes(e) + framesRoom
		if i > 0 && size > maxAppendBytes {
			return i
		}
	}
	return len(entries)
}

// DeleteRange implements raft.LogStore, for a range at either end of the log; indices beyond the log are
// left out of account. It is one small write however long the range is, so a crash leaves all of it or
// nothing. The files of a range at the front go once nothing else is in them.
func (l *Log) DeleteRange(low, high uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.delete(low, high)
}

// delete is DeleteRange; it needs writing held.
func (l *Log) delete(low, high uint64) error {
	first, last := l.bounds()
	low, high = max(low, first), min(high, last)
	switch {
	case last == 0 || low > high:
		return nil
	case low > first && high < last:
		return fmt.Errorf("log: delete %d-%d of %d-%d would leave a hole", low, high, first, last)
	}
	l.mu.Lock()
	x := l.extent
	if high < last {
		x.first = high + 1
	} else { // entries stored later must not pass for committed
		x.commit, l.staged = min(x.commit, low-1), min(l.staged, low-1)
		x.last = low - 1
		if low == first {
			x.first, x.last = 0, 0
		}
	}
	l.mu.Unlock()
	err := l.settle()
	if err == nil {
		err = l.appendRange(x)
	}
	if err == nil {
		err = l.dropFront()
	}
	if err != nil {
		return l.faults.report(fmt.Errorf("log: delete entries %d to %d: %w", low, high, err))
	}
	return nil
}

// IsMonotonic implements raft.MonotonicLogStore: after a restore raft removes all old entries.
func (l *Log) IsMonotonic() bool { return true }

// StageCommitIndex implements raft.CommitTrackingLogStore: the next StoreLogs writes it with its entries.
func (l *Log) StageCommitIndex(index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.staged, l.hasStaged = index, true
	return nil
}

// GetCommitIndex implements raft.CommitTrackingLogStore: the commit index on disk, never above the last
// entry; 0 means none.
func (l *Log) GetCommitIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return min(l.commit, l.last), nil
}

// Verify reads everything, so many bytes a second (0: no limit), and returns how many entries there are and
// the first damage found, which is fatal, too, unless LogConfig.Fatal holds off. It may run beside everything
// else.
func (l *Log) Verify(ctx context.Context, rate int) (entries uint64, err error) {
	if err := l.stable.check(); err != nil {
		return 0, l.faults.report(fmt.Errorf("log: %w", err))
	}
	first, last := l.bounds()
	read := newPace(ctx, rate)
	for index := first; index != 0 && index <= last; index++ {
		var e raft.Log
		if err := l.GetLog(index, &e); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
			return entries, err
		}
		if _, err := read.Write(e.Data); err != nil {
			return entries, fmt.Errorf("verify the log at entry %d: %w", index, err)
		}
		entries++
	}
	return entries, nil
}

// Close closes the log. A vote's term whose candidate never came is not stored: that vote was not given.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	var err error
	if l.faults.err() == nil {
		err = l.settle()
	}
	if err := errors.Join(err, l.closeFiles()); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

func (l *Log) closeFiles() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	if l.stable.file != nil {
		errs = append(errs, l.stable.file.Close())
	}
	return errors.Join(append(errs, l.lock.Close())...)
}
