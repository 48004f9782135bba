package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
)

// partSuffix marks a backup being written. One that a killed program left is removed after a day.
const (
	partSuffix = ".part"
	partLife   = 24 * time.Hour
)

const stateGood = "good"

// retryAfter is how long the keeper waits after something went wrong.
const retryAfter = 15 * time.Minute

// Name names the file of a backup made now.
func Name(circle letter.CircleID, now time.Time) string {
	return fmt.Sprintf("%.9s-%s%s", circle, now.UTC().Format("20060102T150405Z"), Suffix)
}

// WriteFile has fill write a backup, reads it back, and only then gives it its name: under that name there
// is a whole backup, on disk, or none. It refuses a name that is taken.
func WriteFile(ctx context.Context, path string, fill func(io.Writer) error) (Manifest, error) {
	m, err := writeFile(ctx, path, fill)
	if err != nil {
		return m, fmt.Errorf("write the backup %s: %w", path, err)
	}
	return m, nil
}

func writeFile(ctx context.Context, path string, fill func(io.Writer) error) (Manifest, error) {
	if !strings.HasSuffix(path, Suffix) {
		return Manifest{}, fmt.Errorf("its name must end in %s", Suffix)
	}
	if _, err := os.Lstat(path); err == nil {
		return Manifest{}, errors.New("there is a file of that name already: choose another")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Manifest{}, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+partSuffix)
	if err != nil {
		return Manifest{}, err
	}
	err = fill(f)
	err = errors.Join(err, f.Sync(), f.Close())
	var m Manifest
	if err == nil {
		m, err = readBack(ctx, f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return m, errors.Join(err, os.Remove(f.Name()))
	}
	return m, syncDir(filepath.Dir(path))
}

func readBack(ctx context.Context, path string) (Manifest, error) {
	f, err := Open(path)
	if err != nil {
		return Manifest{}, err
	}
	return f.Manifest, errors.Join(f.CheckBody(ctx), f.Close())
}

// Keeper keeps one node's backups: it makes them when they are due, deletes those that have expired and
// runs the restore drill. Its methods may be called from any goroutine.
type Keeper struct {
	Config Config // its paths as Config.In gives them
	Circle letter.CircleID
	Make   func(ctx context.Context, w io.Writer) error // writes a backup

	mu     sync.Mutex // one at a time of what it does
	told   sync.Mutex // guards what follows
	wait   time.Time  // do nothing before
	failed error      // of what was done last; nil: all went well
}

// Status is how backups do.
type Status struct {
	Dir        string `json:"dir"`
	LastBackup *Entry `json:"lastBackup,omitempty"`
	LastDrill  *Drill `json:"lastDrill,omitempty"`
	Failed     string `json:"failed,omitempty"` // why the newest attempt came to nothing
}

// Entry is a backup in a list.
type Entry struct {
	File     string `json:"file"`
	MadeAt   string `json:"madeAt,omitempty"`
	Expires  string `json:"expires,omitempty"`
	Position uint64 `json:"position,omitempty"`
	Epoch    uint64 `json:"epoch"`
	Bytes    int64  `json:"bytes,omitempty"`
	State    string `json:"state"` // good, abandoned or unreadable
}

// Status returns how the backups in the directory do.
func (k *Keeper) Status() Status {
	k.told.Lock()
	failed := k.failed
	k.told.Unlock()
	s := Status{Dir: k.Config.Dir}
	list, err := k.List()
	drills, drillErr := ReadDrills(k.Config.Dir)
	if err := errors.Join(failed, err, drillErr); err != nil {
		s.Failed = err.Error()
	}
	for _, e := range list {
		if e.State == stateGood {
			s.LastBackup = &e
			break
		}
	}
	if len(drills) > 0 {
		s.LastDrill = &drills[len(drills)-1]
	}
	return s
}

// known reads the directory; there need not be one yet.
func (k *Keeper) known() (*Known, error) {
	known, err := Gather(k.Circle, k.Config.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return &Known{Circle: k.Circle}, nil
	}
	return known, err
}

// List returns this circle's backups in the directory, newest first, and after them what cannot be read.
func (k *Keeper) List() ([]Entry, error) {
	known, err := k.known()
	if err != nil {
		return nil, err
	}
	out := []Entry{}
	for _, b := range known.Backups {
		e := entryOf(b)
		if !known.Good(b.Manifest) {
			e.State = "abandoned"
		}
		out = append(out, e)
	}
	for _, u := range known.Unread {
		out = append(out, Entry{File: u.Path, State: "unreadable: " + u.Err.Error()})
	}
	return out, nil
}

func entryOf(b Stored) Entry {
	m := b.Manifest
	return Entry{
		File: b.Path, MadeAt: when(m.MadeAt), Expires: when(m.ExpiresAt), Position: m.Position,
		Epoch: m.Epochs.Newest().Epoch, Bytes: m.SealedBytes, State: stateGood,
	}
}

// Copies lists this circle's backups in the directory for whoever was erased after them, with when they go.
func (k *Keeper) Copies() ([]member.Copy, error) {
	known, err := k.known()
	if err != nil {
		return nil, err
	}
	out := []member.Copy{}
	for _, b := range known.Backups {
		m := b.Manifest
		out = append(out, member.Copy{Name: filepath.Base(b.Path), Made: m.MadeAt, Expires: m.ExpiresAt})
	}
	for _, u := range known.Unread {
		out = append(out, member.Copy{Name: filepath.Base(u.Path) + " (cannot be read)"})
	}
	return out, nil
}

// Tick does what is due: a backup, the deletion of those that have expired, a restore drill.
func (k *Keeper) Tick(ctx context.Context, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.wait) {
		return nil
	}
	err := k.tick(ctx, now)
	k.wait = time.Time{}
	if err != nil {
		k.wait = now.Add(retryAfter)
	}
	k.told.Lock()
	defer k.told.Unlock()
	k.failed = err
	return err
}

func (k *Keeper) tick(ctx context.Context, now time.Time) error {
	known, err := k.known()
	if err != nil {
		return err
	}
	if k.due(known, now) {
		stored := Stored{Path: filepath.Join(k.Config.Dir, Name(k.Circle, now))}
		fill := func(w io.Writer) error { return k.Make(ctx, w) }
		if stored.Manifest, err = WriteFile(ctx, stored.Path, fill); err != nil {
			return err
		}
		if err := known.Judge(stored.Manifest); err != nil {
			err = fmt.Errorf("this node is not the circle's any more, stop it: %w", err)
			return errors.Join(err, os.Remove(stored.Path))
		}
		known.Backups = append([]Stored{stored}, known.Backups...)
	}
	if err := k.expire(known, now); err != nil {
		return err
	}
	return k.drillIfDue(ctx, now)
}

func (k *Keeper) due(known *Known, now time.Time) bool {
	if k.Config.EveryHours == 0 {
		return false
	}
	every := time.Duration(k.Config.EveryHours) * time.Hour
	newest, ok := known.newest()
	return !ok || !now.Before(time.UnixMilli(newest.Manifest.MadeAt).Add(every))
}

// expire deletes this circle's backups that have expired, but never the newest that can be restored, and
// what was left unfinished.
func (k *Keeper) expire(known *Known, now time.Time) error {
	var errs []error
	newest, _ := known.newest()
	for _, b := range known.Backups {
		if b.Path != newest.Path && now.UnixMilli() >= b.Manifest.ExpiresAt {
			errs = append(errs, os.Remove(b.Path))
		}
	}
	parts, err := filepath.Glob(filepath.Join(k.Config.Dir, "*"+Suffix+".*"+partSuffix))
	errs = append(errs, err)
	for _, part := range parts {
		if info, err := os.Stat(part); err == nil && now.Sub(info.ModTime()) > partLife {
			errs = append(errs, os.Remove(part))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete expired backups: %w", err)
	}
	return nil
}
