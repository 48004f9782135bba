package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/dgraph-io/badger/v4"
	"github.com/tidwall/btree"
)

// StateConfig says where a State lives. Zero values take the defaults named beside them.
type StateConfig struct {
	Dir           string       // Badger's; Dir+".restoring", ".replaced" and ".lock" are used, too
	EncryptionKey []byte       // 32 bytes, or nil for a store that is not encrypted
	SnapshotKey   []byte       // 32 bytes, the same on all replicas; nil, for tests: snapshots are clear
	Log           *slog.Logger // slog.Default()
	FlushBytes    int          // changed rows held in memory before they are written: 512 KiB, at most 1 MiB
	FlushRows     int          // the same in rows: 2000, at most 10,000
	Fatal         func(error)  // called on any storage error; by default logs one line and exits with 3
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

	// overlay holds the changed rows. A flush does not touch it but puts an empty one in its place, so a
	// reader that began with the old one reads on undisturbed: its rows are by then also in Badger.
	overlay atomic.Pointer[btree.BTreeG[dirtyRow]]
	applied atomic.Uint64
	flushed atomic.Uint64

	mu         sync.Mutex // one at a time of: a write, a flush, a snapshot's beginning
	open       bool       // rows were set that no commit has claimed yet
	dirtyBytes int
	totals     totals
	snaps      int
}

var _ machine.KV = (*State)(nil)

// dirtyRow is a changed row not yet flushed; gone means it was deleted.
type dirtyRow struct {
	key, value []byte
	gone       bool
}

func (r dirtyRow) size() int { return len(r.key) + len(r.value) + RowOverheadBytes }

func newOverlay() *btree.BTreeG[dirtyRow] {
	less := func(a, b dirtyRow) bool { return bytes.Compare(a.key, b.key) < 0 }
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

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
	metaVersion = 1
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
	db, err := open(stateOptions(cfg.Dir, cfg.EncryptionKey, cfg.Log), known)
	if err != nil {
		return nil, err
	}
	if err := sums.write(cfg.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open state: %w", err), db.Close())
	}
	s := &State{sums: sums, cfg: cfg, log: cfg.Log, faults: newFaults(cfg.Fatal, cfg.Log), db: db}
	s.overlay.Store(newOverlay())
	if err := s.readMeta(); err != nil {
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
		if len(raw) != metaBytes || raw[0] != metaVersion {
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
	if r, ok := s.overlay.Load().Get(dirtyRow{key: key}); ok {
		return r.value, !r.gone
	}
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	value, ok, err := read(txn, rowKey(key))
	if err != nil {
		_ = s.faults.report(fmt.Errorf("state: read a row: %w", err))
	}
	return value, ok
}

// Set implements machine.KV. A key is at most MaxKeyBytes long.
func (s *State) Set(key, value []byte) { s.put(dirtyRow{key: key, value: value}) }

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
	s.dirtyBytes += r.size()
	if old, had := s.overlay.Load().Set(r); had {
		s.dirtyBytes -= old.size()
	}
}

// Commit marks the end of an applied raft entry, or batch: every write since the last Commit belongs to
// index. It writes to disk when enough has gathered, and never splits a commit over two transactions:
// a commit of more than MaxCommitBytes or MaxCommitRows may not fit and is then fatal.
func (s *State) Commit(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index < s.applied.Load() {
		_ = s.faults.report(fmt.Errorf("state: commit %d after commit %d: the log was applied out of order",
			index, s.applied.Load()))
		return
	}
	s.open = false
	s.applied.Store(index)
	if s.dirtyBytes >= s.cfg.FlushBytes || s.overlay.Load().Len() >= s.cfg.FlushRows {
		_ = s.flush() // reported there
	}
}

// Applied returns the index of the last Commit; after opening, that of the state on disk. 0: none.
func (s *State) Applied() uint64 { return s.applied.Load() }

// Flushed returns the index of the commit that the disk holds.
func (s *State) Flushed() uint64 { return s.flushed.Load() }

// Rows returns how many rows the state on disk has, and a sum over their hashes: equal on every replica
// whose Flushed is equal.
func (s *State) Rows() (rows, sum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals.rows, s.totals.sum
}

// Flush writes the changed rows and the applied index to disk in one synced transaction, and lists the
// tables that are new since the last. In the middle of a commit it does nothing: the next one will do it.
func (s *State) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	return s.noteTables(s.tables())
}

// Sync is Flush, and an error in the middle of a commit; when it returns nil, Flushed equals Applied.
func (s *State) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sync()
}

func (s *State) sync() error {
	if s.open {
		return errors.New("state: sync in the middle of a commit: call Commit first")
	}
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.db.Sync(); err != nil {
		return s.faults.report(fmt.Errorf("state: sync: %w", err))
	}
	return nil
}

// flush needs mu held and no commit open.
func (s *State) flush() error {
	if err := s.faults.err(); err != nil {
		return fmt.Errorf("state: not usable since: %w", err)
	}
	applied, overlay := s.applied.Load(), s.overlay.Load()
	if overlay.Len() == 0 && applied == s.flushed.Load() {
		return nil
	}
	totals, err := s.write(overlay, applied)
	if errors.Is(err, badger.ErrTxnTooBig) {
		err = fmt.Errorf("a commit changed too much (%d rows, %d bytes in all), the most is %d rows and"+
			" %d bytes: %w", overlay.Len(), s.dirtyBytes, MaxCommitRows, MaxCommitBytes, err)
	}
	if err != nil {
		return s.faults.report(fmt.Errorf("state: write changes up to index %d: %w", applied, err))
	}
	s.totals = totals
	s.flushed.Store(applied)
	s.dirtyBytes = 0
	s.overlay.Store(newOverlay())
	return nil
}

// write puts the overlay and the applied index into one transaction.
func (s *State) write(overlay *btree.BTreeG[dirtyRow], applied uint64) (totals, error) {
	t := s.totals
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	var err error
	overlay.Scan(func(r dirtyRow) bool {
		key := rowKey(r.key)
		var old []byte
		var had bool
		if old, had, err = read(txn, key); err != nil {
			return false
		}
		if had {
			t.sub(r.key, old)
		}
		switch {
		case !r.gone:
			t.add(r.key, r.value)
			err = txn.Set(key, r.value)
		case had:
			err = txn.Delete(key)
		}
		return err == nil
	})
	if err == nil {
		err = txn.Set(appliedKey, encodeMeta(applied, t))
	}
	if err == nil {
		err = txn.Commit()
	}
	return t, err
}

// Close flushes and closes. A Snap still open is an error, and the State stays open.
func (s *State) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snaps > 0 {
		return fmt.Errorf("close state: %d snapshots are still open: close them first", s.snaps)
	}
	var err error
	if !s.open && s.faults.err() == nil {
		err = s.flush()
	}
	if closeErr := s.db.Close(); closeErr != nil {
		return errors.Join(err, fmt.Errorf("close state: %w", closeErr))
	}
	names, listErr := listTables(s.cfg.Dir)
	return errors.Join(err, listErr, s.noteTables(names))
}
