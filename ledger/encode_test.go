package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

var sample = Transfer{
	ID: ID{1, 2, 3, 15: 16}, Op: OpSettle, Book: "coins",
	Legs: []Leg{{"ann", -60}, {"ben", 60}}, Of: ID{9},
	Effective: 1700000000000, Reason: "visit", Ref: "für/7",
}

// TestEncodeTransferIsForEver pins the layout: a change of one byte would change every body hash there is.
func TestEncodeTransferIsForEver(t *testing.T) {
	want := strings.Join([]string{
		"01", "01020300000000000000000000000010", "05", "00000005", "636f696e73",
		"00000002", "00000003", "616e6e", "ffffffffffffffc4", "00000003", "62656e", "000000000000003c",
		"09000000000000000000000000000000", "0000018bcfe56800", "00000005", "7669736974",
		"00000006", "66c3bc722f37",
	}, "")
	if got := hex.EncodeToString(EncodeTransfer(sample)); got != want {
		t.Errorf("encoding is\n%s, want\n%s", got, want)
	}
}

// TestBodyTellsRequestsApart changes each part in turn.
func TestBodyTellsRequestsApart(t *testing.T) {
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*Transfer){
		"nothing":   func(*Transfer) {},
		"id":        func(tr *Transfer) { tr.ID[15]++ },
		"op":        func(tr *Transfer) { tr.Op = OpVoid },
		"book":      func(tr *Transfer) { tr.Book = "coinsa" },
		"account":   func(tr *Transfer) { tr.Legs[0].Account = "an" },
		"change":    func(tr *Transfer) { tr.Legs[1].Change++ },
		"order":     func(tr *Transfer) { tr.Legs[0], tr.Legs[1] = tr.Legs[1], tr.Legs[0] },
		"fewer":     func(tr *Transfer) { tr.Legs = tr.Legs[:1] },
		"none":      func(tr *Transfer) { tr.Legs = nil },
		"of":        func(tr *Transfer) { tr.Of = ID{} },
		"effective": func(tr *Transfer) { tr.Effective = 0 },
		"reason":    func(tr *Transfer) { tr.Reason = "visitf" },
		"ref":       func(tr *Transfer) { tr.Ref = "" },
		"moved on":  func(tr *Transfer) { tr.Reason, tr.Ref = "visitf", "ür/7" },
	} {
		changed := sample
		changed.Legs = append([]Leg(nil), sample.Legs...)
		change(&changed)
		if other, ok := seen[changed.Body()]; ok {
			t.Errorf("%s and %s have the same body", name, other)
		}
		seen[changed.Body()] = name
	}
}

func TestDecodeTransferRefuses(t *testing.T) {
	good := EncodeTransfer(sample)
	for n := range good {
		if _, err := DecodeTransfer(good[:n]); err == nil || !strings.Contains(err.Error(), "end too early") {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	many := func(n int) string { return strings.Repeat("x", n) }
	long := func(change func(*Transfer)) []byte {
		changed := sample
		changed.Legs = append([]Leg(nil), sample.Legs...)
		change(&changed)
		return EncodeTransfer(changed)
	}
	for want, b := range map[string][]byte{
		"1 bytes are left over":                append(bytes.Clone(good), 0),
		"version 2 is not known":               append([]byte{2}, good[1:]...),
		"book: 65 is more than 64":             long(func(tr *Transfer) { tr.Book = many(65) }),
		"reason: 33 is more than 32":           long(func(tr *Transfer) { tr.Reason = many(33) }),
		"reference: 257 is more than 256":      long(func(tr *Transfer) { tr.Ref = many(257) }),
		"legs: 65 is more than 64":             long(func(tr *Transfer) { tr.Legs = make([]Leg, 65) }),
		"account: 129 is more than 128":        long(func(tr *Transfer) { tr.Legs[0].Account = many(129) }),
		"legs: 4294967295 is more than 64":     append(bytes.Clone(good[:27]), 255, 255, 255, 255),
		"book: 4294967295 is more than 64":     append(bytes.Clone(good[:18]), 255, 255, 255, 255),
		"account: 2147483648 is more than 128": append(bytes.Clone(good[:31]), 128, 0, 0, 0),
	} {
		if got, err := DecodeTransfer(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v, %v", want, got, err)
		} else if !reflect.DeepEqual(got, Transfer{}) {
			t.Errorf("%s: got %+v beside the error", want, got)
		}
	}
}

// FuzzDecodeTransfer wants no panic, and that what decodes encodes to the very same bytes.
func FuzzDecodeTransfer(f *testing.F) {
	f.Add(EncodeTransfer(sample))
	f.Add(EncodeTransfer(Transfer{}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		decoded, err := DecodeTransfer(b)
		if err != nil {
			return
		}
		if again := EncodeTransfer(decoded); !bytes.Equal(again, b) {
			t.Errorf("%x decodes to %+v, which encodes to %x", b, decoded, again)
		}
		if len(decoded.Legs) > MaxLegs || len(decoded.Ref) > MaxRefBytes || len(decoded.Book) > MaxNameBytes {
			t.Errorf("beyond the limits: %+v", decoded)
		}
	})
}

// FuzzApply wants that no transfer whatever makes the ledger panic or its audit fail.
func FuzzApply(f *testing.F) {
	f.Add(EncodeTransfer(sample), EncodeTransfer(sample))
	post := Transfer{ID: ID{1}, Op: OpPost, Book: "coins", Legs: []Leg{{"ann", -1}, {"ben", 1}}}
	f.Add(EncodeTransfer(post), EncodeTransfer(Transfer{ID: ID{2}, Op: OpReverse, Book: "coins", Of: ID{1}}))
	post.Op = OpHold
	f.Add(EncodeTransfer(post), EncodeTransfer(Transfer{ID: ID{2}, Op: OpSettle, Book: "coins", Of: ID{1}}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		one, err1 := DecodeTransfer(first)
		two, err2 := DecodeTransfer(second)
		if err1 != nil || err2 != nil {
			return
		}
		s := NewMem()
		for _, id := range []string{"ann", "ben"} {
			if err := Open(s, 1, AccountSpec{"coins", id, "person", -1000, 1000, StateOpen}); err != nil {
				t.Fatal(err)
			}
		}
		for _, group := range [][]Transfer{{one}, {two}, {one, two}} {
			before := dump(s)
			if _, err := Apply(s, 2, group); err != nil && dump(s) != before {
				t.Errorf("%+v: refused (%v), but the store changed", group, err)
			}
		}
		if report, err := Audit(s); err != nil {
			t.Error(report.Findings)
		}
	})
}

func drawAnyTransfer(t *rapid.T) Transfer {
	tr := Transfer{
		Op:        Op(rapid.Byte().Draw(t, "op")),
		Book:      rapid.StringN(-1, -1, MaxNameBytes).Draw(t, "book"),
		Effective: rapid.Int64().Draw(t, "effective"),
		Reason:    rapid.StringN(-1, -1, MaxReasonBytes).Draw(t, "reason"),
		Ref:       rapid.StringN(-1, -1, MaxRefBytes).Draw(t, "ref"),
	}
	copy(tr.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	copy(tr.Of[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "of"))
	for range rapid.IntRange(0, MaxLegs).Draw(t, "legs") {
		leg := Leg{rapid.StringN(-1, -1, MaxIDBytes).Draw(t, "account"), rapid.Int64().Draw(t, "change")}
		tr.Legs = append(tr.Legs, leg)
	}
	return tr
}

// TestRoundTrips takes transfers and all they are part of through the canonical encoding, JSON and CBOR.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawAnyTransfer(t)
		if got, err := DecodeTransfer(EncodeTransfer(tr)); err != nil || !reflect.DeepEqual(got, tr) {
			t.Fatalf("%+v came back as %+v, %v", tr, got, err)
		}
		op := Op(rapid.IntRange(1, 7).Draw(t, "op with a word"))
		tr.Op = op
		n := rapid.Uint64().Draw(t, "n")
		spec := AccountSpec{"coins", "ann", "person", -int64(n >> 2), int64(n >> 3), State(n%3) + 1}
		for _, v := range []any{
			Entry{Seq: n, Recorded: int64(n >> 1), Op: op, Transfer: &tr},
			Entry{Seq: n, Op: OpOpen, Account: &spec},
			Account{"coins", "ann", "person", -1, 2, StateFrozen, 3, 4, 5, n, 7},
			Record{ID: tr.ID, Seq: n, Body: tr.Body(), Op: op, Status: Status(n%5) + 1, Closed: tr.Of},
			Line{"coins", "ann", n, n + 1, -2, 3, 4, 5},
		} {
			throughText(t, v, json.Marshal, json.Unmarshal)
			throughText(t, v, cbor.Marshal, cbor.Unmarshal)
		}
	})
}

func throughText(t *rapid.T, v any, marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) {
	b, err := marshal(v)
	if err != nil {
		t.Fatalf("marshal %+v: %v", v, err)
	}
	got := reflect.New(reflect.TypeOf(v))
	if err := unmarshal(b, got.Interface()); err != nil {
		t.Fatalf("unmarshal %q: %v", b, err)
	}
	if !reflect.DeepEqual(got.Elem().Interface(), v) {
		t.Fatalf("%+v came back as %+v", v, got.Elem())
	}
}

func TestTextForms(t *testing.T) {
	b, err := json.Marshal(Entry{Seq: 4, Recorded: 5, Op: OpSettle, Transfer: &sample})
	want := `{"seq":4,"recorded":5,"op":"settle","transfer":{"id":"01020300000000000000000000000010",` +
		`"op":"settle","book":"coins",` +
		`"legs":[{"account":"ann","change":-60},{"account":"ben","change":60}],` +
		`"of":"09000000000000000000000000000000","effective":1700000000000,"reason":"visit","ref":"für/7"}}`
	if err != nil || string(b) != want {
		t.Errorf("entry in JSON is %s, %v\nwant %s", b, err, want)
	}
	for _, text := range []string{
		"", "01", "0102030000000000000000000000001g", "0102030000000000000000000000001A",
		"010203000000000000000000000000100",
	} {
		if id, err := ParseID(text); err == nil || !id.IsZero() {
			t.Errorf("ParseID(%q) is %v, %v", text, id, err)
		}
		if err := new(ID).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) is no error", text)
		}
	}
	var op Op
	var state State
	var status Status
	for _, text := range []string{"", "unknown(0)", "Open", "opened"} {
		if op.UnmarshalText([]byte(text)) == nil || state.UnmarshalText([]byte(text)) == nil ||
			status.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is a word for something", text)
		}
	}
}
