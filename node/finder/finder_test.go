package finder

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
)

const hour = int64(hourMillis)

// unsigned is a card as it lies in the file; whoever puts it there checks signatures.
func unsigned(t *testing.T, c directory.Card) letter.Signed {
	t.Helper()
	s, err := directory.Seal(ed25519.NewKeyFromSeed(make([]byte, 32)), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened(t *testing.T, dir string) *Finder {
	t.Helper()
	f, err := Open(dir, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func put(t *testing.T, f *Finder, cards ...directory.Card) int {
	t.Helper()
	var all []letter.Signed
	for _, c := range cards {
		all = append(all, unsigned(t, c))
	}
	changed, err := f.Put(all)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// TestSearch compares answers with a plain scan's, before and after a third of the cards changed, were taken
// back or ran out, and after the file was read anew.
func TestSearch(t *testing.T) {
	const n, now = 3_000, 1_000_000 * hour
	dir := t.TempDir()
	f := opened(t, dir)
	cards := make([]directory.Card, n)
	for i := range cards {
		cards[i] = DrawCard(i, 20, now+hour)
		if i%17 == 0 {
			cards[i].Sector, cards[i].At = "", directory.Point{}
		}
	}
	put(t, f, cards...)
	compare(t, f, cards, now, 1_000, "new")
	for i := 0; i < n; i += 3 {
		c := DrawCard(i+n, 20, now+hour)
		c.Circle, c.ID, c.Seq = cards[i].Circle, cards[i].ID, uint64(n+i)
		switch {
		case i%5 == 0:
			c = directory.Card{Circle: c.Circle, ID: c.ID, Seq: c.Seq, Until: now + hour, Gone: true}
		case i%7 == 0:
			c.Until = now
		}
		cards[i] = c
		put(t, f, c)
	}
	compare(t, f, cards, now, 200, "changed")
	f.Close()
	f = opened(t, dir)
	compare(t, f, cards, now, 200, "read anew")
	if _, err := f.Sweep(now); err != nil {
		t.Fatal(err)
	}
	compare(t, f, cards, now, 200, "swept")
	if n, err := f.Sweep(now + hour); err != nil || f.Count() != 0 {
		t.Errorf("swept %d, %d are left: %v", n, f.Count(), err)
	}
}

func compare(t *testing.T, f *Finder, cards []directory.Card, now int64, queries int, when string) {
	t.Helper()
	found := 0
	for i := range queries {
		q := DrawQuery(i, now)
		if i%5 == 0 {
			q.Skip, q.Most = i%13, 1+i%40
		}
		got, total, err := f.Search(q)
		if err != nil {
			t.Fatal(err)
		}
		want, all := Scan(cards, q)
		ids := make([]string, 0, len(got))
		for _, g := range got {
			ids = append(ids, string(g.Card.Circle)+g.Card.ID)
		}
		wanted := make([]string, 0, len(want))
		for _, n := range want {
			wanted = append(wanted, string(cards[n].Circle)+cards[n].ID)
		}
		if total != all || !slices.Equal(ids, wanted) {
			t.Fatalf("%s: query %d, %+v: %d %v, want %d %v", when, i, q, total, ids, all, wanted)
		}
		found += total
	}
	if found < queries {
		t.Errorf("%s: only %d answers in all", when, found)
	}
}

func TestWords(t *testing.T) {
	f := opened(t, t.TempDir())
	c := DrawCard(1, 1, 2*hour)
	c.Name, c.Words, c.Kinds = "Zoë O'Neil", "Knits, bakes;\nLOVES dogs", directory.Tags{"dog walking"}
	put(t, f, c)
	for text, want := range map[string]int{
		"zoe": 1, "ZOË": 1, "oneil": 1, "o’neil": 1, "kni": 1, "kn": 0, "walk dog": 1, "dogs cats": 0, "": 1,
		"!?": 1,
	} {
		if _, total, err := f.Search(directory.Query{Text: text}); err != nil || total != want {
			t.Errorf("%q: %d answers, want %d; %v", text, total, want, err)
		}
	}
}

// TestSpread has one finder learn all that another has, by vectors alone, a few at a time.
func TestSpread(t *testing.T) {
	a, b := opened(t, t.TempDir()), opened(t, t.TempDir())
	for i := range 200 {
		put(t, a, DrawCard(i, 7, 2*hour))
	}
	for round := 0; !reflect.DeepEqual(a.Vector(), b.Vector()); round++ {
		cards, err := a.After(wanting(b, a), 100, 3_000)
		if err != nil || len(cards) == 0 || len(cards) > 10 || round > 100 {
			t.Fatalf("round %d: %d cards, %v", round, len(cards), err)
		}
		if _, err := b.Put(cards); err != nil {
			t.Fatal(err)
		}
	}
	if b.Count() != 200 {
		t.Errorf("%d cards", b.Count())
	}
	if again, err := a.After(wanting(b, a), 100, 1<<20); err != nil || len(again) != 0 {
		t.Errorf("%d more, %v", len(again), err)
	}
}

// wanting is a vector of all circles that b has, as far as a has them.
func wanting(a, b *Finder) directory.Vector {
	var v directory.Vector
	for _, h := range b.Vector() {
		v = append(v, directory.Head{Circle: h.Circle, Seq: a.Vector().Of(h.Circle)})
	}
	return v
}

func TestOlder(t *testing.T) {
	f := opened(t, t.TempDir())
	c := DrawCard(1, 1, 2*hour)
	c.Seq = 5
	if put(t, f, c) != 1 || put(t, f, c) != 0 {
		t.Error("a card twice")
	}
	c.Seq, c.Name = 4, "Old"
	if put(t, f, c) != 0 {
		t.Error("an older card was taken")
	}
}

func TestTooMany(t *testing.T) {
	f, err := open(t.TempDir(), make([]byte, 32), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 4 {
		_, err = f.Put([]letter.Signed{unsigned(t, DrawCard(i, 1, hour))})
	}
	if err == nil || f.Count() != 3 {
		t.Errorf("%d cards, %v", f.Count(), err)
	}
	put(t, f, DrawCard(5, 2, hour)) // another circle's
}

// TestTakenBack: what a member took back is not on the disk any more, not even sealed.
func TestTakenBack(t *testing.T) {
	dir := t.TempDir()
	f := opened(t, dir)
	c := DrawCard(1, 1, 2*hour)
	c.Seq = 1
	put(t, f, c, DrawCard(2, 2, 2*hour))
	first := func() []byte {
		b, err := os.ReadFile(filepath.Join(dir, "cards"))
		if err != nil {
			t.Fatal(err)
		}
		return b[frame:300]
	}
	if bytes.Contains(first(), []byte(c.Name)) || bytes.Equal(first(), make([]byte, 300-frame)) {
		t.Fatal("the card is in the file in clear, or not at all")
	}
	put(t, f, directory.Card{Circle: c.Circle, ID: c.ID, Seq: 2, Until: 2 * hour, Gone: true})
	if !bytes.Equal(first(), make([]byte, 300-frame)) || f.Count() != 1 {
		t.Errorf("the file still has it, or %d cards", f.Count())
	}
	f.Close()
	if f = opened(t, dir); f.Count() != 1 || f.Vector().Of(c.Circle) != 2 {
		t.Errorf("read anew: %d cards, %v", f.Count(), f.Vector())
	}
}

// TestDamage: a file with damage anywhere gives either all cards or begins anew, never some of them.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	f := opened(t, dir)
	put(t, f, DrawCard(1, 2, 2*hour), DrawCard(2, 2, 2*hour), DrawCard(3, 2, 2*hour))
	f.Close()
	path := filepath.Join(dir, "cards")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		turned := slices.Concat(whole[:i], []byte{whole[i] ^ 0x10}, whole[i+1:])
		for _, bad := range [][]byte{whole[:i], turned} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(dir, make([]byte, 32))
			if err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
			if n := f.Count(); n != 0 && n != 3 && len(bad) == len(whole) {
				t.Errorf("byte %d: %d cards", i, n)
			}
			f.Close()
		}
	}
}
