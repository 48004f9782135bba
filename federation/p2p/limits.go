package p2p

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Every limit of this package. The sizes suit a small box in a care home; they are ceilings, not
// reservations.
const (
	defaultMessageBytes   = 1 << 20
	highestMessageBytes   = 16 << 20
	defaultTimeout        = 10 * time.Second
	defaultStreamsPerPeer = 16
	highestStreamsPerPeer = 64
	headerBytes           = 4
	maxListen             = 16
	maxAddrs              = 16 // of one peer in one Ask

	keepConns, trimConns = 64, 96 // above trimConns idle connections are closed until keepConns remain
	maxConns             = 128
	maxConnsPerPeer      = 8 // libp2p may dial eight addresses of one peer at once
	maxHandshakes        = 32
	maxStreams           = 1024
	spareStreams         = 8  // of one peer, for identify
	replicaStreams       = 32 // to and from one peer each, besides those for letters
	queuedStreams        = 16 // of replicas, not accepted yet
	maxFiles             = 128

	maxConnBytes      = 8 << 20
	maxHandshakeBytes = 8 << 20
	streamWindowBytes = 256 << 10 // yamux sets this aside for every open stream
	maxWindowBytes    = 1 << 20

	maxConnsPerIP      = 32 // several circles may share one address behind a provider's NAT
	newConnsPerIPBurst = 64
	newConnsPerIPRate  = 1.0 // a second
)

// newResources sets libp2p's accounting of connections, streams and memory by hand.
func newResources(cfg Config) (network.ResourceManager, error) {
	streams := cfg.MaxStreamsPerPeer
	// An asker counts a stream as done when it has the reply, a moment before this side has put the
	// stream away: twice as many are let in, so that a peer keeping to the limit is never turned away.
	letterStreams := rcmgr.ResourceLimits{
		StreamsInbound: rcmgr.LimitVal(2 * streams), StreamsOutbound: rcmgr.LimitVal(streams),
		Streams: rcmgr.LimitVal(3 * streams), Memory: peerBytes(cfg),
	}
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: maxConns, ConnsInbound: maxConns, ConnsOutbound: maxConns, FD: maxFiles,
			Streams: maxStreams, StreamsInbound: maxStreams, StreamsOutbound: maxStreams,
			Memory: 2 * peerBytes(cfg),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: maxHandshakes, ConnsInbound: maxHandshakes, ConnsOutbound: maxHandshakes,
			FD:      maxHandshakes,
			Streams: maxStreams, StreamsInbound: maxStreams, StreamsOutbound: maxStreams,
			Memory: maxHandshakeBytes,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: maxConnsPerPeer, ConnsInbound: maxConnsPerPeer, ConnsOutbound: maxConnsPerPeer,
			FD:              maxConnsPerPeer,
			StreamsInbound:  rcmgr.LimitVal(2*streams + spareStreams + replicaStreams),
			StreamsOutbound: rcmgr.LimitVal(streams + spareStreams + replicaStreams),
			Streams:         rcmgr.LimitVal(3*streams + 2*spareStreams + 2*replicaStreams),
			Memory:          peerBytes(cfg),
		},
		ProtocolPeer: map[protocol.ID]rcmgr.ResourceLimits{
			letters: letterStreams,
			knocks:  streamsOf(knockStreams), replicas: streamsOf(replicaStreams),
		},
		Conn:   rcmgr.ResourceLimits{Memory: maxConnBytes},
		Stream: rcmgr.ResourceLimits{Memory: rcmgr.LimitVal64(cfg.MaxMessageBytes + streamWindowBytes)},
	}
	perIP := rate.Limit{RPS: newConnsPerIPRate, Burst: newConnsPerIPBurst}
	loopback4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	loopback6 := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	options := []rcmgr.Option{
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxConnsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: maxConnsPerIP}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			// Whoever dials over the loopback is on this machine already: a zero limit is no limit.
			NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: loopback4}, {Prefix: loopback6}},
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perIP}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: perIP}},
				GracePeriod:      time.Minute,
			},
		}),
	}
	if cfg.Registerer == nil {
		options = append(options, rcmgr.WithMetricsDisabled())
	}
	// A scale of zero gives the library's fixed smallest figures for what is not named above, whatever
	// the machine.
	limiter := rcmgr.NewFixedLimiter(limits.Build(rcmgr.DefaultLimits.Scale(0, 0)))
	resources, err := rcmgr.NewResourceManager(limiter, options...)
	if err != nil {
		return nil, fmt.Errorf("resource limits: %w", err)
	}
	return resources, nil
}

// streamsOf limits the streams of one protocol to and from one peer: so many each way.
func streamsOf(each rcmgr.LimitVal) rcmgr.ResourceLimits {
	return rcmgr.ResourceLimits{
		StreamsInbound: each, StreamsOutbound: each, Streams: 2 * each,
		Memory: rcmgr.LimitVal64(2*each) * maxWindowBytes,
	}
}

// peerBytes is the memory one peer may occupy: a window for every stream, a full set of largest requests,
// some spare.
func peerBytes(cfg Config) rcmgr.LimitVal64 {
	streams := int64(cfg.MaxStreamsPerPeer)
	windows := (3*streams + 2*spareStreams + 2*replicaStreams) * streamWindowBytes
	return rcmgr.LimitVal64(windows + (streams+4)*int64(cfg.MaxMessageBytes))
}
