package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

// LogConfig says where a Log lives.
type LogConfig struct {
	Dir           string
	EncryptionKey []byte       // 32 bytes, or nil for a store that is not encrypted
	Log           *slog.Logger // slog.Default()
	Fatal         func(error)  // called on any storage error; by default logs one line and exits with 3
}

// Log is raft's log and stable store. Every call that changes something has it on disk, synced, when it
// returns nil. The entries are always one unbroken range of indices, whenever the process dies.
//
// About raft 1.8.0: a LogCache would hide the commit index, so pass a Log itself. RestoreCommittedLogs
// forgets the configuration if no snapshot holds it, and blocks for ever on a long log: leave it off, call
// StageCommitIndex from the FSM instead, and apply the entries up to GetCommitIndex before raft starts.
type Log struct {
	dir    string
	log    *slog.Logger
	faults *faults
	db     *badger.DB
	seal   sealer

	writing sync.Mutex // one change of the entries at a time

	mu          sync.RWMutex // guards what follows
	first, last uint64       // of the entries; 0 and 0: none
	commit      uint64       // as on disk
	staged      uint64       // to go to disk with the next entries
	hasStaged   bool
	stable      map[string][]byte // all stable values, as reads see them
	heldTerm    []byte            // a vote's term that waits for its candidate, see Set
}

var (
	_ raft.LogStore               = (*Log)(nil)
	_ raft.StableStore            = (*Log)(nil)
	_ raft.MonotonicLogStore      = (*Log)(nil)
	_ raft.CommitTrackingLogStore = (*Log)(nil)
)

const (
	entrySpace  = 'e' // first byte of a Badger key: a log entry, index big-endian
	stableSpace = 's' // a stable value, under raft's key
)

var (
	commitKey = []byte{metaSpace, 'c'}
	sealKey   = []byte{metaSpace, 'k'}
)

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{entrySpace}, index)
}

// OpenLog opens the log in cfg.Dir, making it if absent. The error says what to do.
func OpenLog(cfg LogConfig) (*Log, error) {
	if cfg.Dir == "" {
		return nil, errors.New("open log: no directory given")
	}
	cfg.Log = orDefault(cfg.Log)
	db, err := open(logOptions(cfg.Dir, cfg.EncryptionKey, cfg.Log))
	if err != nil {
		return nil, err
	}
	l := &Log{dir: cfg.Dir, log: cfg.Log, db: db, stable: map[string][]byte{}}
	l.faults = newFaults(cfg.Fatal, cfg.Log)
	if err = l.loadSealKey(); err == nil {
		err = db.View(l.load)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", cfg.Dir, err), db.Close())
	}
	return l, nil
}

// loadSealKey reads the key of the entries' checksums; a new store draws one. It is kept in the store, so
// that whoever cannot decrypt the store cannot forge an entry either.
func (l *Log) loadSealKey() error {
	err := l.db.View(func(txn *badger.Txn) error {
		key, _, err := read(txn, sealKey)
		l.seal = key
		return err
	})
	if err != nil || len(l.seal) == KeyBytes {
		return err
	}
	if l.db.MaxVersion() > 0 { // Badger reads past damage: a vote may be lost with the key
		return errors.New("damaged, its key is missing: restore this node from a replica or a backup")
	}
	l.seal = make([]byte, KeyBytes)
	_, _ = rand.Read(l.seal) // cannot fail
	return l.db.Update(func(txn *badger.Txn) error { return txn.Set(sealKey, l.seal) })
}

// load reads the stable values, the commit index and the range of entries.
func (l *Log) load(txn *badger.Txn) error {
	raw, ok, err := read(txn, commitKey)
	if err == nil && ok {
		raw, err = l.seal.open(commitKey, raw)
	}
	if err == nil && ok {
		l.commit, err = decodeUint64(raw)
	}
	if err != nil {
		return fmt.Errorf("read the commit index: %w", err)
	}
	if err := l.loadStable(txn); err != nil {
		return err
	}
	return l.loadRange(txn)
}

func (l *Log) loadStable(txn *badger.Txn) error {
	opt := badger.DefaultIteratorOptions
	opt.Prefix = []byte{stableSpace}
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		raw, err := it.Item().ValueCopy(nil)
		if err == nil {
			raw, err = l.seal.open(it.Item().Key(), raw)
		}
		if err != nil {
			return fmt.Errorf("read raft's %q: %w", it.Item().Key()[1:], err)
		}
		l.stable[string(it.Item().Key()[1:])] = raw
	}
	return nil
}

// loadRange finds the first and the last entry, and that none is missing between them.
func (l *Log) loadRange(txn *badger.Txn) error {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = []byte{entrySpace}
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		index, err := decodeUint64(it.Item().Key()[1:])
		if err != nil {
			return fmt.Errorf("read the log's range: %w", err)
		}
		if l.first == 0 {
			l.first = index
		} else if index != l.last+1 {
			return damaged(l.last+1, errors.New("it is missing"))
		}
		l.last = index
	}
	return nil
}

// damaged is the error for an entry that is not as it was stored.
func damaged(index uint64, cause error) error {
	return fmt.Errorf("log entry %d is damaged: %w: run carecircle verify, then restore this node from a"+
		" replica or a backup", index, cause)
}

// FirstIndex implements raft.LogStore; 0 means there are no entries.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, nil
}

// LastIndex implements raft.LogStore; 0 means there are no entries.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last, nil
}

func (l *Log) holds(index uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return index != 0 && l.first <= index && index <= l.last
}

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound for an index outside the range; an entry
// inside that is damaged or missing is fatal.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	if !l.holds(index) {
		return raft.ErrLogNotFound
	}
	var raw []byte
	var ok bool
	err := l.db.View(func(txn *badger.Txn) (err error) {
		raw, ok, err = read(txn, entryKey(index))
		return err
	})
	switch {
	case err != nil:
		return l.faults.report(damaged(index, err))
	case !ok && !l.holds(index): // truncated meanwhile
		return raft.ErrLogNotFound
	case !ok:
		return l.faults.report(damaged(index, errors.New("it is missing")))
	}
	if raw, err = l.seal.open(entryKey(index), raw); err == nil {
		err = decodeEntry(index, raw, out)
	}
	if err != nil {
		return l.faults.report(damaged(index, err))
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries must follow one another and the last one stored; what
// takes more than one transaction is written front to back, so a crash leaves a prefix of it. Entries
// beyond the next index come only after raft has restored a snapshot, and was perhaps interrupted before
// it removed the old entries: these are removed first.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
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
		for more := true; more; {
			var err error
			if more, err = l.deleteSome(first, last); err != nil {
				return err
			}
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

func (l *Log) bounds() (first, last uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, l.last
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

// chunk returns how many of the entries go into one transaction: at least one.
func chunk(entries []*raft.Log) int {
	size := 0
	for i, e := range entries {
		size += entryBytes(e) + entryOverhead
		if i > 0 && (size > maxAppendBytes || i >= maxAppendEntries) {
			return i
		}
	}
	return len(entries)
}

// append writes entries, and with them the staged commit index as far as they reach.
func (l *Log) append(entries []*raft.Log) error {
	firstNew, lastNew := entries[0].Index, entries[len(entries)-1].Index
	l.mu.RLock()
	commit, write := min(l.staged, lastNew), l.hasStaged
	l.mu.RUnlock()
	err := l.db.Update(func(txn *badger.Txn) error {
		for _, e := range entries {
			key := entryKey(e.Index)
			if err := txn.Set(key, l.seal.close(key, encodeEntry(e))); err != nil {
				return err
			}
		}
		if !write {
			return nil
		}
		return txn.Set(commitKey, l.seal.close(commitKey, encodeUint64(commit)))
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if write {
		l.commit = commit
	}
	if l.first == 0 {
		l.first = firstNew
	}
	l.last = lastNew
	return nil
}

// DeleteRange implements raft.LogStore, for a range at either end of the log; indices beyond the log are
// left out of account. It removes the front from the lowest index upwards, and a range that takes in the
// last entry from there downwards: so a crash leaves one unbroken range, and one that goes with the
// snapshot for which raft removes all entries.
func (l *Log) DeleteRange(low, high uint64) error {
	for more := true; more; {
		var err error
		l.writing.Lock() // for one transaction at a time: raft appends meanwhile
		more, err = l.deleteSome(low, high)
		l.writing.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteSome deletes part of the range and reports whether there is more to do. It needs writing held.
func (l *Log) deleteSome(low, high uint64) (more bool, err error) {
	if err := l.usable(); err != nil {
		return false, err
	}
	first, last := l.bounds()
	low, high = max(low, first), min(high, last)
	switch {
	case last == 0 || low > high:
		return false, nil
	case low > first && high < last:
		return false, fmt.Errorf("log: delete %d-%d of %d-%d would leave a hole", low, high, first, last)
	}
	front := high < last
	n := min(high-low+1, maxDeleteEntries)
	more = n < high-low+1
	if front {
		high = low + n - 1
	} else {
		low = high - n + 1
	}
	commit := l.narrow(front, low, high)
	if err := l.deleteEntries(low, high, commit); err != nil {
		return false, l.faults.report(fmt.Errorf("log: delete entries %d to %d: %w", low, high, err))
	}
	return more, nil
}

// narrow takes low to high out of the range that readers see, and returns the commit index to be stored:
// never above the last entry, lest entries stored later pass for committed.
func (l *Log) narrow(front bool, low, high uint64) (commit uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case front:
		l.first = high + 1
		return l.commit
	case low == l.first:
		l.first, l.last = 0, 0
	default:
		l.last = low - 1
	}
	l.staged = min(l.staged, low-1)
	l.commit = min(l.commit, low-1)
	return l.commit
}

func (l *Log) deleteEntries(low, high, commit uint64) error {
	return l.db.Update(func(txn *badger.Txn) error {
		for index := low; index <= high; index++ {
			if err := txn.Delete(entryKey(index)); err != nil {
				return err
			}
		}
		return txn.Set(commitKey, l.seal.close(commitKey, encodeUint64(commit)))
	})
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

// Verify reads everything and returns how many entries there are and the first damage found, which is
// fatal, too, unless LogConfig.Fatal holds off.
func (l *Log) Verify() (entries uint64, err error) {
	if err := checkTables(l.db); err != nil {
		return 0, l.faults.report(fmt.Errorf("log: %w", openError(l.dir, err)))
	}
	first, last := l.bounds()
	for index := first; index != 0 && index <= last; index++ {
		var e raft.Log
		if err := l.GetLog(index, &e); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
			return entries, err
		}
		entries++
	}
	return entries, nil
}

// Close closes the log. A vote's term whose candidate never came is not stored: that vote was not given.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
