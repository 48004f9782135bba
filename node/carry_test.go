package node_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/federation/p2p"
	"github.com/carecircle/carecircle/node"
)

// libp2pConfig has the replicas speak over libp2p, without gossip.
func libp2pConfig(t *testing.T) node.Config {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := replicaConfig(t)
	cfg.Replica = &node.ReplicaConfig{
		ID: replicas.First, Transport: "libp2p", Listen: "/ip4/127.0.0.1/tcp/" + port,
	}
	return cfg
}

// The same over libp2p: replicas join, forward, read, come back and are removed. A machine that is neither
// invited nor a replica opens no stream.
func TestReplicasOverLibp2p(t *testing.T) {
	c := companyOf(t, 3, libp2pConfig)
	alice := c.invite(1, "Alice")
	for i := range 3 {
		c.must(i, "coin.earn", coin.Earn{Person: alice, Minutes: 60, Activity: "garden"})
	}
	for i := range 3 {
		if got := c.earned(i, alice); got != 180 {
			t.Errorf("replica %d reads %d minutes", i, got)
		}
	}
	for _, i := range []int{0, 2} {
		c.stop(i)
		c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 10, Activity: "garden"})
		c.start(i)
	}
	if got := c.earned(2, alice); got != 200 {
		t.Errorf("back again, it reads %d minutes", got)
	}
	invitation, err := c.nodes[0].InviteReplica(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = node.Join(t.Context(), filepath.Join(t.TempDir(), "r4"), invitation, replicaConfig(t))
	if err == nil || !strings.Contains(err.Error(), "--transport libp2p") {
		t.Errorf("joining over TCP: %v", err)
	}
	c.must(0, "replicas.remove", replicas.Named{ID: "r3"})
	select {
	case err := <-c.fatal[2]:
		t.Log(err)
	case <-time.After(time.Minute):
		t.Error("the removed replica goes on")
	}
	c.stop(2)
	c.must(1, "coin.earn", coin.Earn{Person: alice, Minutes: 5, Activity: "garden"})
	if a, b := c.earned(0, alice), c.earned(1, alice); a != 205 || b != 205 {
		t.Errorf("%d and %d minutes", a, b)
	}
}

// TestAdmits: over libp2p only the replicas' machines come in, and while somebody is invited, anybody as far
// as the request to join.
func TestAdmits(t *testing.T) {
	c := companyOf(t, 1, libp2pConfig)
	n := c.nodes[0]
	ours, err := p2p.PeerID(n.Keys.HostPublic())
	if err != nil {
		t.Fatal(err)
	}
	c.until("its own list is known", func() bool { return n.Admits(ours) && !n.Admits("12D3KooWstranger") })
	if _, err := n.InviteReplica(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !n.Admits("12D3KooWstranger") {
		t.Error("an invited machine cannot ask to join")
	}
}
