package directory_test

import (
	"crypto/ed25519"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

var key = ed25519.NewKeyFromSeed([]byte("a circle's key of 32 bytes, here"))

func card() directory.Card {
	return directory.Card{
		Version: 1, Circle: letter.CircleIDOf(key.Public().(ed25519.PublicKey)), ID: "a", Seq: 1, Until: 1000,
		Name: "Wendy", Words: "Tea and a chat.\nNo stairs.", Kinds: directory.Tags{"companionship"},
		Skills: directory.Tags{}, Languages: directory.Tags{"english", "urdu"},
		Sector: "HX7 8", At: directory.Point{Lat: 5374000, Lng: -201000},
		Hours: directory.Hours(nil).Add(20, 24), Open: true,
	}
}

func TestSealed(t *testing.T) {
	s, err := directory.Seal(key, card())
	if err != nil {
		t.Fatal(err)
	}
	got, err := directory.Decode(s.Bytes)
	if err != nil || !reflect.DeepEqual(got, card()) {
		t.Errorf("%+v, %v", got, err)
	}
	pub := key.Public().(ed25519.PublicKey)
	if err := directory.Verify(pub, s); err != nil {
		t.Error(err)
	}
	s.Bytes[len(s.Bytes)-1] ^= 1
	if err := directory.Verify(pub, s); !errors.Is(err, letter.ErrSignature) {
		t.Errorf("changed: %v", err)
	}
	first, _ := directory.Seal(key, card())
	if again, err := directory.Seal(key, got); err != nil || !reflect.DeepEqual(again, first) {
		t.Error("another signature for the same card")
	}
}

func TestCheck(t *testing.T) {
	if err := card().Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *directory.Card){
		"no circle":     func(c *directory.Card) { c.Circle = "x" },
		"no id":         func(c *directory.Card) { c.ID = "" },
		"no number":     func(c *directory.Card) { c.Seq = 0 },
		"no end":        func(c *directory.Card) { c.Until = 0 },
		"gone":          func(c *directory.Card) { c.Gone = true },
		"long name":     func(c *directory.Card) { c.Name = strings.Repeat("a", 101) },
		"unreadable":    func(c *directory.Card) { c.Words = "a\x00" },
		"long words":    func(c *directory.Card) { c.Words = strings.Repeat("a", 601) },
		"no place":      func(c *directory.Card) { c.Sector = "" },
		"no middle":     func(c *directory.Card) { c.At = directory.Point{} },
		"full postcode": func(c *directory.Card) { c.Sector = "HX7 8AB" },
		"off earth":     func(c *directory.Card) { c.At.Lat = 9_100_000 },
		"rate":          func(c *directory.Card) { c.Rate = -1 },
		"upper case":    func(c *directory.Card) { c.Kinds = directory.Tags{"Tea"} },
		"twice":         func(c *directory.Card) { c.Kinds = directory.Tags{"tea", "tea"} },
		"disorder":      func(c *directory.Card) { c.Skills = directory.Tags{"b", "a"} },
		"many":          func(c *directory.Card) { c.Skills = make(directory.Tags, 17) },
		"hours":         func(c *directory.Card) { c.Hours = make(directory.Hours, 41) },
	} {
		c := card()
		change(&c)
		if err := c.Check(); !errors.Is(err, directory.ErrCard) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := directory.Seal(key, c); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}

func TestTagsOf(t *testing.T) {
	if got := directory.TagsOf([]string{" Dog  Walking", "tea", "", "TEA"}); !reflect.DeepEqual(got,
		directory.Tags{"dog walking", "tea"}) {
		t.Errorf("%q", got)
	}
}

func FuzzDecode(f *testing.F) {
	s, err := directory.Seal(key, card())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Bytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := directory.Decode(b)
		if err != nil {
			return
		}
		if again, err := letter.Marshal(c); err != nil || string(again) != string(b) {
			t.Errorf("another form of the same card: %x, %v", again, err)
		}
	})
}
