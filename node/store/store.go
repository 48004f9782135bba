// Package store keeps a node's data on disk: the circle's state in Badger (State, a machine.KV), and the raft
// log with raft's few stable values in segments of its own (Log). A State may be rebuilt from the log and a
// snapshot; a Log may not, so each append is synced before anyone is told yes.
//
// Badger answers "not found" when a block it reads is damaged. So a State carries a count and a sum of its
// rows, checked at every snapshot. A Log reads all it has at its opening and seals every entry.
package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Limits of this package. Bytes unless the name says otherwise.
const (
	// MaxCommitBytes and MaxCommitRows bound what one commit of a State may change: keys, values and
	// RowOverheadBytes a row. More may fit, this much always does. A numbered row that was there before
	// counts for the whole strip it is in.
	MaxCommitBytes = 1 << 20
	MaxCommitRows  = 10_000
	// RowOverheadBytes is counted for every changed row beside its key and value.
	RowOverheadBytes = 32
	// MaxKeyBytes bounds a row's key.
	MaxKeyBytes = 60_000
	// MaxEntryBytes bounds data and extensions of one log entry.
	MaxEntryBytes = 1<<20 - 4096
	// KeyBytes is the length of an encryption key.
	KeyBytes = 32

	maxFlushBytes     = 1 << 20 // with MaxCommitBytes on top it must fit into 15 % of stateMemTable
	maxFlushRows      = 10_000
	defaultFlushBytes = 1 << 20
	defaultFlushRows  = 6000

	stateMemTable = 16 << 20
	stateValueLog = 64 << 20
	// Every value stays in the tree, none in the value log: so there is nothing to collect there and a
	// deleted row is gone with compaction. It must stay below 15 % of the smaller memtable.
	valueThreshold  = 1 << 20
	blockCacheBytes = 16 << 20
	indexCacheBytes = 16 << 20 // zero would crash Badger once a key is set

	segmentBytes   = 16 << 20  // of a Log, reserved at once
	maxAppendBytes = 1 << 20   // entries put into one write of a Log
	maxKeptBuffer  = 256 << 10 // for writing, kept from one to the next

	maxSnapshotValue = 16 << 20
	snapshotBuffer   = 64 << 10

	// minFreeBytes is what a disk must have free for a store to open: Badger maps its files into memory
	// and dies by SIGBUS when the disk cannot take what it writes there.
	minFreeBytes = 64 << 20

	fatalExitCode = 3
)

const (
	stateMagic  = 0xCC01 // Badger keeps it in its manifest: a log opened as a state is refused
	oldLogMagic = 0xCC02
)

// faults ends the process at the first storage error: after one, nobody knows what is on the disk.
type faults struct {
	fatal func(error)
	mu    sync.Mutex
	first error
}

func newFaults(fatal func(error), log *slog.Logger) *faults {
	if fatal == nil {
		fatal = func(err error) {
			log.Error("storage failed, stopping", "error", err)
			os.Exit(fatalExitCode)
		}
	}
	return &faults{fatal: fatal}
}

// report keeps the first error, ends the process, and returns the error where that is held off.
func (f *faults) report(err error) error {
	f.mu.Lock()
	if f.first == nil {
		f.first = err
	}
	f.mu.Unlock()
	f.fatal(err)
	return err
}

// err returns the error that has made this store unusable.
func (f *faults) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// baseOptions are what both stores have in common. Both sync every transaction: Badger moves on to a new
// write-ahead file without syncing the old one, so an unsynced store could come back from a power cut with
// later transactions and without earlier ones.
func baseOptions(dir string, key []byte, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueThreshold(valueThreshold).
		WithBlockCacheSize(blockCacheBytes).
		WithIndexCacheSize(indexCacheBytes).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnBlockRead). // and checkTables, see there
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumVersionsToKeep(1).
		WithCompactL0OnClose(true).
		WithEncryptionKey(key).
		WithLogger(badgerLog{log: log})
}

func stateOptions(dir string, key []byte, log *slog.Logger) badger.Options {
	return baseOptions(dir, key, log).
		WithMemTableSize(stateMemTable).
		WithValueLogFileSize(stateValueLog).
		WithExternalMagic(stateMagic)
}

// oldLogOptions are those of a log before segments.
func oldLogOptions(dir string, key []byte, log *slog.Logger) badger.Options {
	return baseOptions(dir, key, log).
		WithMemTableSize(8 << 20).
		WithValueLogFileSize(16 << 20).
		WithCompression(options.None). // commands are sealed or short
		WithExternalMagic(oldLogMagic)
}

// open opens Badger and turns its errors into ones that say what to do. Where it is not known that the tables
// are whole, all of them are read.
func open(opt badger.Options, whole bool) (_ *badger.DB, err error) {
	if n := len(opt.EncryptionKey); n != 0 && n != KeyBytes {
		return nil, fmt.Errorf("open store %s: the key has %d bytes, must have %d", opt.Dir, n, KeyBytes)
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: make the directory (check the owner of its parent): %w", err)
	}
	if err := checkSpace(opt.Dir, minFreeBytes); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := removeUnborn(opt.Dir); err != nil {
		return nil, fmt.Errorf("open store %s: remove empty files: %w", opt.Dir, err)
	}
	defer func() {
		if p := recover(); p != nil { // Badger asserts where it finds damage
			err = openError(opt.Dir, fmt.Errorf("badger: %v", p))
		}
	}()
	db, err := badger.Open(opt)
	if err != nil {
		return nil, openError(opt.Dir, err)
	}
	if whole {
		return db, nil
	}
	if err := checkTables(db); err != nil {
		return nil, errors.Join(openError(opt.Dir, err), db.Close())
	}
	return db, nil
}

// removeUnborn removes write-ahead files without a byte in them. A kill between Badger's making such a file
// and its giving it a size leaves one, and Badger then refuses to open: "Create a new file". Nothing was
// ever written there. Where the directory is in use it touches nothing; Badger will say so.
func removeUnborn(dir string) error {
	lock, err := lockPath(dir, os.O_RDONLY)
	if err != nil {
		return nil //nolint:nilerr // in use: those files are alive
	}
	files, err := os.ReadDir(dir)
	for _, f := range files {
		ext := filepath.Ext(f.Name())
		if err != nil || ext != ".mem" && ext != ".vlog" {
			continue
		}
		var info os.FileInfo
		if info, err = f.Info(); err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
	return errors.Join(err, lock.Close())
}

// checkTables reads all tables and compares their checksums. Badger would do this while it opens, but it
// follows a nil pointer where it finds damage, in a goroutine of its own, and so takes the process with it.
func checkTables(db *badger.DB) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a table has a wrong checksum (badger: %v)", p)
		}
	}()
	return db.VerifyChecksum()
}

// openError says what to do. Badger does not wrap its causes, so some are known by their words only.
func openError(dir string, err error) error {
	var advice string
	switch text := err.Error(); {
	case strings.Contains(text, "directory lock"):
		advice = "another process has it open: stop that one first"
	case errors.Is(err, badger.ErrEncryptionKeyMismatch):
		return fmt.Errorf("open store %s: %w: give that key: %w", dir, ErrKey, err)
	case errors.Is(err, os.ErrPermission), strings.Contains(text, "permission denied"):
		advice = "this user may not use the files: give them to the user carecircle runs as"
	case strings.Contains(text, "no space left"):
		err = fmt.Errorf("%w: %w", ErrFull, err)
		advice = "the disk is full: free some space and start again, nothing is lost"
	case errors.Is(known(err), syscall.EIO):
		err = known(err)
		advice = "the disk cannot be read or written: look after it, then restore this node"
	default:
		return fmt.Errorf("open store %s: %w, or not this store's: %s: %w", dir, ErrDamaged, healAdvice, err)
	}
	return fmt.Errorf("open store %s: %s: %w", dir, advice, err)
}

// known lets an error of the disk that Badger has put into words be known for one.
func known(err error) error {
	if !errors.Is(err, syscall.EIO) && strings.Contains(err.Error(), syscall.EIO.Error()) {
		return fmt.Errorf("%w (%w)", err, syscall.EIO)
	}
	return err
}

// badgerLog passes Badger's warnings and errors on, and leaves out its chatter.
// What it fails to write in the background it would try again for ever, or leave: that is a
// storage error like any other.
type badgerLog struct {
	log    *slog.Logger
	faults *faults // nil: nobody is told
}

func (l badgerLog) Errorf(format string, args ...any) {
	text := "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
	l.log.Error(text)
	if l.faults != nil && strings.HasPrefix(format, "error flushing memtable") {
		_ = l.faults.report(errors.New(text))
	}
}

func (l badgerLog) Warningf(format string, args ...any) {
	text := "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
	l.log.Warn(text)
	if l.faults != nil && strings.Contains(format, "While running doCompact") {
		_ = l.faults.report(errors.New(text))
	}
}

func (badgerLog) Infof(string, ...any)  {}
func (badgerLog) Debugf(string, ...any) {}

func orDefault(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.Default()
	}
	return log
}

// syncDir makes renames and new files in dir outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeFile writes a small file so that after a crash it is whole or absent.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}
