package charter_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/charter"
	"github.com/carecircle/carecircle/federation/letter"
)

func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func sample() charter.Card {
	pub := key(1).Public().(ed25519.PublicKey)
	return charter.Card{
		Circle: letter.CircleIDOf(pub), Name: "Calder Valley", Place: "Hebden Bridge",
		Aim: "Care by neighbours", Key: pub,
		Hosts: []charter.Host{{Peer: "12D3KooWone", Until: 1 << 41}, {Peer: "12D3KooWtwo", Until: 5}},
		Addrs: []string{"/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"}, Seq: 3,
	}
}

func seal(t testing.TB) []byte {
	t.Helper()
	b, err := charter.Seal(key(1), sample())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGolden compares with a card that other circles already hold. Nothing here rewrites the file.
func TestGolden(t *testing.T) {
	b := seal(t)
	want, err := os.ReadFile("testdata/card.hex")
	if err != nil || hex.EncodeToString(b) != strings.TrimSpace(string(want)) {
		t.Errorf("card changed on the wire (%v):\ngot  %x\nwant %s", err, b, want)
	}
	c, err := charter.OpenCard(b)
	if err != nil || !reflect.DeepEqual(c, sample()) {
		t.Errorf("card comes back as %+v, %v", c, err)
	}
}

// wire is a sealed card with nothing checked.
func wire(t testing.TB, version uint8, c charter.Card, sign func(card []byte) []byte) []byte {
	t.Helper()
	card, err := letter.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, version, card, sign(card))
}

func wrap(t testing.TB, version uint8, card, sig []byte) []byte {
	t.Helper()
	b, err := letter.Marshal(struct {
		Version uint8  `cbor:"1,keyasint"`
		Card    []byte `cbor:"2,keyasint"`
		Sig     []byte `cbor:"3,keyasint"`
	}{version, card, sig})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signed(card []byte) []byte { return letter.ForCard.Sign(key(1), card) }

// long is a text one byte longer than most.
func long(most int) string { return strings.Repeat("a", most+1) }

func TestBadCards(t *testing.T) {
	for name, do := range map[string]func(*charter.Card){
		"no key":            func(c *charter.Card) { c.Key = nil },
		"half a key":        func(c *charter.Card) { c.Key = c.Key[:16] },
		"another circle":    func(c *charter.Card) { c.Circle = letter.CircleIDOf([]byte("another")) },
		"no circle":         func(c *charter.Card) { c.Circle = "" },
		"no name":           func(c *charter.Card) { c.Name = "" },
		"long name":         func(c *charter.Card) { c.Name = long(charter.MaxNameBytes) },
		"two-line name":     func(c *charter.Card) { c.Name = "a\nb" },
		"backwards name":    func(c *charter.Card) { c.Name = "a\u202eb" },
		"long place":        func(c *charter.Card) { c.Place = long(charter.MaxNameBytes) },
		"long aim":          func(c *charter.Card) { c.Aim = long(charter.MaxAimBytes) },
		"no number":         func(c *charter.Card) { c.Seq = 0 },
		"too many hosts":    func(c *charter.Card) { c.Hosts = make([]charter.Host, charter.MaxHosts+1) },
		"host without id":   func(c *charter.Card) { c.Hosts[0].Peer = "" },
		"host with long id": func(c *charter.Card) { c.Hosts[0].Peer = long(charter.MaxPeerBytes) },
		"host without end":  func(c *charter.Card) { c.Hosts[0].Until = 0 },
		"host twice":        func(c *charter.Card) { c.Hosts[1].Peer = c.Hosts[0].Peer },
		"too many addrs":    func(c *charter.Card) { c.Addrs = make([]string, charter.MaxAddrs+1) },
		"empty addr":        func(c *charter.Card) { c.Addrs[1] = "" },
		"long addr":         func(c *charter.Card) { c.Addrs[1] = long(charter.MaxAddrBytes) },
	} {
		c := sample()
		do(&c)
		if _, err := charter.Seal(key(1), c); !errors.Is(err, charter.ErrCard) {
			t.Errorf("%s: sealed, %v", name, err)
		}
		if got, err := charter.OpenCard(wire(t, 1, c, signed)); !errors.Is(err, charter.ErrCard) {
			t.Errorf("%s: opened as %+v, %v", name, got, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	if _, err := charter.Seal(key(2), sample()); !errors.Is(err, letter.ErrSignature) {
		t.Errorf("sealed with another key: %v", err)
	}
	for name, sign := range map[string]func([]byte) []byte{
		"another key":     func(card []byte) []byte { return letter.ForCard.Sign(key(2), card) },
		"another purpose": func(card []byte) []byte { return letter.ForRecord.Sign(key(1), card) },
		"no signature":    func([]byte) []byte { return nil },
	} {
		if _, err := charter.OpenCard(wire(t, 1, sample(), sign)); !errors.Is(err, letter.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := seal(t)
	for i := range good { // no byte may be changed
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if c, err := charter.OpenCard(bad); err == nil {
			t.Fatalf("byte %d changed: %+v", i, c)
		}
	}
}

func TestForm(t *testing.T) {
	good := seal(t)
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":       {nil, letter.ErrMalformed},
		"cut short":     {good[:len(good)-1], letter.ErrMalformed},
		"more after it": {append(bytes.Clone(good), 0), letter.ErrMalformed},
		"later version": {wire(t, 2, sample(), signed), letter.ErrVersion},
		"too large":     {make([]byte, charter.MaxCardBytes+1), letter.ErrTooLarge},
	} {
		if _, err := charter.OpenCard(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	largest := sample()
	largest.Hosts, largest.Addrs = nil, nil
	for i := range charter.MaxHosts {
		peer := strings.Repeat(string(rune('a'+i)), charter.MaxPeerBytes)
		largest.Hosts = append(largest.Hosts, charter.Host{Peer: peer, Until: 1 << 62})
	}
	for range charter.MaxAddrs {
		largest.Addrs = append(largest.Addrs, strings.Repeat("a", charter.MaxAddrBytes))
	}
	largest.Name = strings.Repeat("n", charter.MaxNameBytes)
	largest.Aim = strings.Repeat("a", charter.MaxAimBytes)
	b, err := charter.Seal(key(1), largest)
	if err != nil {
		t.Fatalf("the largest card within the limits: %v", err)
	}
	if _, err := charter.ParseText(charter.Text(b)); err != nil {
		t.Errorf("the largest card as text: %v", err)
	}
}

func TestText(t *testing.T) {
	b := seal(t)
	text := charter.Text(b)
	if !strings.HasPrefix(text, "carecircle-card-v1:") || strings.ContainsAny(text, " \n+/=") {
		t.Errorf("text form %q", text)
	}
	var wrapped strings.Builder
	wrapped.WriteString("  ")
	for i, r := range text {
		if i%60 == 0 {
			wrapped.WriteString("\r\n ")
		}
		wrapped.WriteRune(r)
	}
	for _, s := range []string{text, text + "\n", wrapped.String()} {
		if back, err := charter.ParseText(s); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing": "", "no prefix": text[19:], "later form": strings.Replace(text, "v1", "v2", 1),
		"other alphabet": text + "+", "spare bits": "carecircle-card-v1:AB",
	} {
		if _, err := charter.ParseText(bad); !errors.Is(err, letter.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := charter.ParseText(long(charter.MaxTextBytes)); !errors.Is(err, letter.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
}

// FuzzOpenCard takes the bytes as a sealed card, and as a card that its circle has signed.
func FuzzOpenCard(f *testing.F) {
	f.Add(seal(f))
	card, err := letter.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(card)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, sealed := range [][]byte{b, wrap(t, 1, b, signed(b))} {
			c, err := charter.OpenCard(sealed)
			if err != nil {
				continue
			}
			// Only sample's key signs here, so nothing else can open.
			if again, err := charter.Seal(key(1), c); err != nil || !bytes.Equal(sealed, again) {
				t.Errorf("%x comes back as %x, %v", sealed, again, err)
			}
		}
	})
}

func FuzzParseText(f *testing.F) {
	f.Add(charter.Text([]byte("card")))
	f.Fuzz(func(t *testing.T, s string) {
		b, err := charter.ParseText(s)
		if err != nil {
			return
		}
		if again, err := charter.ParseText(charter.Text(b)); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q comes back as %x, %v", s, again, err)
		}
	})
}
