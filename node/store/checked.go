package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A state's tables do not change once they are written. So the file CHECKED lists those that were found to be
// whole, with the CRC-32C of all their bytes: comparing that at the next start takes a tenth of the time in
// which Badger decrypts and checks every block, and maps nothing into memory. Badger gives a number to
// another table only after a start at which nothing had it, and every start writes the list of what is there.
const checkedFile = "CHECKED"

// tableSums maps tables' names to their sums.
type tableSums map[string]uint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumTables sums tables in dir, which must be whole. Those of known are taken from there; those that a
// compaction has removed meanwhile are left out.
func sumTables(dir string, names []string, known tableSums) (tableSums, error) {
	sums, buf := tableSums{}, make([]byte, snapshotBuffer)
	for _, name := range names {
		if sum, ok := known[name]; ok {
			sums[name] = sum
			continue
		}
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		hash := crc32.New(castagnoli)
		_, err = io.CopyBuffer(hash, io.NewSectionReader(f, 0, 1<<62), buf)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		sums[name] = hash.Sum32()
	}
	return sums, nil
}

// listTables returns the names of the tables in dir, ascending. One without a byte is not among them: Badger
// empties a table that it no longer needs before it removes it, and a process may end between the two. One
// that it does need is missed by Badger.
func listTables(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	var names []string
	for _, path := range paths {
		info, statErr := os.Stat(path)
		switch {
		case errors.Is(statErr, os.ErrNotExist): // removed meanwhile
		case statErr != nil:
			return nil, statErr
		case info.Size() > 0:
			names = append(names, filepath.Base(path))
		}
	}
	return names, err
}

// readChecked reads the list in dir. One that is absent or damaged is empty: then Badger checks all again.
func readChecked(dir string) (tableSums, error) {
	raw, err := os.ReadFile(filepath.Join(dir, checkedFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sums := tableSums{}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var name string
		var sum uint32
		if n, err := fmt.Sscanf(lines.Text(), "%s %08x", &name, &sum); n != 2 || err != nil {
			break
		}
		sums[name] = sum
	}
	if !bytes.Equal(sums.encode(), raw) {
		return nil, nil
	}
	return sums, nil
}

// encode ends with a sum over the list itself.
func (t tableSums) encode() []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if name != checkedFile {
			b = fmt.Appendf(b, "%s %08x\n", name, t[name])
		}
	}
	return fmt.Appendf(b, "%s %08x\n", checkedFile, crc32.Checksum(b, castagnoli))
}

// write makes t the list in dir.
func (t tableSums) write(dir string) error {
	return writeFile(filepath.Join(dir, checkedFile), t.encode())
}

// compareTables compares the tables in dir with the list. It returns their sums, and whether all are on it.
func compareTables(dir string) (sums tableSums, all bool, err error) {
	known, err := readChecked(dir)
	if err != nil {
		return nil, false, err
	}
	names, err := listTables(dir)
	if err != nil {
		return nil, false, err
	}
	if sums, err = sumTables(dir, names, nil); err != nil {
		return nil, false, err
	}
	all = true
	for name, sum := range sums {
		want, ok := known[name]
		if ok && sum != want {
			return nil, false, fmt.Errorf("%w: the table %s was changed: %s", ErrDamaged, name, healAdvice)
		}
		all = all && ok
	}
	return sums, all, nil
}

// noteTables lists the tables by these names, if any is new, so that the next start need not have Badger
// look at all of them. It needs mu held.
func (s *State) noteTables(names []string) error {
	isNew := func(name string) bool {
		_, ok := s.sums[name]
		return !ok
	}
	if s.faults.err() != nil || !slices.ContainsFunc(names, isNew) {
		return nil
	}
	sums, err := sumTables(s.cfg.Dir, names, s.sums)
	if err == nil {
		err = sums.write(s.cfg.Dir)
	}
	if err != nil {
		return s.faults.report(fmt.Errorf("state: list the tables: %w", err))
	}
	s.sums = sums
	return nil
}

// tables returns the names of the tables that Badger uses now: these are written whole.
func (s *State) tables() []string {
	var names []string
	for _, t := range s.db.Tables() {
		names = append(names, fmt.Sprintf("%06d.sst", t.ID))
	}
	return names
}
