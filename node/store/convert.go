package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

// The log in the format before segments is a Badger directory: under 'e' and the index (8 bytes) an entry,
// under 's' and raft's key a stable value, under "mc" the commit index, each with a checksum behind; under
// "mk" the checksums' key.
const (
	oldEntrySpace  = 'e'
	oldStableSpace = 's'
	oldManifest    = "MANIFEST"
	oldMagic       = "Bdgr"
	sealBytes      = 16

	// noManifest stands in place of Badger's manifest in a new log: a carecircle from before segments then
	// refuses the directory. It would make an empty log there otherwise, and forget what it has promised.
	noManifest = "The log is kept in segments: use the carecircle that wrote them, or a newer one.\n"
)

var (
	oldCommitKey = []byte{metaSpace, 'c'}
	oldSealKey   = []byte{metaSpace, 'k'}
)

// sealer is the key of the checksums (HMAC-SHA256, cut to 16 bytes) over key and value that stood behind
// every value: Badger's encryption hides what it stores, but would not notice a change.
type sealer []byte

func (s sealer) sum(key, value []byte) []byte {
	mac := hmac.New(sha256.New, s)
	_, _ = mac.Write(binary.AppendUvarint(nil, uint64(len(key)))) // cannot fail
	_, _ = mac.Write(key)
	_, _ = mac.Write(value)
	return mac.Sum(nil)[:sealBytes]
}

// open returns a value without its checksum, or an error if it was changed or was under another key.
func (s sealer) open(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - sealBytes
	if n < 0 || !hmac.Equal(sealed[n:], s.sum(key, sealed[:n])) {
		return nil, errors.New("checksum does not match")
	}
	return sealed[:n:n], nil
}

// convertLog carries a log of the format before over. The new one is made beside, whole and synced, before
// the two are switched, so a crash leaves one of them.
func convertLog(cfg LogConfig) error {
	if err := finishRestore(cfg.Dir); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(cfg.Dir, oldManifest))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || len(raw) < len(oldMagic) || string(raw[:len(oldMagic)]) != oldMagic {
		return err
	}
	db, err := open(oldLogOptions(cfg.Dir, cfg.EncryptionKey, cfg.Log), false)
	if err != nil {
		return err
	}
	fresh := cfg
	fresh.Dir += newSuffix
	if err := errors.Join(convert(db, fresh), db.Close()); err != nil {
		return fmt.Errorf("carry the log over to segments: %w", err)
	}
	if err := copyIdentity(cfg.Dir, fresh.Dir); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(fresh.Dir, restoreDone), []byte("whole\n")); err != nil {
		return err
	}
	if err := finishRestore(cfg.Dir); err != nil {
		return err
	}
	cfg.Log.Info("the log is now kept in segments", "dir", cfg.Dir)
	return nil
}

// convert copies everything in db into a new log.
func convert(db *badger.DB, cfg LogConfig) (err error) {
	l, err := openLog(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return db.View(func(txn *badger.Txn) error {
		key, ok, err := read(txn, oldSealKey)
		if err != nil || !ok && db.MaxVersion() == 0 { // killed before anything was stored
			return err
		}
		if len(key) != KeyBytes { // Badger reads past damage: a vote may be lost with the key
			return fmt.Errorf("%w: its key is missing: %s", ErrDamaged, healAdvice)
		}
		old := &oldLog{txn: txn, seal: key}
		if err := old.stable(l); err != nil {
			return err
		}
		return old.entries(l)
	})
}

// oldLog reads a log in the format before.
type oldLog struct {
	txn  *badger.Txn
	seal sealer
}

func (o *oldLog) each(space byte, do func(key, value []byte, err error) error) error {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = []byte{space}
	it := o.txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		value, err := it.Item().ValueCopy(nil)
		if err == nil {
			value, err = o.seal.open(key, value)
		}
		if err := do(key[1:], value, err); err != nil {
			return err
		}
	}
	return nil
}

func (o *oldLog) stable(l *Log) error {
	values := map[string][]byte{}
	err := o.each(oldStableSpace, func(key, value []byte, err error) error {
		if err != nil {
			return fmt.Errorf("%w: raft's %q: %w: %s", ErrDamaged, key, err, healAdvice)
		}
		values[string(key)] = value
		return nil
	})
	if err != nil || len(values) == 0 {
		return err
	}
	return l.stable.store(values, l.stable.slotState)
}

func (o *oldLog) entries(l *Log) error {
	raw, ok, err := read(o.txn, oldCommitKey)
	if err == nil && ok {
		raw, err = o.seal.open(oldCommitKey, raw)
	}
	var commit uint64
	if err == nil && ok {
		commit, err = decodeUint64(raw)
	}
	if err != nil {
		return fmt.Errorf("%w: the commit index: %w: %s", ErrDamaged, err, healAdvice)
	}
	var waiting []*raft.Log
	size := 0
	write := func() error {
		err := l.StageCommitIndex(commit)
		if err == nil {
			err = l.StoreLogs(waiting)
		}
		waiting, size = waiting[:0], 0
		return err
	}
	err = o.each(oldEntrySpace, func(key, value []byte, err error) error {
		index, err2 := decodeUint64(key)
		last := l.last + uint64(len(waiting))
		var e raft.Log
		if err = errors.Join(err, err2); err == nil && last != 0 && index != last+1 {
			index, err = last+1, errors.New("it is missing")
		}
		if err == nil {
			err = decodeEntry(index, value, &e)
		}
		if err != nil {
			return damaged(index, err)
		}
		waiting, size = append(waiting, &e), size+entryBytes(&e)
		if size < maxAppendBytes/2 {
			return nil
		}
		return write()
	})
	if err != nil {
		return err
	}
	return write()
}
