package node

import (
	"context"
	"net/http"

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

// Admits tells whether the machine of a libp2p peer id may open streams here.
func (n *Node) Admits(peer string) bool { return n.company.admits(peer) }

// Metrics is what Prometheus reads.
func (n *Node) Metrics() http.Handler { return n.watched.metrics.Handler() }
