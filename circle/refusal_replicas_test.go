package circle_test

import (
	"bytes"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
)

func hostKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// addReplicas gives the stage two replicas that count, one that joins, and one that was removed.
func addReplicas(s *stage) {
	hb := s.hb
	hb.must("node", "replicas.register", replicas.Register{ID: replicas.First, Host: hostKey(1)})
	for i, link := range []string{"second", "third", "fourth"} {
		hb.must("operator", "replicas.invite", replicas.Invite{Invitation: secret(link), Until: hb.now + day})
		hb.must("node", "replicas.join", replicas.Join{Invitation: secret(link), Host: hostKey(byte(2 + i))})
	}
	hb.must("node", "replicas.promote", replicas.Named{ID: "r2"})
	hb.must("operator", "replicas.remove", replicas.Named{ID: "r4"})
	hb.must("operator", "replicas.invite", replicas.Invite{Invitation: secret("free"), Until: hb.now + day})
	s.td.must("node", "replicas.register", replicas.Register{ID: replicas.First, Host: hostKey(1)})
}

func replicaCases(s *stage) map[string]kindCase {
	now := s.hb.now
	one := replicas.Register{ID: replicas.First, Host: hostKey(1), Addrs: []string{"10.0.0.1:7201"}}
	shortKey, noID, otherHost, stranger, gone := one, one, one, one, one
	shortKey.Host, noID.ID, otherHost.Host, stranger.ID = one.Host[1:], "one ", hostKey(9), "r9"
	gone.ID, gone.Host = "r4", hostKey(4)
	manyAddrs, badAddr, longGossip := one, one, one
	longGossip.Gossip = strings.Repeat("1", 300)
	manyAddrs.Addrs, badAddr.Letters = make([]string, 9), []string{""}
	invite := replicas.Invite{Invitation: secret("more"), Until: now + day}
	join := replicas.Join{Invitation: secret("free"), Host: hostKey(5)}
	used, noSuch, twice := join, join, join
	used.Invitation, noSuch.Invitation, twice.Host = secret("second"), secret("nobody's"), hostKey(2)
	named := func(id string) replicas.Named { return replicas.Named{ID: id} }
	return map[string]kindCase{
		"replicas.register": {good: asked{by: "node", body: one}, refused: []asked{
			{"operator", "", one, "not_allowed"},
			{"node", "", shortKey, "bad_host"},
			{"node", "", noID, "replica_unknown"},
			{"node", "", stranger, "replica_unknown"},
			{"node", "", otherHost, "replica_other_host"},
			{"node", "", gone, "replica_removed"},
			{"node", "", manyAddrs, "too_many"},
			{"node", "", badAddr, "bad_address"},
			{"node", "", longGossip, "bad_address"},
		}},
		"replicas.invite": {good: asked{by: "operator", body: invite}, refused: []asked{
			{"Farida", "", invite, "not_allowed"},
			{"operator", "", replicas.Invite{Until: now + day}, "link_missing"},
			{"operator", "", replicas.Invite{Invitation: secret("more"), Until: now}, "bad_time"},
			{"operator", "", replicas.Invite{Invitation: secret("more"), Until: now + 8*day}, "bad_time"},
			{"operator", "", replicas.Invite{Invitation: secret("free"), Until: now + day}, "link_reused"},
		}},
		"replicas.join": {good: asked{by: "node", body: join}, refused: []asked{
			{"operator", "", join, "not_allowed"},
			{"node", "", used, "link_used"},
			{"node", "", noSuch, "link_expired"},
			{"node", "", twice, "replica_known"},
			{"node", "", replicas.Join{Invitation: secret("free")}, "bad_host"},
		}},
		"replicas.promote": {good: asked{by: "node", body: named("r3")}, refused: []asked{
			{"operator", "", named("r3"), "not_allowed"},
			{"node", "", named("r2"), "no_change"},
			{"node", "", named("r4"), "replica_removed"},
			{"node", "", named("r9"), "replica_unknown"},
		}},
		"replicas.renew": {good: asked{by: "node", body: named("r2")}, refused: []asked{
			{"operator", "", named("r2"), "not_allowed"},
			{"node", "", named("r4"), "replica_removed"},
			{"node", "", named("r9"), "replica_unknown"},
		}},
		"replicas.remove": {good: asked{by: "operator", body: named("r2")}, refused: []asked{
			{"Farida", "", named("r2"), "not_allowed"},
			{"operator", "", named("r4"), "replica_removed"},
			{"operator", "", named(""), "replica_unknown"},
		}},
	}
}

// lastReplica refuses to let the only voter go; it takes a circle of its own.
func lastReplica(s *stage) []machine.Outcome {
	return []machine.Outcome{
		s.td.do("operator", "replicas.remove", replicas.Named{ID: replicas.First}),
		s.td.do("node", "replicas.renew", replicas.Named{ID: replicas.First}),
	}
}
