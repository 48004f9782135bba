package p2p

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// A stream is kept for the next question to the same peer: a new one takes several packets and goroutines on
// both sides, which for small letters is most of the work.
const (
	idleKept    = 20 * time.Second
	idleServed  = 2 * idleKept // the side that asks gives up first
	idleStreams = 2            // kept of one protocol to one peer
)

// idle holds streams on which everything asked was answered.
type idle struct {
	mu   sync.Mutex
	kept map[lane][]rested
}

type lane struct {
	peer peer.ID
	what protocol.ID
}

type rested struct {
	stream network.Stream
	since  time.Time
}

// take returns a stream to a peer, or nil.
func (i *idle) take(to peer.ID, what protocol.ID) network.Stream {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := lane{to, what}
	i.sweep(at)
	all := i.kept[at]
	if len(all) == 0 {
		return nil
	}
	last := all[len(all)-1]
	i.kept[at] = all[:len(all)-1]
	return last.stream
}

// keep takes a stream back, or ends it where there are enough.
func (i *idle) keep(s network.Stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := lane{s.Conn().RemotePeer(), s.Protocol()}
	if i.kept == nil {
		i.kept = map[lane][]rested{}
	}
	for other := range i.kept {
		i.sweep(other)
	}
	if len(i.kept[at]) >= idleStreams {
		_ = s.Close() // all was said on it
		return
	}
	i.kept[at] = append(i.kept[at], rested{s, time.Now()})
}

// sweep ends the streams that have rested long.
func (i *idle) sweep(at lane) {
	long := time.Now().Add(-idleKept)
	left := slices.DeleteFunc(i.kept[at], func(r rested) bool {
		if r.since.Before(long) {
			_ = r.stream.Close() // all was said on it
			return true
		}
		return false
	})
	if len(left) == 0 {
		delete(i.kept, at)
		return
	}
	i.kept[at] = left
}
