package export

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
	"github.com/carecircle/carecircle/federation/letter"
	"github.com/carecircle/carecircle/federation/payment"
)

// began is when the circle of these tests was founded.
var began = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).UnixMilli()

// source is a circle's state in memory, with what makes it.
type source struct {
	*machine.Mem
	machine *machine.Machine
	key     ed25519.PrivateKey
	n       byte
}

func (s *source) Read(fn func(machine.Reader) error) error { return fn(s.Mem) }

// do applies a command, which must be done unless it is meant to be refused.
func (s *source) do(t testing.TB, actor, kind string, body any) machine.Outcome {
	t.Helper()
	s.n++
	id := machine.ID{s.n, 1}
	c, err := machine.NewCommand(id, machine.Caller{Actor: actor}, began+int64(s.n)*3_600_000, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.machine.Apply(s.Mem, raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// smallCircle has two people, a place and some coins.
func smallCircle(t testing.TB) (s *source, people []string) {
	t.Helper()
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	s = &source{Mem: machine.NewMem(), machine: m, key: keyOf(1)}
	public := s.key.Public().(ed25519.PublicKey)
	must := func(actor, kind string, body any) machine.Outcome {
		out := s.do(t, actor, kind, body)
		if out.Refusal != nil {
			t.Fatalf("%s: %v", kind, out.Refusal)
		}
		return out
	}
	const op = machine.ActorOperator
	must(op, "member.found", member.Found{
		Circle: string(letter.CircleIDOf(public)), Key: public, Name: "Small <Circle>", Place: "Here",
		Aim:     "To test",
		Founder: machine.Text("", "Fay"),
	})
	must(op, "coin.policy", coin.SetPolicy{FloorMinutes: -300, EarnDayMinutes: 720, ReviewOn: "2026-09-30"})
	for i, name := range []string{"Ann", "Bob"} {
		link := machine.Hash{byte(i + 1)}
		out := must(op, "member.invite", member.Invite{
			Name: machine.Text("", name), Link: link, Until: began + 100*3_600_000,
		})
		people = append(people, out.Result.(member.Made).Person)
		must(machine.ActorNode, "member.enter", member.Enter{
			Link: link, Session: machine.Hash{9, byte(i)}, Until: began + 100*3_600_000,
		})
	}
	must(op, "coin.place", coin.AddPlace{Place: "repair-cafe", Name: "Repair cafe"})
	must(op, "coin.earn", coin.Earn{
		Person: people[0], Minutes: 180, Activity: "garden \"beds\"", On: began - 5*24*3_600_000,
	})
	must(people[0], "coin.pay", coin.Pay{To: people[1], Minutes: 60, Activity: "a lift"})
	must(people[0], "coin.give", coin.Give{To: "place/repair-cafe", Minutes: 30})
	must(people[1], "coin.give", coin.Give{To: coin.Pool, Minutes: 45})
	if out := s.do(t, people[1], "coin.give", coin.Give{To: coin.Pool, Minutes: 6000}); out.Refusal == nil {
		t.Fatal("too much was given")
	}
	return s, people
}

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func export(t testing.TB, s *source, format string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, s, s.key, format); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func verify(t testing.TB, raw []byte) Checked {
	t.Helper()
	c, err := Verify(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLogIsWell(t *testing.T) {
	s, _ := smallCircle(t)
	c := verify(t, export(t, s, "log"))
	if !c.OK() || c.Commands != uint64(s.n) || c.Refused != 1 || c.Done != c.Commands-1 ||
		c.Name != "Small <Circle>" {
		t.Errorf("%+v", c)
	}
	if c.Sum != 0 || c.Entries == 0 || c.Accounts != 5 {
		t.Errorf("%+v", c)
	}
}

// wantFound wants a finding in a line of the file, counted from 1, that names what stands there. Header and
// end are both under the one signature, so a wrong header may show at the end.
func wantFound(t *testing.T, raw []byte, what string, atLine, lines int) {
	t.Helper()
	c := verify(t, raw)
	if c.OK() {
		t.Errorf("%s: nothing was found", what)
		return
	}
	f := c.Findings[0]
	if cutOff := f.Line == 0 && strings.Contains(f.Text, "the end is missing"); cutOff && atLine == lines {
		return
	}
	if atLine == 1 && strings.Contains(f.Text, "header") || atLine == lines && f.Line == lines {
		return
	}
	if f.Line != atLine || !strings.Contains(f.Text+" ", fmt.Sprintf("entry %d", atLine-1)) {
		t.Errorf("%s: found %+v, want entry %d in line %d", what, f, atLine-1, atLine)
	}
}

// TestNoByteChangesUnnoticed flips every bit of a log, leaves out every byte, and puts bytes in everywhere.
func TestNoByteChangesUnnoticed(t *testing.T) {
	s, _ := smallCircle(t)
	raw := export(t, s, "log")
	lines := bytes.Count(raw, []byte("\n"))
	at := 1
	for i, b := range raw {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			wantFound(t, bad, fmt.Sprintf("bit %d of byte %d (%q)", bit, i, b), at, lines)
		}
		wantFound(t, slices.Delete(bytes.Clone(raw), i, i+1), fmt.Sprintf("without byte %d (%q)", i, b), at,
			lines)
		for _, extra := range []byte("\rA") {
			bad := slices.Insert(bytes.Clone(raw), i, extra)
			wantFound(t, bad, fmt.Sprintf("%q before byte %d (%q)", extra, i, b), at, lines)
		}
		if t.Failed() {
			return
		}
		if b == '\n' {
			at++
		}
	}
	for _, extra := range []string{"\n", " ", "\r\n", "{}\n", "x"} {
		if verify(t, append(bytes.Clone(raw), extra...)).OK() {
			t.Errorf("%q after the end was not found", extra)
		}
	}
}

// TestLinesMoved removes, doubles and swaps lines, and cuts the file everywhere.
func TestLinesMoved(t *testing.T) {
	s, _ := smallCircle(t)
	raw := export(t, s, "log")
	lines := bytes.SplitAfter(raw, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		at, last := i+1, len(lines)
		wantFound(t, bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil),
			fmt.Sprintf("without line %d", at),
			min(at, last-1), last-1)
		wantFound(t, bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil),
			fmt.Sprintf("line %d twice", at),
			at+1, last+1)
		if i+1 < len(lines) {
			swapped := slices.Clone(lines)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			bad := bytes.Join(swapped, nil)
			wantFound(t, bad, fmt.Sprintf("lines %d and %d swapped", at, at+1), at, last)
			entries := i > 0 && i+2 < len(lines) // neither the header nor the end
			if text := verify(t, bad).Findings[0].Text; entries != strings.Contains(text, "swapped") {
				t.Errorf("lines %d and %d swapped: it says %q", at, at+1, text)
			}
		}
	}
	for n := range raw {
		if verify(t, raw[:n]).OK() {
			t.Errorf("cut off after byte %d: nothing was found", n)
		}
	}
}

// forge writes a log of commands, chained and signed with any key, as a forger would.
func forge(t *testing.T, key ed25519.PrivateKey, h header, commands [][]byte) []byte {
	t.Helper()
	first, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var e ending
	write := func(v any) {
		if err := writeLine(&out, v); err != nil {
			t.Fatal(err)
		}
	}
	write(h)
	for _, raw := range commands {
		e.End, e.Head = e.End+1, machine.ChainHash(e.Head, raw)
		write(line{N: e.End, Entry: raw, Head: e.Head})
	}
	e.Signature = letter.ForLog.Sign(key, signedPart(first, e))
	write(e)
	return out.Bytes()
}

func commandsOf(s *source) (out [][]byte) {
	machine.Journal(s.Mem, 1, func(_ uint64, raw []byte) bool {
		out = append(out, bytes.Clone(raw))
		return true
	})
	return out
}

// TestForgedLog has forgers chain and sign a whole log anew.
func TestForgedLog(t *testing.T) {
	s, people := smallCircle(t)
	h := func(key ed25519.PrivateKey) header {
		public := key.Public().(ed25519.PublicKey)
		return header{logFormat, string(letter.CircleIDOf(public)), "Small <Circle>", public}
	}
	honest := commandsOf(s)
	if got := forge(t, s.key, h(s.key), honest); !bytes.Equal(got, export(t, s, "log")) {
		t.Fatal("forge does not write what Write does: the test proves nothing")
	}
	earn := slices.Clone(honest)
	at := slices.IndexFunc(earn, func(raw []byte) bool { return bytes.Contains(raw, []byte("coin.earn")) })
	c, err := machine.DecodeCommand(earn[at])
	if err != nil {
		t.Fatal(err)
	}
	c, err = machine.NewCommand(c.ID, c.Caller, c.At, c.Kind, coin.Earn{
		Person: people[0], Minutes: 720,
		Activity: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	if earn[at], err = c.Encode(); err != nil {
		t.Fatal(err)
	}
	forger, own := keyOf(2), h(s.key)
	named := own
	named.Name = "Other"
	for what, raw := range map[string][]byte{
		"own header, forger's signature":     forge(t, forger, own, earn),
		"forger's header and signature":      forge(t, forger, h(forger), earn),
		"forger's header, the same commands": forge(t, forger, h(forger), honest),
		"forger's key under the circle's id": forge(t, forger, header{
			logFormat, own.Circle, own.Name,
			h(forger).Key,
		}, earn),
		"another name, signed by the circle": forge(t, s.key, named, honest),
		"the founding left out":              forge(t, s.key, own, honest[1:]),
		"a command twice, signed by the circle": forge(t, s.key, own, append(slices.Clone(honest),
			honest[at])),
		"no command, signed by the circle": forge(t, s.key, own, nil),
		"not a command, signed by the circle": forge(t, s.key, own, append(slices.Clone(honest),
			[]byte("x"))),
		"another format": forge(t, s.key, header{
			"carecircle log v2", own.Circle,
			own.Name, own.Key,
		}, honest),
	} {
		if c := verify(t, raw); c.OK() {
			t.Errorf("%s: nothing was found", what)
		} else {
			t.Logf("%s: %s", what, c.Findings[0].Text)
		}
	}
}

func TestNotALog(t *testing.T) {
	for _, raw := range []string{"", "\n", "{}\n", "hello\n", "null\n", strings.Repeat("a", maxLineBytes+1)} {
		c := verify(t, []byte(raw))
		if c.OK() || !strings.Contains(c.Findings[0].Text, "header") && len(raw) > 0 && len(raw) < 100 {
			t.Errorf("%.20q: %v", raw, c.Findings)
		}
	}
}

func TestCompare(t *testing.T) {
	log := func(name string, mirrors ...Mirror) Checked {
		return Checked{Circle: name, Name: name, Mirrors: mirrors}
	}
	for what, c := range map[string]struct {
		logs []Checked
		want int
	}{
		"mirrors": {[]Checked{log("a", Mirror{Circle: "b", BookMinutes: 60}), log("b",
			Mirror{Circle: "a", BookMinutes: -60})}, 0},
		"differ": {[]Checked{log("a", Mirror{Circle: "b", BookMinutes: 60}), log("b",
			Mirror{Circle: "a", BookMinutes: 60})}, 1},
		"one has no account":    {[]Checked{log("a", Mirror{Circle: "b", BookMinutes: 60}), log("b")}, 1},
		"the other has none":    {[]Checked{log("a"), log("b", Mirror{Circle: "a", BookMinutes: 1})}, 1},
		"strangers":             {[]Checked{log("a"), log("b")}, 0},
		"met, nothing was paid": {[]Checked{log("a", Mirror{Circle: "b"}), log("b")}, 0},
	} {
		if got := Compare(c.logs); len(got) != c.want {
			t.Errorf("%s: %v, want %d findings", what, got, c.want)
		}
	}
}

// TestUndone: a payment that was accepted, and undone by the hub before the payer heard of it, is owed by
// nobody; another one with the same id by the other circle is.
func TestUndone(t *testing.T) {
	keys := [2]ed25519.PrivateKey{keyOf(1), keyOf(2)}
	var ids [2]letter.CircleID
	for i, k := range keys {
		ids[i] = letter.CircleIDOf(k.Public().(ed25519.PublicKey))
	}
	record := func(from int, kind letter.Kind, body []byte, err error) letter.Record {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r, _, _, err := letter.Next(letter.Position{}, letter.Record{
			Kind: kind, From: ids[from], To: ids[1-from], Body: body, At: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	tid := payment.TID{7}
	accept := func(from int, minutes int64) letter.Record {
		t.Helper()
		offer, err := payment.ProposeBody{
			TID: tid, Minutes: minutes, Alias: "ALIAS222", Expiry: 5, Note: []byte{},
		}.Encode()
		raw, err := record(1-from, letter.Propose, offer, err).Encode()
		if err != nil {
			t.Fatal(err)
		}
		body, err := payment.AcceptBody{
			TID: tid, Propose: letter.Sign(keys[1-from], raw), Note: []byte{},
		}.Encode()
		return record(from, letter.Accept, body, err)
	}
	forgiven, err := payment.ForgivenBody{TID: tid}.Encode()
	c := Checked{}
	v := &verifier{Checked: &c}
	all := newDeals()
	for from, minutes := range []int64{30, 45} {
		v.counts(accept(from, minutes), keys[1-from].Public().(ed25519.PublicKey), all)
	}
	v.counts(record(0, letter.Forgiven, forgiven, err), nil, all)
	if len(c.Findings) > 0 || all.owed(ids[0]) != 45 || all.owed(ids[1]) != -45 {
		t.Errorf("%v; %+v", c.Findings, all)
	}
	v.counts(accept(0, 30), keys[0].Public().(ed25519.PublicKey), all)
	if len(c.Findings) != 1 {
		t.Errorf("a proposal that its payer did not sign: %v", c.Findings)
	}
}
