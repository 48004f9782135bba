package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

const (
	newSuffix   = ".restoring" // not names that somebody may give a copy of his own
	oldSuffix   = ".replaced"
	lockSuffix  = ".lock"
	restoreDone = "RESTORED" // a file in the new directory: it is whole, verified and synced
)

// Restore replaces the state in cfg.Dir by a snapshot. The State must be closed. The snapshot is written
// into a new directory beside, verified and synced; only then the two are switched. Whatever happens, the
// next OpenState finds either the old state or the new one, whole.
func Restore(cfg StateConfig, r io.Reader) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	guard, err := lockBeside(cfg.Dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	err = restore(cfg, r)
	if err := errors.Join(err, guard.Close()); err != nil {
		return fmt.Errorf("restore the state in %s: %w", cfg.Dir, err)
	}
	return nil
}

// Reset makes the state in cfg.Dir an empty one that belongs where it did, as Restore does.
func Reset(cfg StateConfig) error { return Restore(cfg, nil) }

func restore(cfg StateConfig, r io.Reader) error {
	if err := finishRestore(cfg.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	inUse, err := lockPath(cfg.Dir, os.O_RDONLY) // as Badger does, so this fails while the State is open
	if err != nil {
		return err
	}
	err = fill(cfg, r)
	if err == nil {
		err = copyIdentity(cfg.Dir, cfg.Dir+newSuffix)
	}
	if err != nil {
		return errors.Join(err, inUse.Close(), os.RemoveAll(cfg.Dir+newSuffix))
	}
	if err := writeFile(filepath.Join(cfg.Dir+newSuffix, restoreDone), []byte("whole\n")); err != nil {
		return errors.Join(err, inUse.Close())
	}
	return errors.Join(finishRestore(cfg.Dir), inUse.Close())
}

// fill writes the snapshot into the new directory and verifies it.
func fill(cfg StateConfig, r io.Reader) error {
	opt := stateOptions(cfg.Dir+newSuffix, cfg.EncryptionKey, cfg.Log)
	opt = opt.WithSyncWrites(false) // synced once, at the end: until then it counts for nothing
	db, err := open(opt, false)
	if err != nil {
		return err
	}
	if r == nil { // nothing to fill it with
		return db.Close()
	}
	return errors.Join(fillDB(db, cfg, r), db.Close())
}

func fillDB(db *badger.DB, cfg StateConfig, r io.Reader) error {
	r, err := snapshotKey(cfg.SnapshotKey).opened(r)
	if err != nil {
		return fmt.Errorf("open the snapshot: %w", err)
	}
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	rows := packer{put: batch.SetEntry}
	applied, totals, err := readSnapshot(r, rows.add)
	if err == nil {
		err = rows.flush()
	}
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	if err := batch.Set(appliedKey, encodeMeta(applied, totals)); err != nil {
		return err
	}
	if err := batch.Flush(); err != nil {
		return err
	}
	return db.Sync()
}

// finishRestore brings what an interrupted Restore left behind to one of its two ends. Each step may be
// cut short and be done again.
func finishRestore(dir string) error {
	fresh, old := dir+newSuffix, dir+oldSuffix
	if exists(filepath.Join(fresh, restoreDone)) {
		if exists(dir) {
			if err := errors.Join(os.RemoveAll(old), os.Rename(dir, old)); err != nil {
				return fmt.Errorf("switch to the restored state: %w", err)
			}
		}
		if err := os.Rename(fresh, dir); err != nil {
			return fmt.Errorf("switch to the restored state: %w", err)
		}
	}
	if !exists(dir) && exists(old) {
		if err := os.Rename(old, dir); err != nil {
			return fmt.Errorf("go back to the state before the restore: %w", err)
		}
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("sync after a restore: %w", err)
	}
	return errors.Join(os.RemoveAll(fresh), os.RemoveAll(old), remove(filepath.Join(dir, restoreDone)))
}

// lockBeside keeps opening and restoring the same state apart, until the result is closed.
func lockBeside(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	return lockPath(dir+lockSuffix, os.O_CREATE|os.O_RDWR)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
