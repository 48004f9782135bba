package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	identityFile   = "IDENTITY"
	identityPrefix = "carecircle store 1 "
	identityBytes  = 16

	bindAdvice = "put back the directories that belong together, or remove all three and join as a new" +
		" replica or restore a backup"
)

// part is one of the three places that belong together.
type part struct {
	name, dir string
	empty     bool
}

// Bind makes sure that the state, the log and the directory of raft's snapshots belong together: each
// holds the same random id, drawn when all three are empty. A wiped or swapped one beside the others of
// old would make raft lose entries it has promised to keep, so that is an error. Call it at every start,
// before raft gets hold of them.
func Bind(state *State, log *Log, snapDir string) error {
	if err := os.MkdirAll(snapDir, 0o700); err != nil {
		return fmt.Errorf("bind the stores: %w", err)
	}
	noSnaps, err := noFiles(snapDir)
	if err != nil {
		return fmt.Errorf("bind the stores: %w", err)
	}
	rows, _ := state.Rows()
	parts := []part{
		{"state", state.cfg.Dir, rows == 0 && state.Applied() == 0},
		{"log", log.dir, log.empty()},
		{"snapshots", snapDir, noSnaps},
	}
	if err := bind(parts); err != nil {
		return fmt.Errorf("bind the stores: %w", err)
	}
	return nil
}

// BindHome makes sure, after Bind, that the stores are those with which the node in directory home ran last:
// all three together may be lost or exchanged as well, and raft must not vote on the strength of empty ones.
func BindHome(home string, state *State) error {
	theirs, err := readIdentity(state.cfg.Dir)
	if err != nil {
		return fmt.Errorf("bind the stores to %s: %w", home, err)
	}
	ours, err := readIdentity(home)
	if err == nil && ours == "" {
		err = writeFile(filepath.Join(home, identityFile), []byte(identityPrefix+theirs+"\n"))
	} else if err == nil && ours != theirs {
		err = fmt.Errorf("%w: state, log and snapshots are not those that this node had, ids %s and %s: %s",
			ErrApart, theirs, ours, bindAdvice)
	}
	if err != nil {
		return fmt.Errorf("bind the stores to %s: %w", home, err)
	}
	return nil
}

// UnbindHome lets the node in directory home begin with other stores.
func UnbindHome(home string) error {
	err := os.Remove(filepath.Join(home, identityFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unbind the stores of %s: %w", home, err)
	}
	return syncDir(home)
}

func bind(parts []part) error {
	id, from, allEmpty := "", part{}, true
	missing := []part{}
	for _, p := range parts {
		allEmpty = allEmpty && p.empty
		found, err := readIdentity(p.dir)
		switch {
		case err != nil:
			return err
		case found == "":
			missing = append(missing, p)
		case id == "":
			id, from = found, p
		case id != found:
			return fmt.Errorf("%w: %s (%s) and %s (%s) are of different nodes or times, ids %s and %s: %s",
				ErrApart, from.dir, from.name, p.dir, p.name, id, found, bindAdvice)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if !allEmpty { // ids are written before anything else, so one was lost since
		return fmt.Errorf("%w: %s (%s) has no id while there is data: it was wiped or is another's: %s",
			ErrApart, missing[0].dir, missing[0].name, bindAdvice)
	}
	if id == "" {
		raw := make([]byte, identityBytes)
		_, _ = rand.Read(raw) // cannot fail
		id = hex.EncodeToString(raw)
	}
	for _, p := range missing {
		if err := writeFile(filepath.Join(p.dir, identityFile), []byte(identityPrefix+id+"\n")); err != nil {
			return fmt.Errorf("write the id of %s: %w", p.name, err)
		}
	}
	return nil
}

// readIdentity returns the id in dir, "" if there is none.
func readIdentity(dir string) (string, error) {
	path := filepath.Join(dir, identityFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id, ok := strings.CutPrefix(strings.TrimSpace(string(raw)), identityPrefix)
	if !ok || len(id) != 2*identityBytes {
		return "", fmt.Errorf("%w: %s is not an id: it was changed; its twins in the directories of log,"+
			" state and snapshots tell what it was", ErrApart, path)
	}
	return id, nil
}

// copyIdentity lets a restored state keep its id.
func copyIdentity(from, to string) error {
	raw, err := os.ReadFile(filepath.Join(from, identityFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(to, identityFile), raw)
}

// empty reports whether raft has never used the log.
func (l *Log) empty() bool {
	l.stable.mu.RLock()
	defer l.stable.mu.RUnlock()
	_, last := l.bounds()
	return last == 0 && len(l.stable.values) == 0
}

// noFiles reports whether there is no file in dir or below, but for the id.
func noFiles(dir string) (bool, error) {
	none := true
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || strings.HasPrefix(filepath.Base(path), identityFile) {
			return nil
		}
		none = false
		return fs.SkipAll
	})
	return none, err
}
