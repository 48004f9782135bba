package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// FileName is the vault's file in a node's directory.
const FileName = "vault"

const maxCached = 10_000

// Entry is one key of the vault. Versions count up; two replicas may for a moment have made different keys
// for one version, and the circle's log says by its mark which of them it took.
type Entry struct {
	Version uint32
	Key     Secret
}

// Mark returns the hash by which the log names the key.
func (e Entry) Mark() machine.Hash { return machine.Hash(e.Key.derive("mark")) }

// Vault holds the keys under which people's keys are wrapped. It is never part of the log or the state: what
// leaves it is gone.
type Vault struct {
	files *Files

	mu      sync.Mutex
	entries []Entry
	people  map[string]person // opened keys, by whose they are
}

type person struct {
	from member.Key // as the state held it
	key  Secret
}

type onDisk struct {
	_       struct{} `cbor:",toarray"`
	Version uint32
	Key     []byte
}

// Open reads a node's vault, an empty one where there is no file yet. It finishes what a crash interrupted.
func Open(files *Files) (*Vault, error) {
	v := &Vault{files: files, people: map[string]person{}}
	if err := files.finishReplace(FileName); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	raw, err := files.Read(FileName)
	if errors.Is(err, os.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	var rows []onDisk
	if err := cbor.Unmarshal(raw, &rows); err != nil {
		return nil, fmt.Errorf("open vault: %s is damaged; restore it from a backup: %w",
			files.path(FileName), err)
	}
	for _, row := range rows {
		if len(row.Key) != len(Secret{}) {
			return nil, fmt.Errorf("open vault: %s is damaged; restore it from a backup",
				files.path(FileName))
		}
		v.entries = append(v.entries, Entry{Version: row.Version, Key: Secret(row.Key)})
	}
	return v, nil
}

// Make returns a key for a version: one made before, or a new one, which is on disk when Make returns.
func (v *Vault) Make(version uint32) (Entry, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.entries {
		if e.Version == version {
			return e, nil
		}
	}
	e := Entry{Version: version, Key: NewSecret()}
	return e, v.save(append(slices.Clone(v.entries), e))
}

// Import keeps a key that another replica made; it is on disk when Import returns.
func (v *Vault) Import(e Entry) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Version == 0 {
		return errors.New("import a key of the vault: it has no version")
	}
	if slices.Contains(v.entries, e) {
		return nil
	}
	return v.save(append(slices.Clone(v.entries), e))
}

// Export returns the key the log names by version and mark, for another replica of this circle or a backup.
func (v *Vault) Export(version uint32, mark machine.Hash) (Entry, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.find(version, mark)
}

func (v *Vault) find(version uint32, mark machine.Hash) (Entry, bool) {
	for _, e := range v.entries {
		if e.Version == version && e.Mark() == mark {
			return e, true
		}
	}
	return Entry{}, false
}

// Keep destroys every key that keep refuses, and what was opened with it: the old file is overwritten before
// it is removed. Once it returns, no file of the vault holds them.
func (v *Vault) Keep(keep func(Entry) bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(v.entries), func(e Entry) bool { return !keep(e) })
	if len(left) == len(v.entries) {
		return nil
	}
	if err := v.save(left); err != nil {
		return err
	}
	clear(v.people)
	return nil
}

// Contents returns the keys there are now as the file holds them, for a backup.
func (v *Vault) Contents() ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return encode(v.entries)
}

func encode(entries []Entry) ([]byte, error) {
	rows := make([]onDisk, 0, len(entries))
	for _, e := range entries {
		rows = append(rows, onDisk{Version: e.Version, Key: bytes.Clone(e.Key[:])})
	}
	return cbor.Marshal(rows)
}

func (v *Vault) save(entries []Entry) error {
	raw, err := encode(entries)
	if err == nil {
		err = v.files.Replace(FileName, raw)
	}
	if err != nil {
		return fmt.Errorf("write vault: %w", err)
	}
	v.entries = entries
	return nil
}

func about(name string, version uint32) []byte {
	return append(binary.BigEndian.AppendUint32([]byte("carecircle person key v1\x00"), version), name...)
}

// Wrap wraps a person's key under a key of the vault.
func Wrap(under Entry, name string, key Secret) member.Key {
	return member.Key{
		Person: name, Version: under.Version,
		Wrapped: under.Key.derive("wrap").sealFresh(key[:], about(name, under.Version)),
	}
}

// Unwrap returns a person's key as the state holds it.
func (v *Vault) Unwrap(k member.Key) (Secret, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known, ok := v.people[k.Person]; ok && known.from.Version == k.Version &&
		bytes.Equal(known.from.Wrapped, k.Wrapped) {
		return known.key, nil
	}
	for _, e := range v.entries {
		if e.Version != k.Version {
			continue
		}
		raw, err := e.Key.derive("wrap").open(k.Wrapped, about(k.Person, k.Version))
		if err != nil || len(raw) != len(Secret{}) {
			continue
		}
		if len(v.people) >= maxCached {
			clear(v.people)
		}
		k.Wrapped = bytes.Clone(k.Wrapped)
		v.people[k.Person] = person{from: k, key: Secret(raw)}
		return Secret(raw), nil
	}
	return Secret{}, fmt.Errorf("the vault's key %d is not here: %w", k.Version, ErrSealed)
}

// Old tells whether there are keys besides the one in use.
func (v *Vault) Old() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.entries) > 1
}

// Forget drops what is opened of a person.
func (v *Vault) Forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.people, name)
}
