package backup

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carecircle/carecircle/federation/letter"
)

// Names of files.
const (
	Suffix     = ".ccbackup"
	NoteSuffix = ".restored.json"
)

// ErrAbandoned says that a backup is of a timeline that the circle has left.
var ErrAbandoned = errors.New("this backup is of a timeline that the circle has left")

// Known is what backups and notes of restores, of one circle, tell of its timelines.
type Known struct {
	Circle  letter.CircleID
	Backups []Stored // newest first
	// Unread are files that should tell something but cannot be read.
	Unread []Unread

	histories []evidence
}

// Stored is a backup in a directory.
type Stored struct {
	Path     string
	Manifest Manifest
}

// Unread is a file that cannot be read.
type Unread struct {
	Path string
	Err  error
}

type evidence struct {
	path   string
	epochs History
}

// Gather reads the manifests of all backups and all notes in the places given, which are files or
// directories, and keeps those that the circle signed. A place that is not there is an error.
func Gather(circle letter.CircleID, places ...string) (*Known, error) {
	k := &Known{Circle: circle}
	for _, place := range places {
		info, err := os.Stat(place)
		if err != nil {
			return nil, fmt.Errorf("look for what is known of other backups: %w", err)
		}
		paths := []string{place}
		if info.IsDir() {
			if paths, err = told(place); err != nil {
				return nil, fmt.Errorf("look for what is known of other backups: %w", err)
			}
		}
		for _, path := range paths {
			k.add(path)
		}
	}
	slices.SortStableFunc(k.Backups, func(a, b Stored) int {
		return int(b.Manifest.MadeAt - a.Manifest.MadeAt)
	})
	return k, nil
}

// told lists the files of a directory that tell of timelines.
func told(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), Suffix) || strings.HasSuffix(e.Name(), NoteSuffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

func (k *Known) add(path string) {
	var by Signer
	var epochs History
	var err error
	if strings.HasSuffix(path, NoteSuffix) {
		var n Note
		n, err = ReadNote(path)
		by, epochs = n.Signer, n.Epochs
	} else {
		var f *File
		if f, err = Open(path); err == nil {
			by, epochs = f.Manifest.Signer, f.Manifest.Epochs
			err = f.Close()
		}
		if err == nil && by.Circle == k.Circle {
			k.Backups = append(k.Backups, Stored{Path: path, Manifest: f.Manifest})
		}
	}
	switch {
	case err != nil:
		k.Unread = append(k.Unread, Unread{Path: path, Err: err})
	case by.Circle == k.Circle:
		k.histories = append(k.histories, evidence{path: path, epochs: epochs})
	}
}

// ReadNote reads a note of a restore.
func ReadNote(path string) (Note, error) {
	f, err := os.Open(path)
	if err != nil {
		return Note{}, fmt.Errorf("read the note of a restore: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxManifestBytes))
	if err != nil {
		return Note{}, fmt.Errorf("read the note of a restore: %w", err)
	}
	n, err := open[Note](letter.ForRestore, raw)
	if err == nil && len(n.Epochs) == 0 {
		err = damaged("it names no epoch")
	}
	if err != nil {
		return Note{}, fmt.Errorf("read the note of a restore %s: %w", path, err)
	}
	return n, nil
}

// later tells whether epoch a began after epoch b. Where two were given the same number, because whoever
// restored did not know of the first, the later one counts.
func (m Mark) later(b Mark) bool {
	if m.Epoch != b.Epoch {
		return m.Epoch > b.Epoch
	}
	return m.At > b.At
}

// leaves tells whether the history h leaves a backup behind: its newest epoch is later than the backup's,
// and the backup has what h does not have.
func (h History) leaves(m Manifest) bool {
	newest := h.Newest()
	if !newest.later(m.Epochs.Newest()) {
		return false
	}
	shared := len(m.Epochs) <= len(h) && slices.Equal(m.Epochs, h[:len(m.Epochs)])
	atFork := newest.FromPosition == m.Position && newest.FromHead == m.Head
	return !shared || newest.FromPosition < m.Position || newest.FromPosition == m.Position && !atFork
}

// Judge refuses a backup of a timeline that was left, naming the newer epoch and which backups are good.
func (k *Known) Judge(m Manifest) error {
	var by evidence
	for _, e := range k.histories {
		if e.epochs.leaves(m) && e.epochs.Newest().later(by.epochs.Newest()) {
			by = e
		}
	}
	if by.path == "" {
		return nil
	}
	newest := by.epochs.Newest()
	good := "none that is known here"
	if names := k.good(); len(names) > 0 {
		good = strings.Join(names, ", ")
	}
	return fmt.Errorf("%w: it is of epoch %d at command %d, and %s shows that epoch %d began after command"+
		" %d on %s. Good backups: %s", ErrAbandoned, m.Epochs.Newest().Epoch, m.Position, by.path,
		newest.Epoch, newest.FromPosition, day(newest.At), good)
}

// newest returns the newest backup that can be restored.
func (k *Known) newest() (Stored, bool) {
	for _, b := range k.Backups {
		if k.Good(b.Manifest) {
			return b, true
		}
	}
	return Stored{}, false
}

func (k *Known) good() []string {
	var out []string
	for _, b := range k.Backups {
		if k.Good(b.Manifest) {
			out = append(out, b.Path)
		}
	}
	return out
}

// Good tells whether Judge takes a backup.
func (k *Known) Good(m Manifest) bool {
	return !slices.ContainsFunc(k.histories, func(e evidence) bool { return e.epochs.leaves(m) })
}

// next returns the mark of the epoch that begins when a backup is restored: above all that are known.
func (k *Known) next(m Manifest, at time.Time) Mark {
	mark := Mark{
		Epoch: m.Epochs.Newest().Epoch + 1, FromPosition: m.Position, FromHead: m.Head, Backup: m.ID,
		At: at.UnixMilli(),
	}
	for _, e := range k.histories {
		mark.Epoch = max(mark.Epoch, e.epochs.Newest().Epoch+1)
	}
	return mark
}

func day(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }

// when writes a time for people and programs.
func when(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// NoteFor returns the note of the restore of a backup, and its signed line.
func (k *Known) NoteFor(m Manifest, key ed25519.PrivateKey, why string, at time.Time) (Note, []byte, error) {
	n := Note{
		Format: noteFormat, Signer: signerOf(key), Why: why,
		Epochs: append(slices.Clone(m.Epochs), k.next(m, at)),
	}
	raw, err := sign(letter.ForRestore, key, n)
	return n, raw, err
}

// NotePath names the note of a restore, beside the backup.
func NotePath(backup string, n Note) string {
	name := strings.TrimSuffix(backup, Suffix)
	return fmt.Sprintf("%s.epoch-%d%s", name, n.Epochs.Newest().Epoch, NoteSuffix)
}
