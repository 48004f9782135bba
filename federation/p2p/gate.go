package p2p

import (
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// gate keeps strangers out: libp2p asks it at each step of every new connection. It never sees old
// connections; those are Drop's.
type gate struct {
	allow func(peer string) bool
	letIn func(dir network.Direction, peer string) bool
}

var _ connmgr.ConnectionGater = gate{}

func (g gate) InterceptPeerDial(p peer.ID) bool { return g.allow(p.String()) }

func (g gate) InterceptAddrDial(p peer.ID, _ ma.Multiaddr) bool { return g.allow(p.String()) }

// InterceptAccept knows only an address: who it is shows after the handshake. The resource limits hold
// until then.
func (g gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured is the first moment at which an incoming peer id is proven rather than claimed.
func (g gate) InterceptSecured(dir network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return g.letIn(dir, p.String())
}

func (g gate) InterceptUpgraded(conn network.Conn) (bool, control.DisconnectReason) {
	return g.letIn(conn.Stat().Direction, conn.RemotePeer().String()), 0
}
