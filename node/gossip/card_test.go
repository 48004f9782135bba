package gossip

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// A clock that was set back makes a new start's card look old: it counts once the newer one's start is dead.
func TestClockSetBack(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	everybody := func(string, ed25519.PublicKey) bool { return true }
	g := &Gossip{
		cfg: Config{ID: "1", Circle: "hebden", Allowed: everybody}, changed: make(chan struct{}, 1),
		living: map[string]node{}, peers: map[string]*known{}, noted: map[string]bool{},
	}
	start := func(name string, ahead time.Duration) *memberlist.Node {
		o := &Gossip{cfg: Config{ID: "2", Circle: "hebden", Host: key}}
		o.mine.Seq = time.Now().Add(ahead).UnixNano()
		if err := o.sign(name, []string{name}); err != nil {
			t.Fatal(err)
		}
		return &memberlist.Node{Name: name, Meta: o.meta}
	}
	before, after := start("before", time.Hour), start("after", 0)
	listener{g}.NotifyJoin(before)
	listener{g}.NotifyJoin(after)
	if got := g.Addrs("2"); !slices.Equal(got, []string{"before"}) {
		t.Errorf("while both live: %v", got)
	}
	listener{g}.NotifyLeave(before)
	g.Recheck()
	if got := g.Addrs("2"); !slices.Equal(got, []string{"after"}) || living(g) != "2" {
		t.Errorf("once the other is dead: %v, alive %q", got, living(g))
	}
}
