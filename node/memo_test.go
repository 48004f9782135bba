package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/node/vault"
)

// ally has two nodes meet and agree to exchange coins.
func ally(t *testing.T, a, b *canary) {
	t.Helper()
	for _, pair := range [][2]*canary{{a, b}, {b, a}} {
		card, err := charter.ParseText(pair[1].n.CardText())
		if err != nil {
			t.Fatal(err)
		}
		pair[0].must(machine.ActorOperator, "exchange.meet", exchange.Meet{Card: card})
		pair[0].must(machine.ActorOperator, "exchange.ally", exchange.Ally{
			Circle: string(pair[1].n.Keys.CircleID()), LimitMinutes: 600, ReviewOn: "2030-01-01",
		})
	}
	wait(t, a, func(r machine.Reader) bool {
		_, ok := coin.ReadBooks(r).Account(coin.Book, coin.CirclePrefix+string(b.n.Keys.CircleID()))
		return ok
	})
}

// wait waits until a node's state is as asked.
func wait(t *testing.T, c *canary, ok func(r machine.Reader) bool) {
	t.Helper()
	news, stop := c.n.Watch()
	defer stop()
	late := time.After(30 * time.Second)
	for {
		var done bool
		err := c.n.Read(func(r machine.Reader) error {
			done = ok(r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if done {
			return
		}
		select {
		case <-news:
		case <-late:
			t.Fatal("it does not come to that")
		}
	}
}

// TestSealedMemo sends a note to another circle: it is read there, and is in no file of either.
func TestSealedMemo(t *testing.T) {
	a := &canary{t: t, dir: makeNode(t)}
	b := &canary{t: t, dir: makeNode(t)}
	a.start()
	b.start()
	a.zoe, b.zoe = a.join("Zoe"), b.join("Irene")
	a.must(machine.ActorOperator, "coin.earn", coin.Earn{Person: a.zoe, Minutes: 120, Activity: "garden"})
	b.must(b.zoe, "exchange.code", exchange.SetCode{Code: "IRENE222"})
	ally(t, a, b)
	a.must(a.zoe, "exchange.pay", exchange.Pay{
		Circle: string(b.n.Keys.CircleID()), Code: "IRENE222", Minutes: 60, Activity: "company",
		Note: machine.Text("", phrase+" for your birthday"),
	})
	wait(t, b, func(r machine.Reader) bool {
		acc, ok := coin.ReadBooks(r).Account(coin.Book, b.zoe)
		return ok && acc.Posted == 60
	})
	got, err := b.n.View(t.Context(), machine.Caller{Actor: b.zoe}, "coin.statement", nil)
	if err != nil {
		t.Fatal(err)
	}
	line := got.(coin.Statement).Lines[0]
	if line.Note != phrase+" for your birthday" || line.Activity != "company" {
		t.Errorf("what arrived: %+v", line)
	}
	memos(t, b, 1)

	a.must(a.zoe, "member.erase", member.Erase{Person: a.zoe})
	a.stop()
	b.stop()
	for _, c := range []*canary{a, b} {
		for _, place := range c.places() {
			t.Errorf("the phrase is in %s", place)
		}
	}
	b.start() // what she was told stays hers
	got, err = b.n.View(t.Context(), machine.Caller{Actor: b.zoe}, "coin.statement", nil)
	if err != nil || !strings.Contains(got.(coin.Statement).Lines[0].Note, phrase) {
		t.Errorf("the note is gone with its writer: %+v, %v", got, err)
	}
	b.stop()
}

// memos counts the sealed memos in the letters a node holds, and tries the keys it has on them.
func memos(t *testing.T, c *canary, want int) {
	t.Helper()
	found := 0
	err := c.n.Read(func(r machine.Reader) error {
		k, _ := member.KeyOf(r, c.zoe)
		own, err := c.n.Vault().Unwrap(k)
		if err != nil {
			return err
		}
		for _, peer := range exchange.Peers(r) {
			for _, s := range exchange.Inbox(r, peer.Circle, 1, peer.Held.Seq) {
				m, ok := exchange.MemoIn(s.Bytes)
				if !ok {
					continue
				}
				found++
				if _, err := vault.OpenLetter(vault.LetterKey(own, m.Payment), m.Data); err == nil {
					t.Error("the receiving circle can make the memo's key itself")
				}
			}
		}
		return nil
	})
	if err != nil || found != want {
		t.Errorf("%d sealed memos, want %d: %v", found, want, err)
	}
}
