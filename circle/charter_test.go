package circle_test

import (
	"crypto/sha256"
	"testing"

	"github.com/carecircle/carecircle/circle/joining"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/timeline"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/letter"
)

// joins has a circle join a hub with an invitation of its own.
func (w *town) joins(t *testing.T, hub *town, secret byte) {
	t.Helper()
	i := joining.Join{Card: hub.card(), Secret: make([]byte, charter.SecretBytes)}
	i.Secret[0] = secret
	hub.must("operator", "joining.invite", joining.Invite{
		Secret: sha256.Sum256(i.Secret), For: w.name, Days: 14,
	})
	w.must("operator", "joining.join", i)
	ask, due := joining.JoinFor(w.kv, w.card())
	if !due || ask.To != hub.id {
		t.Fatalf("%+v, %t", ask, due)
	}
	hub.mustAs(t, w.id, "joining.ask", joining.Ask{Card: ask.Card, Secret: ask.Secret})
	w.must("node", "joining.answered", joining.Answered{})
	w.hears(t, hub)
}

func (w *town) mustAs(t *testing.T, peer letter.CircleID, kind string, body any) {
	t.Helper()
	by := machine.Caller{Actor: machine.PeerActor(string(peer))}
	if out := w.send(w.command(by, kind, body)); out.Refusal != nil {
		t.Fatalf("%s: %s: %v", w.name, kind, out.Refusal)
	}
}

// hears asks another circle for what is new of the charter until there is no more.
func (w *town) hears(t *testing.T, from *town) {
	t.Helper()
	for {
		ask, ok := joining.AskFor(w.kv, from.id, w.card(), 1)
		if !ok {
			t.Fatalf("%s has nothing to ask", w.name)
		}
		news, err := joining.Reply(from.kv, from.key, ask)
		if err != nil {
			t.Fatal(err)
		}
		if len(news.Charter.Bytes) == 0 && news.Through <= ask.Cards {
			return
		}
		w.mustAs(t, from.id, "joining.take", joining.Take{
			Charter: news.Charter, Cards: news.Cards, Through: news.Through,
		})
	}
}

func (w *town) federation() joining.Federation {
	return view[joining.Federation](w, "operator", "joining.federation", nil)
}

// TestCharterSpreads: circles hear of each other from the hub, or from one that has the charter. What the hub
// has forgotten, put back to an older copy, it takes back from whoever it still knows.
func TestCharterSpreads(t *testing.T) {
	hub := newTown(t, "Hub")
	hub.found("Hana")
	hub.must("operator", "hub.open", struct{}{})
	hub.must("node", "joining.card", joining.Card{Card: hub.card()})
	var all []*town
	var old *machine.Mem
	for i, name := range []string{"Ashby", "Birch", "Cragg"} {
		w := newTown(t, name)
		w.found("Founder")
		w.joins(t, hub, byte(i+1))
		all = append(all, w)
		if i == 0 {
			old = machine.NewMem()
			machine.Copy(old, hub.kv)
		}
	}
	a, b, c := all[0], all[1], all[2]
	hub.must("operator", "joining.set", joining.Set{Circle: string(a.id), Status: "giving"})
	a.hears(t, hub)
	if f := a.federation(); f.State != "in" || len(f.Circles) != 4 || f.Seq != 5 {
		t.Fatalf("%+v", f)
	}
	b.hears(t, a) // the hub is away
	if f := b.federation(); len(f.Circles) != 4 || f.Seq != 5 {
		t.Errorf("%+v", f)
	}

	if _, ok := joining.AskFor(c.kv, hub.id, c.cardOf(2), 2); !ok {
		t.Fatal("nothing to ask")
	}
	ask, _ := joining.AskFor(c.kv, hub.id, c.cardOf(2), 2)
	if len(ask.Card) == 0 {
		t.Fatal("a newer card is not given to the hub")
	}
	hub.mustAs(t, c.id, "joining.card", joining.Card{Card: ask.Card})
	b.hears(t, hub)
	news, err := joining.Reply(b.kv, b.key, courier.CharterAsk{From: a.id, To: b.id, Seq: 5, Cards: 5})
	if err != nil || len(news.Cards) != 1 {
		t.Errorf("%d cards, %v", len(news.Cards), err)
	}
	hub.kv = old
	hub.takesBack(t, all)
}

// takesBack has a hub that was put back take back from a circle it knows what it has forgotten.
func (w *town) takesBack(t *testing.T, all []*town) {
	t.Helper()
	hub, a := w, all[0]
	at := machine.ReadMeta(hub.kv)
	hub.must("node", "timeline.open", timeline.Open{
		Epoch: 1, FromPosition: at.Position, FromHead: at.Head, Backup: machine.ID{7}, Why: "the disk broke",
		At: hub.now, Host: hostKey(77),
	})
	a.hears(t, hub)
	if f := a.federation(); f.State != "in" || len(f.Circles) != 2 {
		t.Fatalf("the hub is no older: %+v", f)
	}
	show, due := joining.ShowFor(a.kv)
	if !due || !joining.Forgot(hub.kv, show) || len(show.Cards) != 2 {
		t.Fatalf("%+v, %t", show, due)
	}
	hub.mustAs(t, a.id, "joining.show", joining.Show{Charter: show.Charter, Cards: show.Cards})
	for _, w := range all {
		w.hears(t, hub)
		f := w.federation()
		if f.State != "in" || len(f.Circles) != 4 {
			t.Errorf("%s: %+v", w.name, f)
		}
		for _, x := range f.Circles {
			if x.Circle == string(a.id) && x.Status != "giving" {
				t.Errorf("to %s, %s is %s", w.name, a.name, x.Status)
			}
		}
		if _, due := joining.ShowFor(w.kv); due {
			t.Errorf("%s finds something lacking yet", w.name)
		}
	}
	if joining.Forgot(hub.kv, show) {
		t.Error("shown once more, it is forgotten still")
	}
}
