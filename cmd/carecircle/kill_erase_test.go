package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/node/api"
	"github.com/carecircle/carecircle/node/auth"
	"github.com/carecircle/carecircle/node/vault"
)

// erasures is how often the node is killed while it erases somebody, a little later each time.
const (
	erasuresKilled = 15
	killStep       = 700 * time.Microsecond
)

// TestKilledWhileErasing kills the node at ever later moments of an erasure. Started again, it finishes each,
// and nobody else is lost with them.
func TestKilledWhileErasing(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	c := newKillable(t, "Erased")
	stays := c.invited(t, "Stays")
	for i := range erasuresKilled {
		person := c.invited(t, fmt.Sprint("Leaves ", i))
		id, err := api.NewID()
		if err != nil {
			t.Fatal(err)
		}
		erase := func() error {
			body := member.Erase{Person: person, How: "phone", On: "2026-01-02"}
			_, err := c.operator.Do(t.Context(), id.String(), "", "member.erase", body, nil)
			return err
		}
		answered := make(chan error, 1)
		go func() { answered <- erase() }()
		kill := time.NewTimer(time.Duration(i) * killStep)
		<-kill.C
		c.kill()
		if err := <-answered; err != nil {
			t.Logf("the erasure was cut short: %v", err)
		}
		c.restart(t).waitReady(t)
		waitUntil(t, "the erasure is answered", func() (bool, error) {
			err := erase()
			return err == nil, err
		})
	}
	waitUntil(t, "every erasure is finished", func() (bool, error) {
		var all member.Erasures
		err := c.operator.View(t.Context(), "member.erasures", nil, &all)
		done := len(all.Erased) == erasuresKilled
		for _, e := range all.Erased {
			done = done && e.Done && !e.InClear
		}
		return done && err == nil, err
	})
	var people member.People
	c.view(t, c.operator, "member.list", &people)
	if len(people.People) != 2 {
		t.Errorf("%d people are left, not the founder and one more", len(people.People))
	}
	for _, p := range people.People {
		if p.Person == stays && p.Name != "Stays" {
			t.Errorf("the one who stayed is called %q", p.Name)
		}
	}
	c.node.stop(t)
	files, err := vault.OpenFiles(c.dir, vault.Master{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	if v.Old() {
		t.Error("an old key of the vault is left")
	}
}

// invited makes a person known and returns their id.
func (c *killable) invited(t *testing.T, name string) string {
	t.Helper()
	_, hash, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	var made member.Made
	c.do(t, c.operator, "member.invite", member.Invite{
		Name: machine.Text("", name), Link: hash, Until: time.Now().Add(time.Hour).UnixMilli(),
	}, &made)
	return made.Person
}
