package node

import (
	"context"

	"github.com/carecircle/carecircle/circle/machine"
)

// SetOthers stands in for the circle's other replicas.
func SetOthers(o *Options, others Others) { o.others = others }

// TendVault does what the node does for its vault every few seconds.
func (n *Node) TendVault(ctx context.Context) error { return n.sealer.tendOnce(ctx, true) }

// SealCommand does to a command what Do does before it is logged.
func (n *Node) SealCommand(ctx context.Context, c machine.Command) (machine.Command, error) {
	return n.sealer.seal(ctx, c)
}

// TakeSnapshot has the replica take a snapshot now.
func (n *Node) TakeSnapshot() error { return n.replica.Snapshot() }

// SnapshotKey returns the key of the circle's snapshots.
func (k Keys) SnapshotKey() []byte { return k.snapshot() }
