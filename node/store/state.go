package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/dgraph-io/badger/v4"
)

// StateConfig says where a State lives. Zero values take the defaults named beside them.
type StateConfig struct {
	Dir           string       // Badger's; Dir+".restoring", ".replaced" and ".lock" are used, too
	EncryptionKey []byte       // 32 bytes, or nil for a store that is not encrypted
	SnapshotKey   []byte       // 32 bytes, the same on all replicas; nil, for tests: snapshots are clear
	Log           *slog.Logger // slog.Default()
	FlushBytes    int          // changed rows held in memory before they are written: 1 MiB, the most
	FlushRows     int          // the same in rows: 6000, at most 10,000
	Fatal         func(error)  // called on any storage error; by default logs one line and exits with 3
	// Wrote is told of every flush: how many rows, and how long it took. nil: nobody is.
	Wrote func(rows int, took time.Duration)
}

// State is a machine.KV on disk. Rows changed since the last flush are in memory; a flush writes them and
// the index of the last commit in one synced transaction, so the disk always holds the state as it was
// after some commit. Many goroutines may read beside each other; whoever writes (Set, Delete, Commit) must
// keep readers out meanwhile. Flush, Sync and Snapshot may run beside readers and beside the writer.
type State struct {
	cfg    StateConfig
	log    *slog.Logger
	faults *faults
	db     *badger.DB
	sums   tableSums // of the tables listed as whole; mu guards it

	// layers holds the changed rows. A flush does not touch a layer but puts others in its place, so a reader
	// that began with the old ones reads on undisturbed: their rows are by then also in Badger.
	layers  atomic.Pointer[layers]
	cache   *rowCache // rows as they are on disk
	reading sync.RWMutex
	disk    *badger.Txn // sees what is on disk; reading guards it
	applied atomic.Uint64
	flushed atomic.Uint64

	mu         sync.Mutex // one at a time of: a write, the ends of a flush, a snapshot's beginning
	idle       *sync.Cond // on mu: nothing is being written
	open       bool       // rows were set that no commit has claimed yet
	dirtyBytes int        // of layers.changed
	taken      uint64     // the commit up to which layers.writing goes
	totals     totals
	snaps      int
}

var _ machine.KV = (*State)(nil)

// totals are the number of rows and the sum of their hashes, as flushed. They find a row that Badger has
// lost, or brought back.
type totals struct{ rows, sum uint64 }

func (t *totals) add(key, value []byte) { t.rows++; t.sum += rowHash(key, value) }
func (t *totals) sub(key, value []byte) { t.rows--; t.sum -= rowHash(key, value) }

func rowHash(key, value []byte) uint64 {
	buf := make([]byte, 0, 256)
	buf = binary.AppendUvarint(buf, uint64(len(key)))
	buf = append(append(buf, key...), value...)
	hash := sha256.Sum256(buf)
	return binary.BigEndian.Uint64(hash[:])
}

const (
	rowSpace    = 'r' // first byte of a row's key in Badger
	metaSpace   = 'm'
	metaVersion = 2       // 1 knows no strips
	metaBytes   = 1 + 3*8 // version, applied index, rows, sum
)

var appliedKey = []byte{metaSpace, 'a'}

// OpenState opens the state in cfg.Dir, making it if absent, and finishes or discards what an interrupted
// Restore has left. The error says what to do.
func OpenState(cfg StateConfig) (*State, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	guard, err := lockBeside(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	defer guard.Close() //nolint:errcheck // opened for its lock only
	if err := finishRestore(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return openState(cfg)
}

func (cfg StateConfig) withDefaults() (StateConfig, error) {
	if cfg.Dir == "" {
		return cfg, errors.New("open state: no directory given")
	}
	if n := len(cfg.SnapshotKey); n != 0 && n != KeyBytes {
		return cfg, fmt.Errorf("open state %s: the snapshot key has %d bytes, must have %d", cfg.Dir, n,
			KeyBytes)
	}
	if cfg.FlushBytes == 0 {
		cfg.FlushBytes = defaultFlushBytes
	}
	if cfg.FlushRows == 0 {
		cfg.FlushRows = defaultFlushRows
	}
	badBytes := cfg.FlushBytes < 0 || cfg.FlushBytes > maxFlushBytes
	if badBytes || cfg.FlushRows < 0 || cfg.FlushRows > maxFlushRows {
		return cfg, fmt.Errorf("open state: flush at %d bytes or %d rows: must be at most %d and %d",
			cfg.FlushBytes, cfg.FlushRows, maxFlushBytes, maxFlushRows)
	}
	cfg.Log = orDefault(cfg.Log)
	return cfg, nil
}

// openState opens the directory as it is.
func openState(cfg StateConfig) (*State, error) {
	sums, known, err := compareTables(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", cfg.Dir, err)
	}
	faults := newFaults(cfg.Fatal, cfg.Log)
	opt := stateOptions(cfg.Dir, cfg.EncryptionKey, cfg.Log).WithLogger(badgerLog{cfg.Log, faults})
	db, err := open(opt, known)
	if err != nil {
		return nil, err
	}
	if err := sums.write(cfg.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open state: %w", err), db.Close())
	}
	s := &State{
		cfg: cfg, log: cfg.Log, faults: faults, db: db, sums: sums, cache: newRowCache(),
	}
	s.idle = sync.NewCond(&s.mu)
	s.layers.Store(&layers{changed: newOverlay()})
	s.lookAgain()
	if err := s.readMeta(); err != nil {
		s.disk.Discard()
		return nil, errors.Join(fmt.Errorf("open state %s: %w", cfg.Dir, err), db.Close())
	}
	return s, nil
}

func (s *State) readMeta() error {
	return s.db.View(func(txn *badger.Txn) error {
		raw, ok, err := read(txn, appliedKey)
		if err != nil || !ok {
			return err
		}
		if len(raw) != metaBytes || raw[0] == 0 || raw[0] > metaVersion {
			return fmt.Errorf("written in another format than %d (%x): use a newer carecircle",
				metaVersion, raw)
		}
		s.applied.Store(binary.BigEndian.Uint64(raw[1:]))
		s.flushed.Store(s.applied.Load())
		s.totals.rows = binary.BigEndian.Uint64(raw[9:])
		s.totals.sum = binary.BigEndian.Uint64(raw[17:])
		return nil
	})
}

func encodeMeta(applied uint64, t totals) []byte {
	raw := append(make([]byte, 0, metaBytes), metaVersion)
	raw = binary.BigEndian.AppendUint64(raw, applied)
	raw = binary.BigEndian.AppendUint64(raw, t.rows)
	return binary.BigEndian.AppendUint64(raw, t.sum)
}

// read returns a copy of the value under a Badger key.
func read(txn *badger.Txn, key []byte) (value []byte, ok bool, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value, err = item.ValueCopy(nil)
	return value, err == nil, err
}

func rowKey(key []byte) []byte {
	return append(append(make([]byte, 0, len(key)+1), rowSpace), key...)
}

// Get implements machine.Reader.
func (s *State) Get(key []byte) ([]byte, bool) {
	if r := s.layers.Load().get(key); r != nil {
		return r.value, !r.gone
	}
	// A key that is in no layer stays so until this returns: whoever writes keeps readers out.
	if value, ok, known := s.cache.get(key); known {
		return value, ok
	}
	value, ok, err := s.onDisk(key)
	if err != nil {
		_ = s.faults.report(fmt.Errorf("state: read a row: %w", err))
		return nil, false
	}
	s.cache.put(key, value, ok)
	return value, ok
}

// onDisk reads a row from disk. A read transaction is dear to begin, so all reads have one in common: that of
// the last flush.
func (s *State) onDisk(key []byte) (value []byte, ok bool, err error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	return readRow(s.disk, key)
}

// lookAgain has reads see what is on disk now; reads under way are waited for.
func (s *State) lookAgain() {
	now := s.db.NewTransaction(false)
	s.reading.Lock()
	old := s.disk
	s.disk = now
	s.reading.Unlock()
	if old != nil {
		old.Discard()
	}
}

// Set implements machine.KV. A key is at most MaxKeyBytes long.
func (s *State) Set(key, value []byte) { s.put(dirtyRow{key: key, value: value}) }

// Add implements machine.Adder: it spares looking for an old row that is not there.
func (s *State) Add(key, value []byte) { s.put(dirtyRow{key: key, value: value, fresh: true}) }

// Delete implements machine.KV.
func (s *State) Delete(key []byte) { s.put(dirtyRow{key: key, gone: true}) }

func (s *State) put(r dirtyRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.key) > MaxKeyBytes {
		_ = s.faults.report(fmt.Errorf("state: a key of %d bytes, the most is %d: the rule that made it is"+
			" at fault", len(r.key), MaxKeyBytes))
		return
	}
	s.open = true
	s.dirtyBytes += s.layers.Load().changed.set(r)
}

// Applied returns the index of the last Commit; after opening, that of the state on disk. 0: none.
func (s *State) Applied() uint64 { return s.applied.Load() }

// Flushed returns the index of the commit that the disk holds.
func (s *State) Flushed() uint64 { return s.flushed.Load() }

// Sum flushes, and returns Rows as of the last Commit. It fails in the middle of one.
func (s *State) Sum() (rows, sum uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return 0, 0, errors.New("state: sum up in the middle of a commit: call Commit first")
	}
	if err := s.flush(); err != nil {
		return 0, 0, err
	}
	return s.totals.rows, s.totals.sum, nil
}

// Rows returns how many rows the state on disk has, and a sum over their hashes: equal on every replica
// whose Flushed is equal.
func (s *State) Rows() (rows, sum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals.rows, s.totals.sum
}
