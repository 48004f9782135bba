package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/node/backup"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/vault"
)

const (
	backupTick     = time.Minute // how often to look whether one is due
	freezeTries    = 5
	backupPatience = 20 * time.Second // for whoever fetches one to take the next piece
	secretMode     = 0o600
)

var errNoBackups = errors.New(`config.json has no "backup": add {"recipients": [...]} with at least two age` +
	` recipients, the circle's own and the co-op's escrow; "carecircle backup keygen FILE" makes one`)

// Backup writes a backup of the circle as it is between two commands, while the node goes on.
func (n *Node) Backup(ctx context.Context, w io.Writer, progress func(bytes int64)) (backup.Manifest, error) {
	if n.Config.Backup == nil {
		return backup.Manifest{}, errNoBackups
	}
	f, err := n.freeze(ctx)
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("make a backup: %w", err)
	}
	defer f.Close()
	contents, err := n.backupContents(f.vault)
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("make a backup: %w", err)
	}
	return backup.Write(ctx, w, backup.Job{
		Config: *n.Config.Backup, Key: n.Keys.Circle, Contents: contents, State: f, Index: f.Index,
		Term: f.Term, Meta: f.Meta, Epochs: backup.HistoryOf(f.epochs), Now: time.Now(),
		Program: n.options.Version, Progress: progress,
	})
}

// frozen is the state between two commands, with what belongs to it.
type frozen struct {
	*replica.Frozen
	epochs []timeline.Epoch
	vault  []byte // the keys that open it; nil: nothing was sealed yet
}

// freeze fixes the state and the vault of the same moment. The key in use is fetched first where this replica
// does not hold it yet; the vault may turn in between, so it tries again.
func (n *Node) freeze(ctx context.Context) (frozen, error) {
	var err error
	for range freezeTries {
		if now, ok, lookErr := n.sealer.inUse(); lookErr != nil {
			return frozen{}, lookErr
		} else if ok {
			if _, err = n.sealer.entry(ctx, now); err != nil {
				return frozen{}, err
			}
		}
		var f frozen
		f.Frozen, err = n.replica.Freeze(func(r machine.Reader) error {
			f.epochs = timeline.All(r)
			var err error
			f.vault, err = n.vaultOf(r)
			return err
		})
		if !errors.Is(err, errNoKey) {
			return f, err
		}
	}
	return frozen{}, err
}

// errNoKey says that the vault's key in use is not on this machine yet.
var errNoKey = errors.New("the vault turned meanwhile: try again")

// vaultOf returns the vault as it belongs to a state: while that is held, nothing is destroyed that opens it.
func (n *Node) vaultOf(r machine.Reader) ([]byte, error) {
	now, ok := member.TheVault(r)
	if !ok {
		return nil, nil
	}
	if _, here := n.sealer.vault.Export(now.Version, now.Mark); !here {
		return nil, errNoKey
	}
	return n.sealer.vault.Contents()
}

func (n *Node) backupContents(vaultFile []byte) (backup.Contents, error) {
	config, err := json.Marshal(n.Config)
	if err != nil {
		return backup.Contents{}, err
	}
	seed, err := n.files.Read(circleKey)
	if err != nil {
		return backup.Contents{}, err
	}
	c := backup.Contents{Config: config, Secrets: map[string][]byte{circleKey: seed}}
	if vaultFile != nil {
		c.Secrets[vault.FileName] = vaultFile
	}
	return c, nil
}

// BackupKeeper returns the keeper of the backups of the node in a directory, for whom the node need not
// run; its Make is not set.
func BackupKeeper(dir string) (*backup.Keeper, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	if c.Backup == nil {
		return nil, errNoBackups
	}
	files, err := c.files(dir, vault.Master{})
	if err != nil {
		return nil, err
	}
	seed, err := readSecret(files, circleKey)
	if err != nil {
		return nil, err
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return &backup.Keeper{Config: c.Backup.In(dir), Circle: letter.CircleIDOf(public)}, nil
}

// keepBackups makes backups, deletes old ones and runs restore drills when they are due, until ctx ends.
func (n *Node) keepBackups(ctx context.Context) {
	if n.Config.Backup == nil {
		return
	}
	n.backups = &backup.Keeper{
		Config: n.Config.Backup.In(n.Dir), Circle: n.Keys.CircleID(),
		Make: func(ctx context.Context, w io.Writer) error {
			_, err := n.Backup(ctx, w, nil)
			return err
		},
	}
	n.running.Go(func() {
		tick := time.NewTicker(backupTick)
		defer tick.Stop()
		for {
			// Status has the error too, until a later attempt goes well.
			if err := n.backups.Tick(ctx, time.Now()); err != nil && ctx.Err() == nil {
				n.options.Log.Error("backups are not as they should be", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// BackupStatus returns how backups and drills do; nil where the config asks for none.
func (n *Node) BackupStatus() *backup.Status {
	if n.backups == nil {
		return nil
	}
	s := n.backups.Status()
	return &s
}

// sendBackup makes a backup for whoever runs the node. It is sent as it is made; one that breaks off has
// no end, so that nobody can take it for whole.
func (n *Node) sendBackup(w http.ResponseWriter, r *http.Request) error {
	if n.Config.Backup == nil {
		w.WriteHeader(http.StatusConflict)
		return writeJSON(w, machine.Refuse("not_configured", "The node's %v.", errNoBackups))
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	to := &patient{w: w, c: http.NewResponseController(w)}
	_, err := n.Backup(r.Context(), to, nil)
	if err != nil && to.began {
		n.options.Log.Error("a backup broke off while it was sent", "err", err)
		panic(http.ErrAbortHandler) // the only way to end an answer that has begun
	}
	return err
}

// patient gives the other side time for every piece, however long the whole takes.
type patient struct {
	w     io.Writer
	c     *http.ResponseController
	began bool
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(backupPatience)); err != nil {
		return 0, err
	}
	p.began = true
	return p.w.Write(b)
}
