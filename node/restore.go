package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// restoredFile is the note of the restore that made a node's directory.
const restoredFile = "restored.json"

// Restoring is a backup to be restored.
type Restoring struct {
	File     string
	Identity backup.Identity
	Dir      string   // the new node's: empty, or not there yet
	Known    []string // files and directories with other backups and notes; those beside File are read anyway
	Why      string   // for everybody in the circle
	// Change fits the config to the new machine. What the backup says of replicas is gone before.
	Change func(*Config)
	Now    time.Time
	Log    func(format string, args ...any) // what is being done, for whoever waits
}

// Restored is what a restore made.
type Restored struct {
	Manifest backup.Manifest
	Note     backup.Note
	NotePath string // beside the backup
	Config   Config
}

// Restore makes a new node's directory of a backup: the circle as it was then, on one replica, with new keys
// for this machine. The node opens the new epoch at its first start. A backup of a timeline that the circle
// has left is refused.
func Restore(ctx context.Context, r Restoring) (Restored, error) {
	var done Restored
	f, err := backup.Open(r.File)
	if err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	done, err = r.restore(ctx, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return done, fmt.Errorf("restore: %w", err)
	}
	return done, nil
}

func (r Restoring) restore(ctx context.Context, f *backup.File) (Restored, error) {
	done := Restored{Manifest: f.Manifest}
	known, err := r.mayBegin(f)
	if err != nil {
		return done, err
	}
	r.Log("Reading %s ...", r.File)
	if err := f.CheckBody(ctx); err != nil {
		return done, err
	}
	contents, state, err := f.Unseal(r.Identity)
	if err != nil {
		return done, err
	}
	if err := contents.Check(f.Manifest.Signer); err != nil {
		return done, err
	}
	if done.Config, err = parseConfig(contents.Config); err != nil {
		return done, fmt.Errorf("the config in the backup: %w", err)
	}
	done.Config.Replica = nil // it has the addresses of a machine that is lost
	r.Change(&done.Config)
	if done.Config.Replica != nil {
		done.Config.Replica.ID, done.Config.Replica.Joined = replicas.First, false
	}
	if err := done.Config.Check(); err != nil {
		return done, err
	}
	undo, err := claim(r.Dir)
	if err != nil {
		return done, err
	}
	err = r.fill(f.Manifest, contents, state)
	if err == nil {
		err = r.finish(ctx, known, &done)
	}
	if err != nil {
		return done, errors.Join(err, undo())
	}
	return done, nil
}

// claim makes the directory, unless it is there and empty, and returns what empties it again. It is filled
// where it is, not beside: it may be a mount of its own.
func claim(dir string) (undo func() error, err error) {
	made := false
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		made = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return func() error {
		if made {
			return os.RemoveAll(dir)
		}
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return err
	}, nil
}

// mayBegin refuses a directory in use and an abandoned backup, and returns what is known of others.
func (r Restoring) mayBegin(f *backup.File) (*backup.Known, error) {
	entries, err := os.ReadDir(r.Dir)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	case len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty: choose an empty or new directory", r.Dir)
	}
	places := append([]string{filepath.Dir(r.File)}, r.Known...)
	known, err := backup.Gather(f.Manifest.Circle, places...)
	if err != nil {
		return nil, err
	}
	for _, u := range known.Unread {
		r.Log("Cannot be read, so what it tells of later restores is not known: %v", u.Err)
	}
	return known, known.Judge(f.Manifest)
}

// fill makes the node's directory, but for its note and its config.
func (r Restoring) fill(m backup.Manifest, contents backup.Contents, state io.Reader) error {
	for name, secret := range contents.Secrets {
		if name != filepath.Base(name) || name == hostKey || name == storeKey || name == operatorFile {
			return fmt.Errorf("the backup holds a file %q, which no backup should", name)
		}
		if err := vault.WriteFile(filepath.Join(r.Dir, name), secret, secretMode); err != nil {
			return err
		}
	}
	if err := writeMachineSecrets(r.Dir); err != nil {
		return err
	}
	r.Log("Putting back %d rows, as of command %d ...", m.Rows, m.Position)
	return seed(r.Dir, m, state)
}

// seed makes the stores of a replica that goes on from the backup's state, which it checks meanwhile.
func seed(dir string, m backup.Manifest, state io.Reader) error {
	// Every error that is fatal to a node comes back here as well.
	n := &Node{Dir: dir, options: Options{Fatal: func(error) {}, Log: slog.New(slog.DiscardHandler)}}
	var err error
	if n.Keys, err = ReadKeys(&vault.Files{Dir: dir}); err != nil {
		return err
	}
	if err := n.openStores(); err != nil {
		return errors.Join(err, n.Close())
	}
	back, check := io.Pipe()
	found := make(chan error, 1)
	go func() {
		err := m.ReadState(back, func(_, _ []byte) error { return nil })
		_ = back.CloseWithError(err) // never fails
		found <- err
	}()
	sealed := sealedBy(n.Keys.snapshot(), io.TeeReader(state, check))
	err = replica.Seed(replica.Config{
		ID: replicas.First, Dir: filepath.Join(dir, snapshotDir), Log: n.log, Logger: n.options.Log,
	}, m.Index, m.Term, sealed)
	_ = check.CloseWithError(err) // never fails; nil is the end
	_ = sealed.Close()            // the same
	if readErr := <-found; err == nil {
		err = readErr
	}
	return errors.Join(err, n.Close())
}

// sealedBy returns what it reads, sealed as the replica seals its own snapshots.
func sealedBy(key []byte, clear io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		_ = in.CloseWithError(store.SealSnapshot(key, in, func(w io.Writer) error { // never fails
			_, err := io.Copy(w, clear)
			return err
		}))
	}()
	return out
}

// finish writes the note and then the config, with which the directory is whole. The note beside the backup
// is ready before, so that little can go wrong with it.
func (r Restoring) finish(ctx context.Context, known *backup.Known, done *Restored) error {
	keys, err := ReadKeys(&vault.Files{Dir: r.Dir})
	if err != nil {
		return err
	}
	var line []byte
	if done.Note, line, err = known.NoteFor(done.Manifest, keys.Circle, r.Why, r.Now); err != nil {
		return err
	}
	if err := vault.WriteFile(filepath.Join(r.Dir, restoredFile), line, 0o644); err != nil {
		return err
	}
	done.NotePath = backup.NotePath(r.File, done.Note)
	ready := done.NotePath + ".new"
	if err := vault.WriteFile(ready, line, 0o644); err != nil {
		return fmt.Errorf("a note of the restore stays beside the backup: copy it to where it can: %w", err)
	}
	if err := errors.Join(ctx.Err(), writeConfig(r.Dir, done.Config)); err != nil {
		return errors.Join(err, os.Remove(ready))
	}
	err = errors.Join(os.Rename(ready, done.NotePath), vault.SyncDir(filepath.Dir(done.NotePath)))
	if err != nil {
		return fmt.Errorf("the note of the restore cannot stay beside the backup: %w", err)
	}
	return nil
}

// toOpen returns the note of the restore that made this directory until a state holds its epoch; nil: there
// is no epoch to begin.
func (n *Node) toOpen(r machine.Reader) (*backup.Note, error) {
	note, err := backup.ReadNote(filepath.Join(n.Dir, restoredFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if note.Circle != n.Keys.CircleID() {
		return nil, fmt.Errorf("%s is of another circle: put back the one of this node", restoredFile)
	}
	if timeline.Newest(r).Epoch >= note.Epochs.Newest().Epoch {
		return nil, nil
	}
	return &note, nil
}

// openEpoch begins the new epoch of a circle that was restored into this directory, before anything is
// served or signed in its name, and leaves the circle with this machine alone. Doing it again changes
// nothing.
func (n *Node) openEpoch(ctx context.Context) error {
	var note *backup.Note
	err := n.replica.Read(func(r machine.Reader) error {
		var err error
		note, err = n.toOpen(r)
		return err
	})
	if err != nil || note == nil {
		return err
	}
	mark := note.Epochs.Newest()
	body := timeline.Open{
		Epoch: mark.Epoch, FromPosition: mark.FromPosition, FromHead: mark.FromHead, Backup: mark.Backup,
		Why: note.Why, At: mark.At, Host: n.Keys.HostPublic(),
	}
	sum := letter.HashOf(fmt.Appendf(nil, "open epoch %+v", mark))
	c, err := machine.NewCommand(machine.ID(sum[:16]), machine.Caller{Actor: machine.ActorNode}, 0,
		"timeline.open", body)
	if err != nil {
		return err
	}
	out, err := n.replica.Do(ctx, c)
	if err == nil && out.Refusal != nil {
		err = out.Refusal
	}
	if err != nil {
		return fmt.Errorf("open epoch %d of the restored circle: %w", mark.Epoch, err)
	}
	n.options.Log.Info("a new epoch began with the restored books", "epoch", mark.Epoch,
		"command", mark.FromPosition)
	return nil
}
