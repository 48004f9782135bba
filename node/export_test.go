package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/node/replica"
	"github.com/carecircle/carecircle/node/store"
	"github.com/carecircle/carecircle/node/vault"
)

// SetOthers stands in for the circle's other replicas.
func SetOthers(o *Options, others Others) { o.others = others }

// TendVault does what the node does for its vault every few seconds.
func (n *Node) TendVault(ctx context.Context) error { return n.sealer.tendOnce(ctx, true) }

// SealCommand does to a command what Do does before it is logged.
func (n *Node) SealCommand(ctx context.Context, c machine.Command) (machine.Command, error) {
	return n.sealer.seal(ctx, c)
}

// Admits tells whether the machine of a libp2p peer id may open streams here.
func (n *Node) Admits(peer string) bool { return n.company.admits(peer) }

// Metrics is what Prometheus reads.
func (n *Node) Metrics() http.Handler { return n.watched.metrics.Handler() }

// PlantRow puts a row into the state of a stopped node that no command wrote.
func PlantRow(dir string) error {
	n := &Node{Dir: dir, options: Options{Log: slog.New(slog.DiscardHandler)}}
	var err error
	if n.Config, err = ReadConfig(dir); err != nil {
		return err
	}
	if n.files, err = n.Config.files(dir, vault.Master{}); err != nil {
		return err
	}
	if n.Keys, err = ReadKeys(n.files); err != nil {
		return err
	}
	state, err := store.OpenState(store.StateConfig{
		Dir: filepath.Join(dir, stateDir), EncryptionKey: n.Keys.Store[:], SnapshotKey: n.Keys.snapshot(),
		Log: n.options.Log, Fatal: func(e error) { err = e },
	})
	if err != nil {
		return err
	}
	state.Set([]byte("s/planted"), []byte{1})
	state.Commit(state.Applied())
	return errors.Join(err, state.Close())
}

// TakeSnapshot has the replica take a snapshot now.
func (n *Node) TakeSnapshot() error { return n.replica.Snapshot() }

// SnapshotKey returns the key of the circle's snapshots.
func (k Keys) SnapshotKey() []byte { return k.snapshot() }

// Counts tells whether raft counts a replica, as this one knows.
func (n *Node) Counts(id string) bool {
	return slices.ContainsFunc(n.replica.Servers(), func(s replica.Server) bool {
		return s.ID == id && s.Voter
	})
}
