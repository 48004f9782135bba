package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// The file of raft's stable values holds the same thing twice, in two slots:
//
//	key id   8 bytes: which key it is sealed with
//	salt     32 bytes, fresh at every write, so no key is used twice
//	body     sealed: sequence (8), oldest and newest segment (8 each), then for each value key and value,
//	         each after its length (uvarint, of the key plus one); zeros up to the slot's end
//
// A write goes to the first slot, is synced, then to the second, and is synced again. So at any moment one
// slot is whole: a slot cut off by a crash was not answered for, and one that is damaged has its twin.
const (
	stableFile = "stable"
	slotBytes  = 4096
	slotHead   = keyIDBytes + saltBytes
	slotRoom   = slotBytes - slotHead - tagBytes
	keyIDBytes = 8
)

// slots are raft's stable values, and which segments the log consists of.
type slots struct {
	file   *os.File
	master []byte
	keyID  []byte

	mu     sync.RWMutex // guards what follows
	values map[string][]byte
	held   []byte // a vote's term that waits for its candidate, see Log.Set
	slotState
}

type slotState struct{ sequence, oldest, newest uint64 }

func newSlots(master []byte) (*slots, error) {
	id, err := hkdf.Key(sha256.New, master, nil, "carecircle log key id", keyIDBytes)
	return &slots{master: master, keyID: id, values: map[string][]byte{}}, err
}

func (t *slots) encode(values map[string][]byte, st slotState) ([]byte, error) {
	b := make([]byte, slotHead, slotBytes)
	copy(b, t.keyID)
	_, _ = rand.Read(b[keyIDBytes:]) // cannot fail
	b = binary.BigEndian.AppendUint64(b, st.sequence)
	b = binary.BigEndian.AppendUint64(b, st.oldest)
	b = binary.BigEndian.AppendUint64(b, st.newest)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b = binary.AppendUvarint(b, uint64(len(key))+1)
		b = append(b, key...)
		b = binary.AppendUvarint(b, uint64(len(values[key])))
		b = append(b, values[key]...)
	}
	if n := len(b) - slotHead; n > slotRoom {
		return nil, fmt.Errorf("raft's stable values take %d bytes, at most %d fit", n, slotRoom)
	}
	b = append(b, make([]byte, slotHead+slotRoom-len(b))...)
	aead, err := t.aead(b)
	if err != nil {
		return nil, err
	}
	return aead.Seal(b[:slotHead], nonceAt(0), b[slotHead:], b[:slotHead]), nil
}

func (t *slots) aead(slot []byte) (cipher.AEAD, error) {
	return deriveAEAD(t.master, slot[keyIDBytes:slotHead], "carecircle log stable values v1")
}

func (t *slots) decode(slot []byte) (values map[string][]byte, st slotState, err error) {
	aead, err := t.aead(slot)
	if err != nil {
		return nil, st, err
	}
	plain, err := aead.Open(nil, nonceAt(0), slot[slotHead:], slot[:slotHead])
	if err != nil {
		return nil, st, errors.New("its seal is broken")
	}
	st.sequence = binary.BigEndian.Uint64(plain)
	st.oldest = binary.BigEndian.Uint64(plain[8:])
	st.newest = binary.BigEndian.Uint64(plain[16:])
	d := decoder{b: plain[24:]}
	values = map[string][]byte{}
	for len(d.b) > 0 && d.b[0] != 0 && !d.bad {
		key := d.take(int(d.uvarint()) - 1)
		values[string(key)] = append([]byte{}, d.bytes()...)
	}
	if d.bad {
		return nil, st, errors.New("it cannot be decoded")
	}
	return values, st, nil
}

// create makes the file in dir, without values.
func (t *slots) create(dir string) error {
	slot, err := t.encode(nil, t.slotState)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stableFile)
	if err := writeFile(path, append(slot, slot...)); err != nil {
		return err
	}
	t.file, err = os.OpenFile(path, os.O_RDWR, 0o600)
	return err
}

// open reads the file in dir; os.ErrNotExist says that there is none. A slot that is not as it should be is
// written again.
func (t *slots) open(dir string, log *slog.Logger) (err error) {
	path := filepath.Join(dir, stableFile)
	if t.file, err = os.OpenFile(path, os.O_RDWR, 0o600); err != nil {
		return err
	}
	raw := make([]byte, 2*slotBytes) // what is missing of the file reads as zeros
	if _, err := t.file.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	best, foreign := -1, 0
	for i := range 2 {
		slot := raw[i*slotBytes : (i+1)*slotBytes]
		values, st, err := t.decode(slot)
		if err == nil && (best < 0 || st.sequence > t.sequence) {
			best, t.values, t.slotState = i, values, st
		}
		if err != nil && !bytes.Equal(slot[:keyIDBytes], t.keyID) {
			foreign++
		}
	}
	switch {
	case foreign == 2:
		return fmt.Errorf("%w: give that key", ErrKey)
	case best < 0:
		return fmt.Errorf("%w: both copies of raft's vote and term: %s", ErrDamaged, healAdvice)
	case !bytes.Equal(raw[:slotBytes], raw[slotBytes:]):
		log.Warn("log: one of two copies of raft's vote and term was unfinished or damaged: made again",
			"file", path)
		other := 1 - best
		whole := raw[best*slotBytes : (best+1)*slotBytes]
		if _, err := t.file.WriteAt(whole, int64(other)*slotBytes); err != nil {
			return err
		}
	}
	return datasync(t.file) // what is read now must outlive a power cut
}

// store writes values and state, and keeps them. It needs mu held.
func (t *slots) store(values map[string][]byte, st slotState) error {
	st.sequence = t.sequence + 1
	slot, err := t.encode(values, st)
	if err != nil {
		return err
	}
	for i := range int64(2) {
		if _, err := t.file.WriteAt(slot, i*slotBytes); err != nil {
			return err
		}
		if err := datasync(t.file); err != nil {
			return err
		}
	}
	t.values, t.slotState = values, st
	return nil
}

// segments notes which segments the log consists of.
func (t *slots) segments(oldest, newest uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.store(t.values, slotState{oldest: oldest, newest: newest})
}

// check reads the file again and compares it with what is known.
func (t *slots) check() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	raw := make([]byte, 2*slotBytes)
	if _, err := t.file.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := range 2 {
		_, st, err := t.decode(raw[i*slotBytes : (i+1)*slotBytes])
		if err == nil && st != t.slotState {
			err = fmt.Errorf("it is of write %d, not %d", st.sequence, t.sequence)
		}
		if err != nil {
			return fmt.Errorf("%w: copy %d of raft's vote and term: %w: %s", ErrDamaged, i+1, err, healAdvice)
		}
	}
	return nil
}
