package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
)

// raft gives these two in two calls, the term first.
const (
	voteTermKey      = "LastVoteTerm"
	voteCandidateKey = "LastVoteCand"
)

// errNotFound is known to raft by its text.
var errNotFound = errors.New("not found")

// Set implements raft.StableStore; the value is on disk when it returns nil, with one exception. The term
// of a vote is held back until its candidate comes, and both are stored in one write: a crash in between
// would leave the new term with the old candidate, who could then be given that vote again without a look
// at the log. Reads see a term held back; a vote counts only once its candidate is stored.
func (l *Log) Set(key, value []byte) error {
	if err := l.usable(); err != nil {
		return err
	}
	if len(key) == 0 {
		return errors.New("log: set a stable value under an empty key")
	}
	value = append([]byte{}, value...)
	t := l.stable
	t.mu.Lock()
	defer t.mu.Unlock()
	if string(key) == voteTermKey {
		t.held = value
		return nil
	}
	values := maps.Clone(t.values)
	values[string(key)] = value
	if string(key) == voteCandidateKey && t.held != nil {
		values[voteTermKey] = t.held
	}
	if err := t.store(values, t.slotState); err != nil {
		return l.faults.report(fmt.Errorf("log: store raft's %q: %w", key, err))
	}
	if string(key) == voteCandidateKey {
		t.held = nil
	}
	return nil
}

// Get implements raft.StableStore; for an absent key the error's text is "not found".
func (l *Log) Get(key []byte) ([]byte, error) {
	t := l.stable
	t.mu.RLock()
	defer t.mu.RUnlock()
	value, ok := t.values[string(key)]
	if string(key) == voteTermKey && t.held != nil {
		value, ok = t.held, true
	}
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
