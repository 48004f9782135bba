package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/circle/moving"
	"github.com/carecircle/carecircle/federation/courier"
)

// TestNobodyElseLetsGo: another circle says that somebody of ours lives there. Only with our own signature
// that just this person left, by just this move and for just that circle, do we let them go.
func TestNobodyElseLetsGo(t *testing.T) {
	home, there, other := newVillage(t, 1), newVillage(t, 2), newVillage(t, 3)
	meetAll(t, []*village{home, there, other})
	invite := func(name string, link byte) string {
		return home.must("operator", "member.invite", member.Invite{
			Name: machine.Text("", name), Link: machine.Hash{link},
			Until: time.Now().Add(time.Hour).UnixMilli(),
		}).(member.Made).Person
	}
	ada, ben := invite("Ada", 1), invite("Ben", 2)
	id := strings.Repeat("7", 32)
	left := moving.Outgoing{
		Circle: there.letters.keys.CircleID(), ID: id, Stage: moving.StageLeft, Person: ada,
	}
	packet := home.cards.moveMessage(left).(courier.MovePacket)
	forged := there.cards.moveMessage(left).(courier.MovePacket)
	says := func(who *village, id, person string, proof []byte) {
		t.Helper()
		us := who.letters.keys.CircleID()
		_, err := home.letters.gotMove(t.Context(), exchange.PeerState{Peer: exchange.Peer{Circle: us}},
			courier.MoveArrived{
				From: us, To: home.letters.keys.CircleID(), ID: id, Code: "ADAADA22",
				Person: person, Proof: proof,
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	here := func() []member.Status {
		out := make([]member.Status, 2)
		err := home.Read(func(r machine.Reader) error {
			for i, p := range []string{ada, ben} {
				found, _ := member.Find(r, p)
				out[i] = found.Status
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	stays := here()
	says(there, id, ada, nil)
	says(there, id, ada, forged.Proof)
	says(there, id, ben, packet.Proof)
	says(there, strings.Repeat("8", 32), ada, packet.Proof)
	says(other, id, ada, packet.Proof)
	if got := here(); !slices.Equal(got, stays) {
		t.Fatalf("Ada and Ben are %v, and were %v", got, stays)
	}
	says(there, id, ada, packet.Proof)
	if got := here(); got[0] != member.Moved || got[1] != stays[1] {
		t.Errorf("Ada and Ben are %v, and were %v", got, stays)
	}
}
