package node

import "context"

// SetOthers stands in for the circle's other replicas.
func SetOthers(o *Options, others Others) { o.others = others }

// TendVault does what the node does for its vault every few seconds.
func (n *Node) TendVault(ctx context.Context) error { return n.sealer.tendOnce(ctx, true) }
