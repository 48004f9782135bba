package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/carecircle/carecircle/circle/machine"
)

// BoltLog does a Log's work the plainest way, on bbolt, synced but not encrypted: what a Log is compared
// with, by tests and by the bench. No circle is kept on it.
type BoltLog struct{ db *bbolt.DB }

var (
	boltEntries = []byte("entries")
	boltStable  = []byte("stable")
)

// OpenBoltLog opens such a log in a directory, making it if absent.
func OpenBoltLog(dir string) (*BoltLog, error) {
	opt := *bbolt.DefaultOptions
	opt.NoFreelistSync, opt.FreelistType = true, bbolt.FreelistMapType
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &opt)
	if err != nil {
		return nil, fmt.Errorf("open a log on bbolt in %s: %w", dir, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltEntries)
		_, err2 := tx.CreateBucketIfNotExists(boltStable)
		return errors.Join(err, err2)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a log on bbolt in %s: %w", dir, err), db.Close())
	}
	return &BoltLog{db}, nil
}

// Close closes the file.
func (b *BoltLog) Close() error { return b.db.Close() }

func (b *BoltLog) end(move func(*bbolt.Cursor) ([]byte, []byte)) (index uint64, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		if key, _ := move(tx.Bucket(boltEntries).Cursor()); key != nil {
			index = binary.BigEndian.Uint64(key)
		}
		return nil
	})
	return index, err
}

// FirstIndex implements raft.LogStore.
func (b *BoltLog) FirstIndex() (uint64, error) { return b.end((*bbolt.Cursor).First) }

// LastIndex implements raft.LogStore.
func (b *BoltLog) LastIndex() (uint64, error) { return b.end((*bbolt.Cursor).Last) }

// GetLog implements raft.LogStore.
func (b *BoltLog) GetLog(index uint64, out *raft.Log) error {
	return b.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(boltEntries).Get(encodeUint64(index))
		if raw == nil {
			return raft.ErrLogNotFound
		}
		return decodeEntry(index, append([]byte(nil), raw...), out)
	})
}

// StoreLog implements raft.LogStore.
func (b *BoltLog) StoreLog(entry *raft.Log) error { return b.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (b *BoltLog) StoreLogs(entries []*raft.Log) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		for _, e := range entries {
			if err := tx.Bucket(boltEntries).Put(encodeUint64(e.Index), appendEntry(nil, e)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteRange implements raft.LogStore.
func (b *BoltLog) DeleteRange(low, high uint64) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(boltEntries).Cursor()
		for key, _ := c.Seek(encodeUint64(low)); key != nil; key, _ = c.Seek(encodeUint64(low)) {
			if binary.BigEndian.Uint64(key) > high {
				return nil
			}
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Set implements raft.StableStore.
func (b *BoltLog) Set(key, value []byte) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(boltStable).Put(key, value) })
}

// Get implements raft.StableStore.
func (b *BoltLog) Get(key []byte) (value []byte, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(boltStable).Get(key)
		if raw == nil {
			return errNotFound
		}
		value = append([]byte{}, raw...)
		return nil
	})
	return value, err
}

// SetUint64 implements raft.StableStore.
func (b *BoltLog) SetUint64(key []byte, value uint64) error { return b.Set(key, encodeUint64(value)) }

// GetUint64 implements raft.StableStore.
func (b *BoltLog) GetUint64(key []byte) (uint64, error) {
	raw, err := b.Get(key)
	if err != nil {
		return 0, err
	}
	return decodeUint64(raw)
}

// Memory is a state that is gone when its process ends: what a State is compared with by the bench. No circle
// is kept in it.
type Memory struct {
	*machine.Mem
	applied uint64
}

// NewMemory returns an empty state in memory.
func NewMemory() *Memory { return &Memory{Mem: machine.NewMem()} }

// Applied returns the index of the last Commit.
func (m *Memory) Applied() uint64 { return m.applied }

// Commit says that every write since the last Commit belongs to index.
func (m *Memory) Commit(index uint64) { m.applied = index }

// Sync has nothing to do, and no promise to keep.
func (m *Memory) Sync() error { return nil }
