package charter_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

func id(b byte) letter.CircleID { return letter.CircleIDOf(key(b).Public().(ed25519.PublicKey)) }

func sampleCharter() charter.Charter {
	c := charter.Charter{Hub: id(9), Seq: 7, At: 5, Circles: []charter.Entry{
		{Circle: id(1), Status: charter.Giving, Card: 3, Changed: 2},
		{Circle: id(2), Status: charter.Closed, Card: 1, Changed: 7},
	}}
	slices.SortFunc(c.Circles, func(a, b charter.Entry) int {
		return strings.Compare(string(a.Circle), string(b.Circle))
	})
	return c
}

// spoilt are changes after which a charter does not count.
var spoilt = map[string]func(c *charter.Charter){
	"no hub":       func(c *charter.Charter) { c.Hub = "c1" },
	"no number":    func(c *charter.Charter) { c.Seq = 0 },
	"out of order": func(c *charter.Charter) { slices.Reverse(c.Circles) },
	"twice":        func(c *charter.Charter) { c.Circles[1] = c.Circles[0] },
	"no status":    func(c *charter.Charter) { c.Circles[0].Status = 0 },
	"later status": func(c *charter.Charter) { c.Circles[0].Status = charter.Closed + 1 },
	"no card":      func(c *charter.Charter) { c.Circles[0].Card = 0 },
	"from later":   func(c *charter.Charter) { c.Circles[0].Changed = c.Seq + 1 },
	"too many": func(c *charter.Charter) {
		c.Circles = make([]charter.Entry, charter.MaxCircles+1)
	},
}

func TestCharter(t *testing.T) {
	hub := key(9).Public().(ed25519.PublicKey)
	signed, err := sampleCharter().Sign(key(9))
	if err != nil {
		t.Fatal(err)
	}
	c, err := charter.Open(letter.Purpose.Verify, hub, signed)
	if err != nil || !reflect.DeepEqual(c, sampleCharter()) {
		t.Fatalf("%+v, %v", c, err)
	}
	if e, ok := c.Entry(id(2)); !ok || e.Status != charter.Closed {
		t.Errorf("%+v", e)
	}
	if _, ok := c.Entry(id(3)); ok {
		t.Error("a stranger has an entry")
	}
	other, err := sampleCharter().Sign(key(8))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := charter.Open(letter.Purpose.Verify, hub, other); !errors.Is(err, letter.ErrSignature) {
		t.Errorf("signed by another: %v", err)
	}
	for name, spoil := range spoilt {
		bad := sampleCharter()
		spoil(&bad)
		if _, err := bad.Sign(key(9)); !errors.Is(err, charter.ErrCharter) {
			t.Errorf("%s is signed: %v", name, err)
		}
		raw, err := letter.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := charter.Decode(raw); !errors.Is(err, charter.ErrCharter) {
			t.Errorf("%s is read: %v", name, err)
		}
	}
	for _, s := range charter.Statuses {
		if got, ok := charter.ParseStatus(s.String()); !ok || got != s {
			t.Errorf("%s is read as %s", s, got)
		}
	}
	if _, ok := charter.ParseStatus("none"); ok {
		t.Error("none is a status")
	}
}

// TestLargestCharter: the most circles there can be, with the largest numbers, fit.
func TestLargestCharter(t *testing.T) {
	c := charter.Charter{Hub: id(9), Seq: 1 << 63, At: 1 << 62}
	for i := range charter.MaxCircles {
		c.Circles = append(c.Circles, charter.Entry{
			Circle: letter.CircleIDOf(bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16)),
			Status: charter.Closed, Card: 1 << 63, Changed: 1 << 62,
		})
	}
	slices.SortFunc(c.Circles, func(a, b charter.Entry) int {
		return strings.Compare(string(a.Circle), string(b.Circle))
	})
	signed, err := c.Sign(key(9))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := charter.Decode(signed.Bytes); err != nil {
		t.Errorf("%d bytes: %v", len(signed.Bytes), err)
	}
}

func TestInvitation(t *testing.T) {
	sent := charter.Invitation{Card: seal(t), Secret: bytes.Repeat([]byte{5}, charter.SecretBytes)}
	text, err := sent.Text()
	if err != nil || !charter.IsInvitation(" "+text) || charter.IsInvitation(charter.Text(seal(t))) {
		t.Fatal(text, err)
	}
	got, card, err := charter.ParseInvitation(text[:40] + "\r\n " + text[40:] + "\n")
	if err != nil || !bytes.Equal(got.Card, sent.Card) || !bytes.Equal(got.Secret, sent.Secret) ||
		card.Name != "Calder Valley" {
		t.Fatalf("%+v, %v", got, err)
	}
	short, err := charter.Invitation{Card: seal(t), Secret: []byte("short")}.Text()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "a card": charter.Text(seal(t)), "cut off": text[:len(text)-9], "short secret": short,
		"later form": strings.Replace(text, "v1", "v2", 1),
	} {
		if _, _, err := charter.ParseInvitation(bad); !errors.Is(err, letter.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
