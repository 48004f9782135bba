package circle_test

import (
	"bytes"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/replicas"
	"github.com/carecircle/carecircle/circle/timeline"
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

// Books that were put back from a backup are kept by the machine they were put back on, and by no other.
func TestRestoredCircleIsAlone(t *testing.T) {
	s := newStage(t)
	hb := s.hb
	hb.must("node", "replicas.renew", replicas.Named{ID: replicas.First})
	at := machine.ReadMeta(hb.kv)
	begin := timeline.Open{
		Epoch: 1, FromPosition: at.Position, FromHead: at.Head, Backup: machine.ID{7}, At: hb.now,
		Host: hostKey(77),
	}
	hb.must("node", "timeline.open", begin)
	for _, p := range replicas.All(hb.kv) {
		switch {
		case p.ID != replicas.First && p.Status != replicas.Removed:
			t.Errorf("%s is still there: %+v", p.ID, p)
		case p.ID != replicas.First:
		case p.Status != replicas.Voting || p.Life != 0 || p.Addrs != nil,
			!bytes.Equal(p.Host, hostKey(77)):
			t.Errorf("the machine it was restored on: %+v", p)
		}
	}
	for link, code := range map[string]string{"free": "link_expired", "second": "link_used"} {
		out := hb.do("node", "replicas.join", replicas.Join{Invitation: secret(link), Host: hostKey(2)})
		if out.Refusal == nil || out.Refusal.Code != code {
			t.Errorf("an invitation of before, %s: %+v", link, out)
		}
	}
	hb.must("operator", "replicas.invite", replicas.Invite{Invitation: secret("new"), Until: hb.now + day})
	out := hb.must("node", "replicas.join", replicas.Join{Invitation: secret("new"), Host: hostKey(99)})
	if got := out.Result.(replicas.Joined).ID; got != "r5" {
		t.Errorf("the next machine is called %q: ids are never given again", got)
	}
	// Without a machine, as whoever runs the node may say it, nothing of that happens.
	at = machine.ReadMeta(hb.kv)
	begin = timeline.Open{Epoch: 2, FromPosition: at.Position, FromHead: at.Head, At: hb.now}
	hb.must("operator", "timeline.open", begin)
	if p, _ := replicas.Find(hb.kv, "r5"); p.Status != replicas.Joining {
		t.Errorf("%+v", p)
	}
}
