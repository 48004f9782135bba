package courier_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/clearing"
	"github.com/carecircle/carecircle/federation/courier"
	"github.com/carecircle/carecircle/federation/directory"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func public(b byte) ed25519.PublicKey { return key(b).Public().(ed25519.PublicKey) }

func circle(b byte) letter.CircleID { return letter.CircleIDOf(public(b)) }

func at(seq uint64) letter.Position {
	return letter.Position{Epoch: 1, Seq: seq, Hash: letter.HashOf([]byte{byte(seq)})}
}

func welcome(t testing.TB) courier.Welcome {
	t.Helper()
	w, err := courier.SignWelcome(key(2), courier.Welcome{
		Nx: courier.Nonce{1}, Ny: courier.Nonce{2}, Held: at(3), HeadSeen: at(900),
		From: circle(2), To: circle(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func messages(t testing.TB) map[string]any {
	all := map[string]any{
		"open": courier.Open{
			From: circle(1), To: circle(2), Nx: courier.Nonce{1}, Attempt: 4, Tail: at(7),
		},
		"welcome": welcome(t),
		"batch": courier.Batch{
			Nx: courier.Nonce{1}, Ny: courier.Nonce{2}, From: circle(1), To: circle(2),
			Records: []letter.Signed{
				{Bytes: []byte("one"), Sig: []byte("1")}, {Bytes: []byte("two"), Sig: []byte("2")},
			},
		},
		"ack":     courier.Ack{Held: at(5)},
		"refused": courier.Refused{Code: courier.SessionVoid, Message: "open a new one"},
		"recall":  courier.Recall{From: circle(1), To: circle(2), After: 7},
		"recalled": courier.Recalled{
			Records: []letter.Signed{{Bytes: []byte("one"), Sig: []byte("1")}},
		},
		"register": courier.Register{
			From: circle(1), To: circle(2), Verdict: 2,
			Proof: letter.Signed{Bytes: []byte("p"), Sig: []byte("s")},
		},
		"certified": courier.Certified{Certificate: letter.Signed{Bytes: []byte("c"), Sig: []byte("s")}},
		"report": courier.Report{
			From: circle(1), To: circle(2), Peer: circle(3), Epoch: 2, Last: true,
			Certificates: []letter.Signed{{Bytes: []byte("c"), Sig: []byte("s")}},
		},
		"office": courier.Office{Epoch: 2},
		"want": courier.Want{From: circle(1), To: circle(2), Have: directory.Vector{
			{Circle: circle(3), Seq: 5},
		}},
		"cards": courier.Cards{Cards: []letter.Signed{{Bytes: []byte("c"), Sig: []byte("s")}}},
		"withdrawn": courier.Withdrawn{
			From: circle(1), To: circle(2), Card: letter.Signed{Bytes: []byte("c"), Sig: []byte("s")},
		},
		"contact": courier.Contact{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Card: strings.Repeat("b", 32),
			Words: "Hello",
		},
		"reply": courier.Reply{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Yes: true, Words: "Ring me",
		},
		"told": courier.Told{},
		"moveask": courier.MoveAsk{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Name: "Dev", Words: "Hello",
		},
		"moveanswer": courier.MoveAnswer{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Yes: true, Code: "DEVDEV22",
			Origin: "https://bh.example",
		},
		"movearrived": courier.MoveArrived{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Code: "DEVDEV22",
			Origin: "https://bh.example",
		},
		"movearrivedagain": courier.MoveArrived{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Code: "DEVDEV22",
			Person: "pdev", Proof: bytes.Repeat([]byte{2}, 64),
		},
		"movepacketsigned": courier.MovePacket{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Link: bytes.Repeat([]byte{1}, 32),
			Person: "pdev", Proof: bytes.Repeat([]byte{2}, 64),
		},
		"movepacket": courier.MovePacket{
			From: circle(1), To: circle(2), ID: strings.Repeat("a", 32), Link: bytes.Repeat([]byte{1}, 32),
		},
		"receipt": courier.Receipt{Ack: letter.Signed{Bytes: []byte("a"), Sig: []byte("s")}},
	}
	maps.Copy(all, roundMessages())
	return all
}

// roundMessages are those about setting off between circles, and about a federation.
func roundMessages() map[string]any {
	return map[string]any{
		"join": courier.Join{
			From: circle(1), To: circle(2), Secret: bytes.Repeat([]byte{3}, 16), Card: []byte("c"),
		},
		"charterask": courier.CharterAsk{
			From: circle(1), To: circle(2), Seq: 4, Cards: 3, Card: []byte("c"),
		},
		"charternews": courier.CharterNews{
			Charter: letter.Signed{Bytes: []byte("c"), Sig: []byte("s")}, Cards: [][]byte{[]byte("d")},
			Through: 4,
		},
		"chartershow": courier.CharterShow{
			From: circle(1), To: circle(2), Charter: letter.Signed{Bytes: []byte("c"), Sig: []byte("s")},
			Cards: [][]byte{[]byte("d")},
		},
		"booksask": courier.BooksAsk{
			From: circle(1), To: circle(2), Payer: circle(1), After: payment.TID{1}, Through: payment.TID{9},
			Digest: courier.DigestOf([]courier.BooksLine{{TID: payment.TID{2}, Minutes: 30, Made: true}}),
		},
		"bookstell": courier.BooksTell{
			Owes: -30, Through: payment.TID{9}, Lines: []courier.BooksLine{
				{TID: payment.TID{2}, Minutes: 30, Made: true}, {TID: payment.TID{3}, Minutes: 5},
			},
		},
		"roundask": courier.RoundAsk{From: circle(1), To: circle(2), Known: []uint64{5}, Current: 6},
		"roundnews": courier.RoundNews{
			Number: 6, Stage: 12, Wanted: true, Paper: letter.Signed{Bytes: []byte("p"), Sig: []byte("s")},
			Outcome: letter.Signed{Bytes: []byte("o"), Sig: []byte("s")},
		},
		"roundsay": courier.RoundSay{
			From: circle(1), To: circle(2), Number: 6, Stated: true, No: true,
			Positions: []courier.RoundPosition{{Circle: circle(3), Minutes: -30}},
			Consent:   clearing.Consent{Circle: circle(1), Key: []byte("k"), Sig: []byte("s")},
			Paper:     letter.Signed{Bytes: []byte("p"), Sig: []byte("s")},
			Outcome:   letter.Signed{Bytes: []byte("o"), Sig: []byte("s")},
		},
	}
}

// TestGolden compares with what other circles send. Nothing here rewrites the files.
func TestGolden(t *testing.T) {
	for name, msg := range messages(t) {
		b, err := courier.Encode(msg)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/" + name + ".hex")
		if err != nil || hex.EncodeToString(b) != strings.TrimSpace(string(want)) {
			t.Errorf("%s changed on the wire (%v):\ngot  %x\nwant %s", name, err, b, want)
		}
		back, err := courier.Decode(b)
		if err != nil || !reflect.DeepEqual(back, msg) {
			t.Errorf("%s comes back as %+v, %v", name, back, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	unsigned, records := welcome(t), make([]letter.Signed, courier.MaxBatchRecords+1)
	unsigned.Sig = nil
	big := []letter.Signed{{Bytes: make([]byte, courier.MaxMessageBytes)}}
	one, two, long := circle(1), circle(2), strings.Repeat("a", courier.MaxRefusalBytes+1)
	for name, c := range map[string]struct {
		msg  any
		want error
	}{
		"nothing":            {nil, courier.ErrMessage},
		"something else":     {"hello", courier.ErrMessage},
		"a pointer":          {&courier.Ack{}, courier.ErrMessage},
		"open to itself":     {courier.Open{From: one, To: one}, courier.ErrMessage},
		"open from nobody":   {courier.Open{To: two}, courier.ErrMessage},
		"welcome unsigned":   {unsigned, courier.ErrMessage},
		"batch of nothing":   {courier.Batch{From: one, To: two}, courier.ErrMessage},
		"batch of too many":  {courier.Batch{From: one, To: two, Records: records}, courier.ErrMessage},
		"batch to nobody":    {courier.Batch{From: one, Records: records[:1]}, courier.ErrMessage},
		"batch too large":    {courier.Batch{From: one, To: two, Records: big}, letter.ErrTooLarge},
		"refused, no code":   {courier.Refused{Message: "no"}, courier.ErrMessage},
		"refused, long code": {courier.Refused{Code: strings.Repeat("a", 33)}, courier.ErrMessage},
		"refused, long text": {courier.Refused{Code: "busy", Message: long}, courier.ErrMessage},
	} {
		if _, err := courier.Encode(c.msg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// envelope writes what Encode would not.
func envelope(t *testing.T, version, kind uint64, body any) []byte {
	t.Helper()
	b, err := letter.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	b, err = letter.Marshal(struct {
		Version uint64 `cbor:"1,keyasint"`
		Kind    uint64 `cbor:"2,keyasint"`
		Body    []byte `cbor:"3,keyasint"`
	}{version, kind, b})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeRefuses(t *testing.T) {
	ack := courier.Ack{Held: at(5)}
	good := envelope(t, 1, 4, ack)
	if msg, err := courier.Decode(good); err != nil || msg != ack {
		t.Fatalf("a good one: %+v, %v", msg, err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":          {nil, letter.ErrMalformed},
		"cut short":        {good[:len(good)-1], letter.ErrMalformed},
		"more after it":    {append(bytes.Clone(good), 0), letter.ErrMalformed},
		"later version":    {envelope(t, 2, 4, ack), letter.ErrVersion},
		"unknown kind":     {envelope(t, 1, 32, ack), letter.ErrKind},
		"kind 0":           {envelope(t, 1, 0, ack), letter.ErrKind},
		"body of another":  {envelope(t, 1, 5, ack), letter.ErrMalformed},
		"null for a body":  {envelope(t, 1, 4, nil), letter.ErrMalformed},
		"against a limit":  {envelope(t, 1, 5, courier.Refused{}), courier.ErrMessage},
		"longer than most": {make([]byte, courier.MaxMessageBytes+1), letter.ErrTooLarge},
	} {
		if msg, err := courier.Decode(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, msg, err, c.want)
		}
	}
}

func TestWelcomeIsSigned(t *testing.T) {
	good := welcome(t)
	if err := courier.VerifyWelcome(public(2), good); err != nil {
		t.Fatal(err)
	}
	if err := courier.VerifyWelcome(public(1), good); !errors.Is(err, letter.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	for name, do := range map[string]func(*courier.Welcome){
		"nx": func(w *courier.Welcome) { w.Nx[15]++ }, "ny": func(w *courier.Welcome) { w.Ny[15]++ },
		"held":         func(w *courier.Welcome) { w.Held.Seq++ },
		"head":         func(w *courier.Welcome) { w.HeadSeen.Seq++ },
		"from":         func(w *courier.Welcome) { w.From = circle(3) },
		"to":           func(w *courier.Welcome) { w.To = circle(3) },
		"no signature": func(w *courier.Welcome) { w.Sig = nil },
	} {
		w := good
		do(&w)
		if err := courier.VerifyWelcome(public(2), w); !errors.Is(err, letter.ErrSignature) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestNonceAsText(t *testing.T) {
	n := courier.Nonce{1, 15: 0xff}
	b, err := json.Marshal(n)
	if err != nil || string(b) != `"010000000000000000000000000000ff"` {
		t.Errorf("as JSON %s, %v", b, err)
	}
	var back courier.Nonce
	if err := json.Unmarshal(b, &back); err != nil || back != n {
		t.Errorf("back from JSON %s, %v", back, err)
	}
	for _, bad := range []string{"", "01", n.String() + "00", n.String()[:30] + "zz"} {
		if err := back.UnmarshalText([]byte(bad)); !errors.Is(err, letter.ErrMalformed) {
			t.Errorf("%q passes for a nonce: %v", bad, err)
		}
	}
}

// TestFit: whatever Fit lets through can be encoded, and one more could not or is not allowed.
func TestFit(t *testing.T) {
	for _, size := range []int{1, 100, 1000, 8170, 8 << 10, 9 << 10, letter.MaxRecordBytes} {
		records := make([]letter.Signed, 2*courier.MaxBatchRecords)
		for i := range records {
			records[i] = letter.Signed{Bytes: make([]byte, size), Sig: make([]byte, ed25519.SignatureSize)}
		}
		n := courier.Fit(records)
		b, err := courier.Encode(courier.Batch{From: circle(1), To: circle(2), Records: records[:n]})
		if err != nil || n < 1 {
			t.Errorf("%d records of %d bytes: %v", n, size, err)
		}
		if n < courier.MaxBatchRecords && len(b)+2*size < courier.MaxMessageBytes-1<<14 {
			t.Errorf("only %d records of %d bytes, %d bytes in all", n, size, len(b))
		}
		if few := courier.Fit(records[:1]); few != 1 {
			t.Errorf("one record of %d bytes: %d fit", size, few)
		}
	}
	if n := courier.Fit(nil); n != 0 {
		t.Errorf("of no records %d fit", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, msg := range messages(f) {
		b, err := courier.Encode(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := courier.Decode(b)
		if err != nil {
			return
		}
		again, err := courier.Encode(msg)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}
