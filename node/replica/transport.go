package replica

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

const (
	streamTimeout = 10 * time.Second // of one message to another replica; a snapshot gets more
	streamsKept   = 3                // idle, to each other replica
)

// Dial opens a stream to the replica of an id.
type Dial func(ctx context.Context, id string) (net.Conn, error)

// NewTransport lets raft speak over streams that somebody else opens, authenticates and encrypts. The
// listener's address is this replica's id.
func NewTransport(l net.Listener, dial Dial, log *slog.Logger) raft.Transport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream{l, dial}, MaxPool: streamsKept, Timeout: streamTimeout, Logger: raftLogger(log),
	})
}

type stream struct {
	net.Listener
	dial Dial
}

// Dial implements raft.StreamLayer.
func (s stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	id, _, _ := strings.Cut(string(to), lifeMark)
	return s.dial(ctx, id)
}

// lifeMark stands between a replica's id and its life in the address that raft keeps.
const lifeMark = "/"

// address is what raft keeps for a replica: its id and, once its disks were lost, which life it is in. So the
// replica that begins anew is not taken for the one whose votes and entries are gone.
func address(id string, life uint32) raft.ServerAddress {
	if life == 0 {
		return raft.ServerAddress(id)
	}
	return raft.ServerAddress(id + lifeMark + strconv.FormatUint(uint64(life), 10))
}
