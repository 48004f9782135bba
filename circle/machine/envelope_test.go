package machine_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares bytes with testdata/NAME.hex. What is logged stays readable for ever: such a file changes
// only when it is new.
func golden(t *testing.T, name string, raw []byte) {
	t.Helper()
	path := "testdata/" + name + ".hex"
	text := hex.EncodeToString(raw) + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s: bytes\n%swant\n%s", name, text, want)
	}
}

func sample(t *testing.T) machine.Command {
	t.Helper()
	id, err := machine.ParseID("0195a7f0-1234-7abc-8def-0123456789ab")
	if err != nil {
		t.Fatal(err)
	}
	by := machine.Caller{Actor: "alice", OnBehalfOf: "norah"}
	c, err := machine.NewCommand(id, by, 1_772_438_400_000, "toy.set", set{Name: "a", N: -7})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEnvelopeBytes(t *testing.T) {
	c := sample(t)
	raw, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "command", raw)
	back, err := machine.DecodeCommand(raw)
	if err != nil {
		t.Fatal(err)
	}
	if back.ID != c.ID || back.Caller != c.Caller || back.At != c.At || back.Kind != c.Kind ||
		!bytes.Equal(back.Body, c.Body) || back.Version != machine.EnvelopeVersion {
		t.Errorf("read back %+v, want %+v", back, c)
	}
	c.OnBehalfOf = ""
	plain, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "command_for_oneself", plain)
	private, err := machine.NewCommand(c.ID, c.Caller, 0, "toy.set", machine.Text("norah", "tea at four"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "private", private.Body)
	golden(t, "chain", bytes.Join([][]byte{hashOf(machine.ChainHash(machine.Hash{}, raw))}, nil))
}

func hashOf(h machine.Hash) []byte { return h[:] }

func TestDecodeRefuses(t *testing.T) {
	c := sample(t)
	future, sealed := c, c
	future.Version = 2
	sealed.Scheme = 1
	good, _ := c.Encode()
	sealedRaw, _ := sealed.Encode()
	futureRaw := bytes.Replace(good, []byte{0x01, 0x01}, []byte{0x01, 0x02}, 1)
	longNumber := bytes.Replace(good, []byte{0x01, 0x01}, []byte{0x01, 0x18, 0x01}, 1)
	for want, raw := range map[string][]byte{
		"version 2":   futureRaw,
		"scheme 1":    sealedRaw,
		"over the li": make([]byte, machine.MaxCommandBytes+1),
		"form":        longNumber,
	} {
		if _, err := machine.DecodeCommand(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestCheckedIsReadable: what passes Check can be read by Apply. Anything else would stop every replica.
func TestCheckedIsReadable(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*machine.Command){
		"actor not text":  func(c *machine.Command) { c.Actor = "ali\xffce" },
		"behalf not text": func(c *machine.Command) { c.OnBehalfOf = "nor\xffah" },
		"sealed":          func(c *machine.Command) { c.Scheme = 1 },
		"key not text":    func(c *machine.Command) { c.KeyName = "\xff" },
		"body cut":        func(c *machine.Command) { c.Body = c.Body[:len(c.Body)-1] },
		"body longer":     func(c *machine.Command) { c.Body = append(c.Body[:len(c.Body):len(c.Body)], 0) },
		"no body":         func(c *machine.Command) { c.Body = nil },
		"empty body":      func(c *machine.Command) { c.Body = []byte{} },
		"null body":       func(c *machine.Command) { c.Body = []byte{0xf6} },
		"zero byte":       func(c *machine.Command) { c.Actor = "a\x00b" },
		"nobody":          func(c *machine.Command) { c.Actor = "" },
		"long actor":      func(c *machine.Command) { c.Actor = strings.Repeat("a", 129) },
		"no id":           func(c *machine.Command) { c.ID = machine.ID{} },
		"the circle":      func(c *machine.Command) { c.Actor = machine.ActorCircle },
	} {
		c := b.command("toy.set", set{Name: "a", N: 1})
		change(&c)
		err := b.m.Check(c)
		if err == nil {
			raw, encErr := c.Encode()
			if encErr != nil {
				t.Errorf("%s: passed Check and cannot be encoded: %v", name, encErr)
				continue
			}
			if _, err := machine.DecodeCommand(raw); err != nil {
				t.Errorf("%s: passed Check and stops the replica: %v", name, err)
			}
			continue
		}
		if e := machine.AsError(err); e.Code == "refused" || e.Message == "" {
			t.Errorf("%s: refused without a code: %v", name, err)
		}
	}
	big := b.command("toy.set", set{Name: strings.Repeat("a", machine.MaxCommandBytes), N: 1})
	if err := b.m.Check(big); machine.AsError(err).Code != "too_large" {
		t.Errorf("a large command: %v", err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, name := range []string{"command", "command_for_oneself"} {
		text, err := os.ReadFile("testdata/" + name + ".hex")
		if err != nil {
			f.Fatal(err)
		}
		raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		for i := range raw { // one byte off, at every place
			raw[i] ^= 0x20
			f.Add(bytes.Clone(raw))
			raw[i] ^= 0x20
		}
	}
	m, err := machine.New(mayAct, toy())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := machine.DecodeCommand(raw)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%x was read and becomes %x: %v", raw, again, err)
		}
		if !m.Knows(c.Kind) {
			return
		}
		kv := machine.NewMem()
		out, err := m.Apply(kv, raw)
		if err != nil {
			t.Fatalf("%x: %v", raw, err)
		}
		repeat, err := m.Apply(kv, raw)
		if err != nil || !repeat.Repeated || (repeat.Refusal == nil) != (out.Refusal == nil) {
			t.Errorf("%x: asked again: %+v %v", raw, repeat, err)
		}
	})
}

func TestTextForms(t *testing.T) {
	c := sample(t)
	text, err := json.Marshal(struct {
		ID   machine.ID
		Hash machine.Hash
		Note machine.Private
	}{c.ID, machine.Hash{31: 7}, machine.Text("norah", "tea")})
	want := `{"ID":"0195a7f0-1234-7abc-8def-0123456789ab",` +
		`"Hash":"` + strings.Repeat("0", 63) + `7","Note":"tea"}`
	if err != nil || string(text) != want {
		t.Errorf("%s %v, want %s", text, err, want)
	}
	var back struct {
		ID   machine.ID
		Hash machine.Hash
		Note machine.Private
	}
	err = json.Unmarshal(text, &back)
	if err != nil || back.ID != c.ID || back.Hash[31] != 7 || back.Note.Clear() != "tea" {
		t.Errorf("%+v %v", back, err)
	}
	for _, bad := range []string{
		"", "0195", strings.Repeat("g", 32), strings.Repeat("0", 33), strings.Repeat("00", 17),
	} {
		if _, err := machine.ParseID(bad); err == nil || machine.AsError(err).Code != "bad_id" {
			t.Errorf("ParseID(%q): %v", bad, err)
		}
		var h machine.Hash
		if err := h.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("Hash from %q", bad)
		}
	}
	if sealed := (machine.Private{Scheme: 1, Data: []byte("x")}); sealed.Clear() != "" {
		t.Error("sealed data was shown as clear text")
	}
}
