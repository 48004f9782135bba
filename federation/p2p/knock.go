package p2p

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// knocks is the protocol of those who are not known yet and ask to be.
const knocks protocol.ID = "/carecircle/join/1"

const (
	maxKnockBytes = 64 << 10
	maxStrangers  = 8                // connected at once
	strangersStay = 15 * time.Second // at most
	knockStreams  = 2                // of one peer at once
)

// Knock is Ask of a peer that need not allow this host yet: it is answered by the peer's Config.Knock.
func (h *Host) Knock(ctx context.Context, addrs []string, request []byte) ([]byte, error) {
	return h.askFor(ctx, addrs, knocks, request)
}

// letIn says whether a peer may connect: who is allowed, and those who come to knock while that is open.
func (cfg Config) letIn(dir network.Direction, id string) bool {
	return cfg.Allow(id) || dir == network.DirInbound && cfg.Knock != nil && cfg.Knocking()
}

// welcomeStranger leaves the connection of one who comes to knock a short time, if there are not many.
func (h *Host) welcomeStranger(conn network.Conn) {
	id := conn.RemotePeer().String()
	strangers := 0
	for _, p := range h.Connected() {
		if !h.cfg.Allow(p) {
			strangers++
		}
	}
	if strangers > maxStrangers {
		h.cutOff(conn)
		return
	}
	time.AfterFunc(strangersStay, func() {
		if !h.cfg.Allow(id) {
			h.cutOff(conn)
		}
	})
}

func (h *Host) cutOff(conn network.Conn) {
	if err := conn.CloseWithError(network.ConnGated); err != nil {
		h.log.Debug("close refused connection", "peer", conn.RemotePeer().String(), "error", err)
	}
}
