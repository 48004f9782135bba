package p2p

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/prometheus/client_golang/prometheus"
)

// newLibp2p builds the libp2p host with nothing of the library's defaults for open networks: no relay
// unless one is asked for by name, no AutoNAT, no discovery, no listen address, two transports.
func newLibp2p(cfg Config, extra []libp2p.Option) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	resources, err := newResources(cfg)
	if err != nil {
		return nil, err
	}
	conns, err := connmgr.NewConnManager(keepConns, trimConns)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connection limits: %w", err), resources.Close())
	}
	muxer := *yamux.DefaultTransport
	muxer.MaxStreamWindowSize = maxWindowBytes
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent(agent), libp2p.ProtocolVersion(agent),
		libp2p.ConnectionGater(gate{cfg.Allow, cfg.letIn}),
		libp2p.ResourceManager(resources), libp2p.ConnectionManager(conns),
		// Without port reuse a second process on the same port is told so, instead of taking half the
		// connections.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(noise.ID, noise.New), libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, &muxer),
		libp2p.NoListenAddrs, libp2p.EnableRelay(), libp2p.Ping(false),
		// A reachability that is decided needs no AutoNAT probes. Addresses come from the charter, not
		// from peers.
		libp2p.ForceReachabilityPrivate(), libp2p.DisableIdentifyAddressDiscovery(),
		// With few peers, one that is off for a night would pass for a network without UDP or IPv6.
		libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.WithDialTimeout(cfg.Timeout),
	}
	if cfg.Registerer != nil {
		options = append(options, libp2p.PrometheusRegisterer(cfg.Registerer))
	} else {
		// libp2p's event bus would else register with the process's default registry.
		options = append(options,
			libp2p.PrometheusRegisterer(prometheus.NewRegistry()), libp2p.DisableMetrics())
	}
	h, err := libp2p.New(append(options, extra...)...)
	if err != nil {
		return nil, errors.Join(err, conns.Close(), resources.Close())
	}
	return h, nil
}
