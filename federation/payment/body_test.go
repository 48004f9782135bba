package payment_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

var (
	propose = payment.ProposeBody{
		TID: tid(9), Minutes: 90, Alias: "ana", Memo: []byte("memo"), Note: []byte("note"),
		Expiry: 1_790_000_000_000,
	}
	accept = payment.AcceptBody{
		TID: tid(9), Propose: letter.Signed{Bytes: []byte("bytes"), Sig: []byte("sig")}, Note: []byte("note"),
	}
	reject = payment.RejectBody{
		TID: tid(9), Reason: payment.ReasonLimit, Propose: letter.HashOf([]byte("bytes")),
	}
	cancel = payment.CancelBody{TID: tid(9)}
)

// decoders lists the four bodies by what reads them back.
var decoders = []struct {
	name   string
	sample interface{ Encode() ([]byte, error) }
	decode func([]byte) (interface{ Encode() ([]byte, error) }, error)
}{
	{"propose", propose, func(b []byte) (interface{ Encode() ([]byte, error) }, error) {
		return payment.DecodePropose(b)
	}},
	{"accept", accept, func(b []byte) (interface{ Encode() ([]byte, error) }, error) {
		return payment.DecodeAccept(b)
	}},
	{"reject", reject, func(b []byte) (interface{ Encode() ([]byte, error) }, error) {
		return payment.DecodeReject(b)
	}},
	{"cancel", cancel, func(b []byte) (interface{ Encode() ([]byte, error) }, error) {
		return payment.DecodeCancel(b)
	}},
}

// golden compares with bytes that circles have already stored and signed; nothing here rewrites the file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil || hex.EncodeToString(got) != strings.TrimSpace(string(want)) {
		t.Errorf("%s changed on the wire (%v):\ngot  %x\nwant %s", name, err, got, want)
	}
}

func TestGolden(t *testing.T) {
	for _, c := range decoders {
		b, err := c.sample.Encode()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, c.name, b)
		back, err := c.decode(b)
		if err != nil || !reflect.DeepEqual(back, c.sample) {
			t.Errorf("%s comes back as %+v, %v", c.name, back, err)
		}
	}
	b, err := letter.Marshal(payment.Payment{
		TID: tid(9), Peer: "c", Side: payment.Payer, State: payment.Returned, Minutes: 90, Account: "a",
		Alias: "b", Expiry: 1, At: 2, Decided: 3, Cancelled: true, Reason: "limit", Propose: []byte("p"),
		Memo: []byte("m"),
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "payment", b)
}

func TestBodiesRefuse(t *testing.T) {
	change := func(do func(*payment.ProposeBody)) payment.ProposeBody {
		b := propose
		do(&b)
		return b
	}
	longNote := make([]byte, max(payment.MaxMemoBytes, payment.MaxNoteBytes)+1)
	for name, bad := range map[string]interface{ Encode() ([]byte, error) }{
		"propose without id": change(func(b *payment.ProposeBody) { b.TID = payment.TID{} }),
		"propose nothing":    change(func(b *payment.ProposeBody) { b.Minutes = 0 }),
		"propose less":       change(func(b *payment.ProposeBody) { b.Minutes = -1 }),
		"propose too much":   change(func(b *payment.ProposeBody) { b.Minutes = payment.MaxMinutes + 1 }),
		"propose to nobody":  change(func(b *payment.ProposeBody) { b.Alias = "" }),
		"propose long alias": change(func(b *payment.ProposeBody) { b.Alias = strings.Repeat("a", 129) }),
		"propose to 2 lines": change(func(b *payment.ProposeBody) { b.Alias = "a\nb" }),
		"propose long memo":  change(func(b *payment.ProposeBody) { b.Memo = longNote }),
		"propose long note":  change(func(b *payment.ProposeBody) { b.Note = longNote }),
		"propose for ever":   change(func(b *payment.ProposeBody) { b.Expiry = 0 }),
		"accept without id":  payment.AcceptBody{Propose: accept.Propose},
		"accept nothing":     payment.AcceptBody{TID: tid(1), Propose: letter.Signed{Sig: []byte{1}}},
		"accept unsigned":    payment.AcceptBody{TID: tid(1), Propose: letter.Signed{Bytes: []byte{1}}},
		"accept long note":   payment.AcceptBody{TID: tid(1), Propose: accept.Propose, Note: longNote},
		"reject without id":  payment.RejectBody{Reason: "limit"},
		"reject for nothing": payment.RejectBody{TID: tid(1)},
		"reject with prose":  payment.RejectBody{TID: tid(1), Reason: "Because."},
		"reject long code":   payment.RejectBody{TID: tid(1), Reason: strings.Repeat("a", 33)},
		"cancel without id":  payment.CancelBody{},
	} {
		if _, err := bad.Encode(); !errors.Is(err, payment.ErrBody) {
			t.Errorf("%s: encodes, %v", name, err)
		}
		b, err := letter.Marshal(bad) // past the checks of Encode
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range decoders {
			if !strings.HasPrefix(name, c.name) {
				continue
			}
			back, err := c.decode(b)
			if !errors.Is(err, payment.ErrBody) && !errors.Is(err, letter.ErrTooLarge) {
				t.Errorf("%s: decodes to %+v, %v", name, back, err)
			}
		}
	}
}

// TestLargestFits proves that no PROPOSE can be too large to be accepted: the receipt holds all of it.
func TestLargestFits(t *testing.T) {
	north, south := newPair()
	_, err := north.step(slot(payment.Payer, tid(1)), payment.Begin{Peer: south.id, Body: payment.ProposeBody{
		TID: tid(1), Minutes: payment.MaxMinutes, Alias: strings.Repeat("a", payment.MaxAliasBytes),
		Memo: make([]byte, payment.MaxMemoBytes), Note: make([]byte, payment.MaxNoteBytes), Expiry: 1 << 62,
	}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := payment.DecodePropose(mustDecode(t, north.stream[0]).Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = south.step(slot(payment.Payee, tid(1)), payment.GotPropose{
		Peer: north.id, Body: body, Signed: north.stream[0], Note: make([]byte, payment.MaxNoteBytes),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := payment.DecodeAccept(mustDecode(t, south.stream[0]).Body); err != nil {
		t.Fatal(err)
	}
}

func mustDecode(t *testing.T, s letter.Signed) letter.Record {
	t.Helper()
	r, err := letter.Decode(s.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMismatch gives Step a payment that was looked up under the wrong key.
func TestMismatch(t *testing.T) {
	north, south := newPair()
	if _, err := north.begin(1, 90, 1000); err != nil {
		t.Fatal(err)
	}
	ours := slot(payment.Payer, tid(1))
	theirs, stop := propose, payment.CancelBody{TID: tid(1)}
	theirs.TID = tid(1)
	for _, in := range []payment.Input{
		payment.GotPropose{Peer: south.id, Body: theirs},
		payment.GotCancel{Peer: south.id, Body: stop},
		payment.GotAccept{Body: accept},
		payment.GotReject{Body: reject},
		nil,
	} {
		if _, err := north.step(ours, in); !errors.Is(err, payment.ErrMismatch) {
			t.Errorf("%T: %v", in, err)
		}
	}
	if got := north.payments[ours]; got.State != payment.Held || !got.Open() {
		t.Errorf("now it is %s", got.State)
	}
}

// TestPaymentKeepsWhatIsShown: what pages and later steps need is in the payment on both sides.
func TestPaymentKeepsWhatIsShown(t *testing.T) {
	north, south := newPair()
	north.now, south.now = 5, 7
	if _, err := north.begin(1, 90, 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := south.receive(north.stream[0], ""); err != nil {
		t.Fatal(err)
	}
	north.now = 9
	if _, err := north.receive(south.stream[0], ""); err != nil {
		t.Fatal(err)
	}
	bytes := north.stream[0].Bytes
	for _, c := range []struct{ got, want payment.Payment }{
		{north.payments[slot(payment.Payer, tid(1))], payment.Payment{
			TID: tid(1), Peer: south.id, Side: payment.Payer, State: payment.Settled, Minutes: 90,
			Account: "ana", Alias: "ben", Expiry: 1000, At: 5, Decided: 9, Propose: bytes,
			Memo: []byte("memo"),
		}},
		{south.payments[slot(payment.Payee, tid(1))], payment.Payment{
			TID: tid(1), Peer: north.id, Side: payment.Payee, State: payment.Accepted, Minutes: 90,
			Account: "ben", Alias: "ben", Expiry: 1000, At: 7, Decided: 7, Propose: bytes,
			Memo: []byte("memo"),
		}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("kept   %+v\nwanted %+v", c.got, c.want)
		}
		b, err := json.Marshal(c.got)
		var back payment.Payment
		if err != nil || json.Unmarshal(b, &back) != nil || !reflect.DeepEqual(back, c.want) {
			t.Errorf("as JSON %s, %v", b, err)
		}
	}
	var id payment.TID
	if err := id.UnmarshalText([]byte("00")); !errors.Is(err, letter.ErrMalformed) {
		t.Errorf("a short id: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for i, c := range decoders {
		b, err := c.sample.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		back, err := decoders[int(which)%len(decoders)].decode(b)
		if err != nil {
			return
		}
		again, err := back.Encode()
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}
