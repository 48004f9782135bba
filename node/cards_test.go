package node_test

import (
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/findable"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/directory"
)

// meet makes circles known to each other.
func meet(t *testing.T, all ...*canary) {
	t.Helper()
	for _, a := range all {
		for _, b := range all {
			if a == b {
				continue
			}
			card, err := charter.ParseText(b.n.CardText())
			if err != nil {
				t.Fatal(err)
			}
			a.must(machine.ActorOperator, "exchange.meet", exchange.Meet{Card: card})
		}
	}
}

// until waits until something is so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late, tick := time.After(30*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// sees tells how many members of any circle somebody finds with a word.
func (c *canary) sees(person, word string) int {
	c.t.Helper()
	_, total, err := c.n.Find(c.t.Context(), machine.Caller{Actor: person}, directory.Query{Text: word})
	if err != nil {
		c.t.Fatal(err)
	}
	return total
}

func (c *canary) mine(person string) findable.Mine {
	c.t.Helper()
	out, err := c.n.View(c.t.Context(), machine.Caller{Actor: person}, "findable.mine", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return out.(findable.Mine)
}

// answered tells who has said that a card is gone, by the circle's name.
func (c *canary) answered(person string) (yes, no int) {
	for _, taken := range c.mine(person).Taken {
		for _, h := range taken.Holders {
			if h.Gone != 0 {
				yes++
			} else {
				no++
			}
		}
	}
	return yes, no
}

func (c *canary) contacts(person string) findable.Contacts {
	c.t.Helper()
	out, err := c.n.View(c.t.Context(), machine.Caller{Actor: person}, "findable.contacts", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return out.(findable.Contacts)
}

// getsInTouch has somebody ask Zoe of another circle, who answers; what they say is in no file of either.
func (c *canary) getsInTouch(person string, at *canary) {
	c.t.Helper()
	found, _, err := c.n.Find(c.t.Context(), machine.Caller{Actor: person}, directory.Query{Text: "zoe"})
	if err != nil || len(found) != 1 {
		c.t.Fatal(found, err)
	}
	card := found[0].Card
	ask := findable.Ask{
		Circle: string(card.Circle), Card: card.ID, Words: machine.Text("", phrase+" may I come by?"),
	}
	c.must(person, "findable.ask", ask)
	until(c.t, "Zoe is asked", func() bool { return len(at.contacts(at.zoe).Got) == 1 })
	got := at.contacts(at.zoe).Got[0]
	if got.Words != phrase+" may I come by?" || got.Circle != string(c.n.Keys.CircleID()) {
		c.t.Errorf("%+v", got)
	}
	at.must(at.zoe, "findable.answer", findable.Answer{
		Circle: got.Circle, ID: got.ID, Yes: true, Words: machine.Text("", phrase+" 01422 000000"),
	})
	until(c.t, "she answers", func() bool { return c.contacts(person).Asked[0].Answered != 0 })
	if asked := c.contacts(person).Asked[0]; !asked.Yes || asked.Reply != phrase+" 01422 000000" {
		c.t.Errorf("%+v", asked)
	}
	until(c.t, "the answer is known to be there", func() bool { return at.contacts(at.zoe).Got[0].Sent })
}

// TestFound: a member who chose to be found is found in other circles; after they took it back nobody finds
// them, every circle says so, and one that was away does when it is back.
func TestFound(t *testing.T) {
	var all []*canary
	for range 3 {
		x := &canary{t: t, dir: makeNode(t)}
		x.start()
		all = append(all, x)
	}
	a, b, c := all[0], all[1], all[2]
	a.zoe, b.zoe, c.zoe = a.join("Zoe"), b.join("Irene"), c.join("Una")
	meet(t, a, b, c)
	a.must(a.zoe, "findable.choose", findable.Choose{Card: findable.Choice{
		Name: "Zoe", Words: phrase, Kinds: []string{"companionship"}, Open: true,
	}})
	until(t, "Zoe is found here", func() bool { return a.sees(a.zoe, phrase) == 1 })
	until(t, "Zoe is found there", func() bool {
		return b.sees(b.zoe, "zoe") == 1 && c.sees(c.zoe, "zoe") == 1
	})
	if _, _, err := b.n.Find(t.Context(), machine.Caller{Actor: "pnobody"}, directory.Query{}); err == nil {
		t.Error("a stranger may search")
	}
	b.getsInTouch(b.zoe, a)
	c.stop()
	a.must(a.zoe, "findable.withdraw", findable.Withdraw{})
	until(t, "Zoe is gone there", func() bool { return b.sees(b.zoe, "zoe") == 0 })
	until(t, "one says so, one is awaited", func() bool {
		yes, no := a.answered(a.zoe)
		return yes == 1 && no == 1
	})
	c.start()
	until(t, "the other says so too", func() bool {
		yes, no := a.answered(a.zoe)
		return yes == 2 && no == 0
	})
	if n := c.sees(c.zoe, "zoe"); n != 0 {
		t.Errorf("%d are found where it was away", n)
	}
	for _, x := range all {
		x.stop()
	}
}
