package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Commit marks the end of an applied raft entry, or batch: every write since the last Commit belongs to
// index. When enough has gathered it is written to disk in the background; Commit waits only where twice as
// much gathers meanwhile. A commit is never split over two transactions: one of more than MaxCommitBytes or
// MaxCommitRows may not fit and is then fatal.
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
	for s.isWriting() && s.gathered(maxFlushBytes, maxFlushRows) && s.faults.err() == nil {
		s.idle.Wait()
	}
	if !s.isWriting() && s.gathered(s.cfg.FlushBytes, s.cfg.FlushRows) && s.faults.err() == nil {
		s.begin()
		go s.writeBehind()
	}
}

// gathered tells whether so much has changed since the last flush began. It needs mu held.
func (s *State) gathered(bytes, rows int) bool {
	return s.dirtyBytes >= bytes || s.layers.Load().changed.len() >= rows
}

// isWriting needs mu held.
func (s *State) isWriting() bool { return s.layers.Load().writing != nil }

// begin makes the changed rows those being written. It needs mu held and nothing being written.
func (s *State) begin() {
	s.layers.Store(&layers{changed: newOverlay(), writing: s.layers.Load().changed})
	s.dirtyBytes, s.taken = 0, s.applied.Load()
}

// writeBehind writes in the background what begin took, and goes on while enough has gathered meanwhile.
func (s *State) writeBehind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		rows, applied, before := s.layers.Load().writing, s.taken, s.totals
		s.mu.Unlock()
		after, err := s.write(rows, applied, before)
		s.mu.Lock()
		if s.end(rows, applied, after, err) != nil || s.open ||
			!s.gathered(s.cfg.FlushBytes, s.cfg.FlushRows) {
			return
		}
		s.begin()
	}
}

// end makes written rows a matter of the disk. It needs mu held. After an error they stay where they are, for
// nobody knows what is on the disk.
func (s *State) end(rows *overlay, applied uint64, after totals, err error) error {
	defer s.idle.Broadcast()
	if errors.Is(err, badger.ErrTxnTooBig) {
		err = fmt.Errorf("a commit changed too much (%d rows in all), the most is %d rows and"+
			" %d bytes: %w", rows.len(), MaxCommitRows, MaxCommitBytes, err)
	}
	if err != nil {
		return s.faults.report(fmt.Errorf("state: write changes up to index %d: %w", applied, err))
	}
	// Cache and disk before the layers: a reader sees a row in one of them, and never an older one.
	rows.scan(func(r *dirtyRow) bool {
		s.cache.written(r)
		return true
	})
	s.lookAgain()
	s.totals = after
	s.flushed.Store(applied)
	s.layers.Store(&layers{changed: s.layers.Load().changed})
	return nil
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

// flush needs mu held and no commit open, and keeps it while it writes.
func (s *State) flush() error {
	for s.isWriting() && s.faults.err() == nil {
		s.idle.Wait()
	}
	if err := s.faults.err(); err != nil {
		return fmt.Errorf("state: not usable since: %w", err)
	}
	if s.open { // a commit began while we waited
		return nil
	}
	applied := s.applied.Load()
	if s.layers.Load().changed.len() == 0 && applied == s.flushed.Load() {
		return nil
	}
	s.begin()
	rows := s.layers.Load().writing
	after, err := s.write(rows, applied, s.totals)
	return s.end(rows, applied, after, err)
}

// write puts rows and the applied index into one transaction and returns the totals after it.
func (s *State) write(rows *overlay, applied uint64, t totals) (totals, error) {
	began := time.Now()
	txn, seen := s.db.NewTransaction(true), s.db.NewTransaction(false)
	defer txn.Discard()
	defer seen.Discard()
	w := rowWriter{s: s, txn: txn, before: seen, totals: &t, packer: packer{put: txn.SetEntry}}
	var err error
	rows.scan(func(r *dirtyRow) bool {
		err = w.write(r)
		return err == nil
	})
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = txn.Set(appliedKey, encodeMeta(applied, t))
	}
	if err == nil {
		err = txn.Commit()
	}
	if err == nil && s.cfg.Wrote != nil {
		s.cfg.Wrote(rows.len(), time.Since(began))
	}
	return t, err
}

// writeRow puts a row that is by itself into the transaction and into the totals, and takes the row before it
// out of them.
func (s *State) writeRow(txn *badger.Txn, r *dirtyRow, t *totals) (err error) {
	key := rowKey(r.key)
	var old []byte
	var had bool
	if !r.fresh {
		var known bool
		if old, had, known = s.cache.get(r.key); !known {
			if old, had, err = read(txn, key); err != nil {
				return err
			}
		}
	}
	if had {
		t.sub(r.key, old)
	}
	switch {
	case !r.gone:
		t.add(r.key, r.value)
		return txn.Set(key, r.value)
	case had:
		return txn.Delete(key)
	}
	return nil
}

// Close flushes and closes. A Snap still open is an error, and the State stays open.
func (s *State) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snaps > 0 {
		return fmt.Errorf("close state: %d snapshots are still open: close them first", s.snaps)
	}
	s.settle()
	var err error
	if !s.open && s.faults.err() == nil {
		err = s.flush()
	}
	s.disk.Discard()
	if closeErr := s.db.Close(); closeErr != nil {
		return errors.Join(err, fmt.Errorf("close state: %w", known(closeErr)))
	}
	names, listErr := listTables(s.cfg.Dir)
	return errors.Join(err, listErr, s.noteTables(names))
}

// settle waits until nothing is being written in the background. It needs mu held.
func (s *State) settle() {
	for s.isWriting() && s.faults.err() == nil {
		s.idle.Wait()
	}
}
