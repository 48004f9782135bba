package store

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// raftStore is what raft asks of its stores.
type raftStore interface {
	raft.LogStore
	raft.StableStore
}

// boltLog does a Log's work the plainest way, on bbolt: the oracle that a Log is compared with, and the
// other side of the benchmark.
type boltLog struct{ db *bbolt.DB }

var (
	boltEntries = []byte("entries")
	boltStable  = []byte("stable")
)

func openBolt(t testing.TB, dir string) *boltLog {
	t.Helper()
	opt := *bbolt.DefaultOptions
	opt.NoFreelistSync, opt.FreelistType = true, bbolt.FreelistMapType
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o600, &opt)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltEntries)
		_, err2 := tx.CreateBucketIfNotExists(boltStable)
		return errors.Join(err, err2)
	}))
	return &boltLog{db}
}

func (b *boltLog) end(move func(*bbolt.Cursor) ([]byte, []byte)) (index uint64, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		if key, _ := move(tx.Bucket(boltEntries).Cursor()); key != nil {
			index = binary.BigEndian.Uint64(key)
		}
		return nil
	})
	return index, err
}

func (b *boltLog) FirstIndex() (uint64, error) { return b.end((*bbolt.Cursor).First) }
func (b *boltLog) LastIndex() (uint64, error)  { return b.end((*bbolt.Cursor).Last) }

func (b *boltLog) GetLog(index uint64, out *raft.Log) error {
	return b.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(boltEntries).Get(encodeUint64(index))
		if raw == nil {
			return raft.ErrLogNotFound
		}
		return decodeEntry(index, append([]byte(nil), raw...), out)
	})
}

func (b *boltLog) StoreLog(entry *raft.Log) error { return b.StoreLogs([]*raft.Log{entry}) }

func (b *boltLog) StoreLogs(entries []*raft.Log) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		for _, e := range entries {
			if err := tx.Bucket(boltEntries).Put(encodeUint64(e.Index), appendEntry(nil, e)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *boltLog) DeleteRange(low, high uint64) error {
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

func (b *boltLog) Set(key, value []byte) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(boltStable).Put(key, value) })
}

func (b *boltLog) Get(key []byte) (value []byte, err error) {
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

func (b *boltLog) SetUint64(key []byte, value uint64) error { return b.Set(key, encodeUint64(value)) }

func (b *boltLog) GetUint64(key []byte) (uint64, error) {
	raw, err := b.Get(key)
	if err != nil {
		return 0, err
	}
	return decodeUint64(raw)
}
