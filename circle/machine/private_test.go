package machine

import (
	"strings"
	"testing"
)

// TestPrivateOfOldRows reads plain text and bytes where a Private stands now: logs are for ever.
func TestPrivateOfOldRows(t *testing.T) {
	type now struct {
		_     struct{} `cbor:",toarray"`
		Name  string
		Alt   Private
		Data  Private
		Added int64
	}
	old := mustEncode(struct {
		_     struct{} `cbor:",toarray"`
		Name  string
		Alt   string
		Data  []byte
		Added int64
	}{Name: "a", Alt: "beans in a row", Data: []byte{0xff, 0xd8}, Added: 7})
	var got now
	mustDecode(old, &got)
	if got.Name != "a" || got.Alt.Clear() != "beans in a row" || got.Data.Clear() != "\xff\xd8" ||
		got.Added != 7 {
		t.Errorf("read %+v", got)
	}
	got.Alt = Private{Of: "norah", Scheme: SchemeSealed, Data: []byte("x")}
	var again now
	mustDecode(mustEncode(got), &again)
	if again.Alt.Of != "norah" || !again.Alt.IsSealed() || string(again.Alt.Data) != "x" {
		t.Errorf("came back as %+v", again)
	}
	for what, raw := range map[string][]byte{
		"number": {0x01}, "map": {0xa0}, "short": {0x81, 0x60}, "bad text": {0x61, 0xff},
	} {
		var p Private
		if err := decMode.Unmarshal(raw, &p); err == nil {
			t.Errorf("a %s was read as %+v", what, p)
		}
	}
}

// TestCheckSealed bounds what nobody can read any more.
func TestCheckSealed(t *testing.T) {
	sealed := func(n int) Private {
		return Private{Of: "norah", Scheme: SchemeSealed, Data: []byte(strings.Repeat("x", n))}
	}
	nobodys, later, second := sealed(SealOverhead+1), sealed(SealOverhead+1), sealed(SealOverhead+1)
	nobodys.Of = ""
	later.Scheme++
	second.Key = 1
	for what, c := range map[string]struct {
		p  Private
		ok bool
	}{
		"one letter":     {sealed(SealOverhead + 1), true},
		"as many as fit": {sealed(SealOverhead + 10), true},
		"nothing":        {sealed(SealOverhead), false},
		"too many":       {sealed(SealOverhead + 11), false},
		"nobody's":       {nobodys, false},
		"another scheme": {later, false},
		"another key":    {second, false},
		"clear":          {Text("norah", strings.Repeat("x", 99)), true}, // its own check bounds it
	} {
		if err := c.p.CheckSealed("note", 10); (err == nil) != c.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRulesCannotOpen hands a rule's read something sealed.
func TestRulesCannotOpen(t *testing.T) {
	p := Private{Of: "norah", Scheme: SchemeSealed, Data: []byte("x")}
	rd := Read{}
	if b, ok := rd.Bytes(p); ok || b != nil || rd.CanOpen() || rd.Text(p) != "" {
		t.Error("a rule opened it")
	}
	m := (&Machine{}).Opening(func(_ Reader, p Private) ([]byte, bool) { return []byte("tea"), true })
	if rd = m.Opened(rd); rd.Text(p) != "tea" || !rd.CanOpen() || rd.Text(Text("", "clear")) != "clear" {
		t.Error("a view cannot open it")
	}
}

// TestCloseViewsSayWhomTheyLookAt refuses a view of a close class whose query names nobody.
func TestCloseViewsSayWhomTheyLookAt(t *testing.T) {
	view := Ask("toy.file", "A file.", Anyone, func(Read, None) (None, error) { return None{}, nil })
	if _, err := New(nil, Feature{Name: "toy", Views: []View{view.Of(ClassCare)}}); err == nil {
		t.Error("it was taken")
	}
}
