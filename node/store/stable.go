package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// raft gives these two in two calls, the term first.
const (
	voteTermKey      = "LastVoteTerm"
	voteCandidateKey = "LastVoteCand"
)

// errNotFound is known to raft by its text.
var errNotFound = errors.New("not found")

// Set implements raft.StableStore; the value is on disk when it returns nil, with one exception. The term
// of a vote is held back until its candidate comes, and both are stored in one transaction: a crash in
// between would leave the new term with the old candidate, who could then be given that vote again without
// a look at the log. Reads see a term held back; a vote counts only once its candidate is stored.
func (l *Log) Set(key, value []byte) error {
	if err := l.usable(); err != nil {
		return err
	}
	if len(key) == 0 {
		return errors.New("log: set a stable value under an empty key")
	}
	value = append([]byte{}, value...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if string(key) == voteTermKey {
		l.heldTerm = value
		l.stable[voteTermKey] = value
		return nil
	}
	err := l.db.Update(func(txn *badger.Txn) error {
		if string(key) == voteCandidateKey && l.heldTerm != nil {
			if err := l.putStable(txn, []byte(voteTermKey), l.heldTerm); err != nil {
				return err
			}
		}
		return l.putStable(txn, key, value)
	})
	if err != nil {
		return l.faults.report(fmt.Errorf("log: store raft's %q: %w", key, err))
	}
	if string(key) == voteCandidateKey {
		l.heldTerm = nil
	}
	l.stable[string(key)] = value
	return nil
}

func (l *Log) putStable(txn *badger.Txn, key, value []byte) error {
	key = append([]byte{stableSpace}, key...)
	return txn.Set(key, l.seal.close(key, value))
}

// Get implements raft.StableStore; for an absent key the error's text is "not found".
func (l *Log) Get(key []byte) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	value, ok := l.stable[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return bytes.Clone(value), nil
}

// SetUint64 is Set for a number.
func (l *Log) SetUint64(key []byte, value uint64) error { return l.Set(key, encodeUint64(value)) }

// GetUint64 is Get for a number.
func (l *Log) GetUint64(key []byte) (uint64, error) {
	raw, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	n, err := decodeUint64(raw)
	if err != nil {
		return 0, fmt.Errorf("log: read raft's %q: %w", key, err)
	}
	return n, nil
}
