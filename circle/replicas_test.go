package circle_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/replicas"
)

// Who keeps the books may change, but never so that nobody does.
func TestTheLastReplicaStays(t *testing.T) {
	s := newStage(t)
	for _, out := range lastReplica(s) {
		if out.Refusal == nil || out.Refusal.Code != "replica_last" {
			t.Errorf("%+v", out)
		}
	}
	hb := s.hb
	for i, link := range []string{"fifth", "sixth"} {
		hb.must("operator", "replicas.invite", replicas.Invite{Invitation: secret(link), Until: hb.now + day})
		hb.must("node", "replicas.join", replicas.Join{Invitation: secret(link), Host: hostKey(byte(5 + i))})
	}
	out := hb.do("operator", "replicas.invite", replicas.Invite{
		Invitation: secret("seventh"), Until: hb.now + day,
	})
	if out.Refusal == nil || out.Refusal.Code != "too_many" {
		t.Errorf("a sixth replica: %+v", out)
	}
	late := replicas.Join{Invitation: secret("free"), Host: hostKey(8)}
	if out := hb.do("node", "replicas.join", late); out.Refusal == nil || out.Refusal.Code != "too_many" {
		t.Errorf("a sixth replica joins: %+v", out)
	}
	hb.must("operator", "replicas.remove", replicas.Named{ID: "r2"})
	out = hb.must("node", "replicas.join", late)
	if got := out.Result.(replicas.Joined).ID; got != "r7" {
		t.Errorf("the seventh machine is called %q", got)
	}
	again := hb.must("node", "replicas.join", late) // its answer was lost
	if got := again.Result.(replicas.Joined).ID; got != "r7" {
		t.Errorf("asked again it is called %q", got)
	}
	hb.now += 2 * day
	hb.must("operator", "replicas.remove", replicas.Named{ID: "r7"})
	if out := hb.do("node", "replicas.join", replicas.Join{
		Invitation: secret("free"), Host: hostKey(9),
	}); out.Refusal == nil || out.Refusal.Code != "link_expired" {
		t.Errorf("a late guest: %+v", out)
	}
	if p, ok := replicas.Find(hb.kv, replicas.First); !ok || p.Status != replicas.Voting {
		t.Errorf("%+v", p)
	}
	out = hb.must("node", "replicas.renew", replicas.Named{ID: "r3"})
	if p, _ := replicas.Find(hb.kv, "r3"); p.Life != 1 || p.Status != replicas.Joining ||
		out.Result.(replicas.Renewed).Life != 1 {
		t.Errorf("%+v, %+v", p, out)
	}
}
