package letter_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/letter"
)

// key returns the circle key made from 32 times the same byte.
func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func public(b byte) ed25519.PublicKey { return key(b).Public().(ed25519.PublicKey) }

func circle(b byte) letter.CircleID { return letter.CircleIDOf(public(b)) }

func sample() letter.Record {
	return letter.Record{
		Version: letter.Version, Kind: letter.Propose, From: circle(1), To: circle(2), Epoch: 3, Seq: 7,
		Prev: letter.HashOf([]byte("before")),
		Ack:  letter.Position{Epoch: 1, Seq: 4, Hash: letter.HashOf([]byte("theirs"))},
		Body: []byte("body"), Head: letter.Position{Seq: 900, Hash: letter.HashOf([]byte("log"))},
		At: 1_790_000_000_000, Key: 2,
	}
}

// golden compares with bytes that circles out in the world have already stored and signed. There is no way
// to rewrite the file from here: when this fails, the code is wrong.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil || hex.EncodeToString(got) != strings.TrimSpace(string(want)) {
		t.Errorf("%s changed on the wire (%v):\ngot  %x\nwant %s", name, err, got, want)
	}
}

func TestGolden(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "record", b)
	hash := letter.HashOf(b)
	golden(t, "record_hash", hash[:])
	golden(t, "record_signature", letter.Sign(key(1), b).Sig)
	golden(t, "card_signature", letter.ForCard.Sign(key(1), b))
	golden(t, "welcome_signature", letter.ForWelcome.Sign(key(1), b))
	golden(t, "circle_id", []byte(circle(1)))
	signed, err := letter.Marshal(letter.Signed{Bytes: []byte{1}, Sig: []byte{2}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "signed", signed)
}

// TestKinds lists every kind for ever: a number never changes its meaning or who may send it.
func TestKinds(t *testing.T) {
	names := [65536]string{
		1: "PROPOSE trusted", 2: "ACCEPT trusted", 3: "REJECT trusted", 4: "CANCEL trusted",
		5: "ABORTED trusted", 6: "COMMITTED trusted", 7: "FORGIVEN trusted", 80: "EPOCH charter",
		16: "OFFER charter", 17: "AGREE charter", 18: "AMEND trusted", 19: "END trusted",
	}
	levels := []string{letter.Closed: "closed", letter.Trusted: "trusted", letter.Chartered: "charter"}
	for i, want := range names {
		k := letter.Kind(i)
		if k.Known() != (want != "") {
			t.Errorf("%v: known is %v", k, k.Known())
		}
		if got := k.String() + " " + levels[letter.Trust(k)]; want != "" && got != want {
			t.Errorf("kind %d: %s, want %s", i, got, want)
		}
	}
	if got := letter.Kind(99).String(); got != "KIND(99)" {
		t.Errorf("an unknown kind is called %s", got)
	}
}

func TestDecodeIsEncodeBackwards(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := letter.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Encode()
	if err != nil || !bytes.Equal(b, again) || r.Head != sample().Head || r.Ack != sample().Ack {
		t.Errorf("came back as %+v, %v", r, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*letter.Record)
		want error
	}{
		{"version", func(r *letter.Record) { r.Version = 2 }, letter.ErrVersion},
		{"kind", func(r *letter.Record) { r.Kind = 9 }, letter.ErrKind},
		{"from", func(r *letter.Record) { r.From = "c1" }, letter.ErrMalformed},
		{"to", func(r *letter.Record) { r.To = "" }, letter.ErrMalformed},
		{"to itself", func(r *letter.Record) { r.To = r.From }, letter.ErrMalformed},
		{"place", func(r *letter.Record) { r.Seq = 0 }, letter.ErrMalformed},
		{"time", func(r *letter.Record) { r.At = -1 }, letter.ErrMalformed},
		{"body", func(r *letter.Record) { r.Body = make([]byte, letter.MaxBodyBytes+1) }, letter.ErrTooLarge},
	} {
		r := sample()
		c.do(&r)
		if _, err := r.Encode(); !errors.Is(err, c.want) {
			t.Errorf("%s: encoding gives %v, want %v", c.name, err, c.want)
		}
		b, err := letter.Marshal(r) // past the checks of Encode
		if err != nil {
			t.Fatal(err)
		}
		if _, err := letter.Decode(b); !errors.Is(err, c.want) {
			t.Errorf("%s: decoding gives %v, want %v", c.name, err, c.want)
		}
	}
	r := sample()
	r.Body = make([]byte, letter.MaxBodyBytes)
	b, err := r.Encode()
	if err != nil || len(b) > letter.MaxRecordBytes {
		t.Errorf("the largest body: %d bytes, %v", len(b), err)
	}
}

// TestDecodeWantsOneEncoding changes good bytes in ways that leave their meaning alone.
func TestDecodeWantsOneEncoding(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	splice := func(old, new string) []byte {
		o, _ := hex.DecodeString(old)
		n, _ := hex.DecodeString(new)
		if bytes.Count(b, o) < 1 {
			t.Fatalf("%s is not in the sample", old)
		}
		return bytes.Replace(b, o, n, 1)
	}
	for name, bad := range map[string][]byte{
		"empty":               {},
		"cut short":           b[:len(b)-1],
		"something after it":  append(bytes.Clone(b), 0),
		"long form of a key":  splice("ac0101", "ac180101"),
		"long form of a size": splice("0944626f6479", "095804626f6479"),
		"keys out of order":   splice("ac01010201", "ac02010101"),
		"a key twice":         splice("ac01010201", "ad010101010201"),
		"a key too many":      append(splice("ac01", "ad01"), 0x0d, 0x01),
		"a key too few":       append(splice("ac01", "ab01")[:len(b)-2], []byte{}...),
		"endless map":         append(splice("ac01", "bf01"), 0xff),
		"null for the body":   splice("0944626f6479", "09f6"),
		"text for the body":   splice("0944626f6479", "0964626f6479"),
		"tag":                 splice("0944626f6479", "09d81844626f6479"),
		"float for a number":  splice("0607", "06f94700"),
		"not a map":           {0x83, 0x01, 0x01, 0x00},
	} {
		if r, err := letter.Decode(bad); !errors.Is(err, letter.ErrMalformed) {
			t.Errorf("%s: decodes to %+v, %v", name, r, err)
		}
	}
	if _, err := letter.Decode(make([]byte, letter.MaxRecordBytes+1)); !errors.Is(err, letter.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	later := append(splice("ac0101", "ad0102"), 0x0d, 0x01) // version 2 with a key we have never heard of
	if _, err := letter.Decode(later); !errors.Is(err, letter.ErrVersion) {
		t.Errorf("a later version: %v", err)
	}
}

func TestOpen(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	s := letter.Sign(key(1), b)
	r, h, err := letter.Open(public(1), s)
	if err != nil || h != letter.HashOf(b) || r.Seq != 7 {
		t.Errorf("a good record: %+v, %s, %v", r, h, err)
	}
	for i := range b { // no byte may be changed
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, _, err := letter.Open(public(1), letter.Signed{Bytes: changed, Sig: s.Sig}); !errors.Is(err,
			letter.ErrSignature) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	card := letter.Signed{Bytes: b, Sig: letter.ForCard.Sign(key(1), b)}
	large := make([]byte, letter.MaxRecordBytes+1)
	for name, c := range map[string]struct {
		pub  ed25519.PublicKey
		s    letter.Signed
		want error
	}{
		"another key":       {public(2), s, letter.ErrSignature},
		"half a key":        {public(1)[:16], s, letter.ErrSignature},
		"no key":            {nil, s, letter.ErrSignature},
		"no signature":      {public(1), letter.Signed{Bytes: b}, letter.ErrSignature},
		"another purpose":   {public(1), card, letter.ErrSignature},
		"signed, no record": {public(1), letter.Sign(key(1), []byte{1}), letter.ErrMalformed},
		"too large":         {public(1), letter.Sign(key(1), large), letter.ErrTooLarge},
	} {
		if _, _, err := letter.Open(c.pub, c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestCircleID(t *testing.T) {
	id := circle(1)
	if !id.Valid() || len(id) != 27 || id == circle(2) {
		t.Errorf("id %q is not right", id)
	}
	for _, bad := range []letter.CircleID{
		"", "c", id[1:], id + "a", "d" + id[1:], letter.CircleID(strings.ToUpper(string(id))),
		id[:26] + "b",         // the spare bits of the last character
		id[:25] + "\n" + "aa", // the decoder would skip it
		"c" + letter.CircleID(strings.Repeat("1", 26)),
	} {
		if bad.Valid() {
			t.Errorf("%q passes for a circle id", bad)
		}
	}
}

func TestHashAsText(t *testing.T) {
	h := letter.HashOf([]byte("x"))
	b, err := json.Marshal(letter.Position{Epoch: 1, Seq: 2, Hash: h})
	want := `{"epoch":1,"seq":2,"hash":"` + h.String() + `"}`
	if err != nil || string(b) != want {
		t.Errorf("as JSON %s, %v, want %s", b, err, want)
	}
	var back letter.Position
	if err := json.Unmarshal(b, &back); err != nil || back.Hash != h {
		t.Errorf("back from JSON %+v, %v", back, err)
	}
	for _, bad := range []string{"", "00", h.String() + "00", h.String()[:62] + "zz"} {
		if err := back.Hash.UnmarshalText([]byte(bad)); !errors.Is(err, letter.ErrMalformed) {
			t.Errorf("%q passes for a hash: %v", bad, err)
		}
	}
}

func TestReadable(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "Østre Cirkel 5": true, "four": true, "fiver!": true, "too long": false,
		"a\n": false, "a\u202eb": false, "\xff": false,
	} {
		most := 15
		if s == "too long" {
			most = 7
		}
		if letter.Readable(s, most) != want {
			t.Errorf("Readable(%q) is not %v", s, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xa1, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := letter.Decode(b)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}
