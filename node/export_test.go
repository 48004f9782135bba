package node

import "context"

// TendVault does what the node does for its vault every few seconds.
func (n *Node) TendVault(ctx context.Context) error { return n.sealer.tendOnce(ctx, true) }
