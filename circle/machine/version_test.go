package machine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/carecircle/carecircle/circle/machine"
)

func (b *bench) activate(actor string, version uint32) machine.Outcome {
	b.t.Helper()
	c := b.command("rules.activate", machine.Activate{Version: version})
	c.Actor = actor
	return b.apply(c)
}

// TestRulesVersionSwitch has one kind in two forms: which is in force is a matter of the log, and answers
// given under the old form are still readable under the new.
func TestRulesVersionSwitch(t *testing.T) {
	b := newBench(t)
	old := b.command("toy.greet", greetOld{Name: "Norah"})
	if err := b.m.Check(old); err != nil {
		t.Errorf("the form in force does not pass Check: %v", err)
	}
	if out := b.apply(old); out.Result != (heldOld{Said: "hello Norah"}) {
		t.Fatalf("old form: %+v", out)
	}
	b.refused("bad_body", "toy.greet", greetNew{First: "Norah", Last: "May"})
	b.refused("not_in_force", "toy.later", machine.None{})
	for i, x := range []struct {
		actor   string
		version uint32
		code    string
	}{
		{"alice", 1, "not_allowed"},
		{machine.ActorOperator, 0, "rules_not_newer"},
	} {
		if out := b.activate(x.actor, x.version); out.Refusal == nil || out.Refusal.Code != x.code {
			t.Errorf("%d: %+v, want %s", i, out.Refusal, x.code)
		}
	}
	if out := b.activate(machine.ActorOperator, 1); out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	if v := machine.ReadMeta(b.kv).RulesVersion; v != 1 {
		t.Fatalf("version %d in force", v)
	}
	if out := b.do("toy.greet", greetNew{First: "Norah", Last: "May"}); out.Result != (heldNew{Letters: 8}) {
		t.Errorf("new form: %+v", out)
	}
	if out := b.do("toy.later", machine.None{}); out.Result != (got{N: 1}) {
		t.Errorf("new kind: %+v", out)
	}
	if out := b.apply(old); !out.Repeated || out.Result != (heldOld{Said: "hello Norah"}) {
		t.Errorf("an answer of the old form, asked again: %+v", out)
	}
}

// TestUnknownRulesStop: a program never runs older rules than those in force. What would put newer ones in
// force is refused before it is logged; if another program logged it, this one stops and writes nothing.
func TestUnknownRulesStop(t *testing.T) {
	b := newBench(t)
	newer := b.command("rules.activate", machine.Activate{Version: machine.NewestRules + 1})
	newer.Actor = machine.ActorOperator
	if err := b.m.Check(newer); err == nil || machine.AsError(err).Code != "rules_unknown" {
		t.Errorf("Check: %v", err)
	}
	nested := b.command("toy.plan", plan{Steps: []step{
		{Do: "try", Pass: true, In: []step{{Do: "activate", N: int64(machine.NewestRules)}}},
		{Do: "set", Name: "a", N: 1},
	}})
	stops := func(what string, c machine.Command) {
		t.Helper()
		before, rows, at := machine.StateHash(b.kv), b.kv.Len(), machine.ReadMeta(b.kv)
		raw, err := c.Encode()
		if err == nil {
			_, err = b.m.Apply(b.kv, raw)
		}
		if !errors.Is(err, machine.ErrStop) || !strings.Contains(err.Error(), "install the version") {
			t.Errorf("%s: %v, want ErrStop and what to do", what, err)
		}
		if machine.StateHash(b.kv) != before || b.kv.Len() != rows || machine.ReadMeta(b.kv) != at {
			t.Errorf("%s: something was written", what)
		}
	}
	stops("activated", newer)
	stops("activated within a command that goes on", nested)
	newer.Actor = "alice" // whom no version lets do it
	if out := b.apply(newer); out.Refusal == nil || out.Refusal.Code != "not_allowed" {
		t.Errorf("%+v", out)
	}
	if err := machine.Understood(b.kv); err != nil {
		t.Error(err)
	}
	meta := machine.ReadMeta(b.kv)
	meta.RulesVersion = machine.NewestRules + 1
	raw, err := cbor.Marshal(meta)
	if err != nil {
		t.Fatal(err)
	}
	b.kv.Set([]byte("m"), raw)
	if err := machine.Understood(b.kv); !errors.Is(err, machine.ErrStop) {
		t.Errorf("a state under newer rules: %v", err)
	}
	stops("in force", b.command("toy.set", set{Name: "a", N: 1}))
}

// TestNotInForceIsNotLogged: a kind of a later rules version is refused before it enters the log.
func TestNotInForceIsNotLogged(t *testing.T) {
	b := newBench(t)
	for range 2 {
		want := machine.ReadMeta(b.kv).RulesVersion == 0
		err := b.m.InForce(b.kv, "toy.later")
		refused := err != nil && machine.AsError(err).Code == "not_in_force"
		if !b.m.NeedsVersion("toy.later") || want != refused {
			t.Errorf("version %d: %v", machine.ReadMeta(b.kv).RulesVersion, err)
		}
		for _, kind := range []string{"toy.greet", "toy.set"} {
			if err := b.m.InForce(b.kv, kind); err != nil || b.m.NeedsVersion(kind) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		b.activate(machine.ActorOperator, 1)
	}
}

func TestRefusedActivationIsUndone(t *testing.T) {
	b := newBench(t)
	b.refused("asked_for", "toy.plan", plan{Steps: []step{{Do: "activate"}, {Do: "refuse"}}})
	if v := machine.ReadMeta(b.kv).RulesVersion; v != 0 {
		t.Errorf("version %d is in force after a refusal", v)
	}
	b.do("toy.plan", plan{Steps: []step{{Do: "activate"}}})
	if v := machine.ReadMeta(b.kv).RulesVersion; v != 1 {
		t.Errorf("version %d is in force after a nested activation", v)
	}
}

func TestWhatDoesNotBuild(t *testing.T) {
	apply := func(*machine.Tx, machine.None) (machine.None, error) { return machine.None{}, nil }
	ask := func(machine.Read, machine.None) (machine.None, error) { return machine.None{}, nil }
	rule := func(kind, doc string, p machine.Policy) machine.Feature {
		return machine.Feature{Name: "f", Rules: []machine.Rule{machine.Do(kind, doc, p, apply)}}
	}
	view := func(name, doc string, p machine.Policy) machine.Feature {
		return machine.Feature{Name: "f", Views: []machine.View{machine.Ask(name, doc, p, ask)}}
	}
	anyone := machine.Anyone
	noAllow, noName := machine.Policy{Name: "x"}, machine.Policy{Allow: anyone.Allow}
	twice := rule("f.a", "doc", anyone)
	twice.Rules = append(twice.Rules, twice.Rules[0])
	seenTwice := view("f.a", "doc", anyone)
	seenTwice.Views = append(seenTwice.Views, seenTwice.Views[0])
	for want, f := range map[string]machine.Feature{
		"rule \"f.a\" has no policy":                   rule("f.a", "doc", noAllow),
		"rule \"f.a\" has no policy: say":              rule("f.a", "doc", noName),
		"rule \"f.a\" has no doc":                      rule("f.a", "", anyone),
		"rule \"g.a\" is not named f.":                 rule("g.a", "doc", anyone),
		"rule \"fa\" is not named f.":                  rule("fa", "doc", anyone),
		"is not named f.something":                     rule("f."+strings.Repeat("a", 63), "doc", anyone),
		"rule \"f.a\" is registered twice for":         twice,
		"view \"f.a\" has no policy":                   view("f.a", "doc", noAllow),
		"view \"f.a\" has no policy: say who may read": view("f.a", "doc", noName),
		"view \"f.a\" has no doc":                      view("f.a", "", anyone),
		"view \"g.a\" is not named f.":                 view("g.a", "doc", anyone),
		"view \"f.a\" is registered twice":             seenTwice,
	} {
		if _, err := machine.New(mayAct, f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := machine.New(mayAct, rule("f.a", "doc", anyone)); err != nil {
		t.Error(err)
	}
}

func TestPolicies(t *testing.T) {
	read := func(actor, behalf string) machine.Read {
		by := machine.Caller{Actor: actor, OnBehalfOf: behalf}
		return machine.Read{Reader: machine.NewMem(), Caller: by}
	}
	peer := machine.PeerActor("cabc")
	either := machine.AnyOf(machine.Only("node"), machine.Only("operator"))
	for i, x := range []struct {
		p    machine.Policy
		rd   machine.Read
		want bool
	}{
		{machine.Only("node"), read("node", ""), true},
		{machine.Only("node"), read("operator", ""), false},
		{machine.Only("node"), read("node", "norah"), false},
		{machine.Only("node"), read("alice", "node"), false},
		{machine.PeerOnly, read(peer, ""), true},
		{machine.PeerOnly, read(peer, "norah"), false},
		{machine.PeerOnly, read("peer", ""), false},
		{machine.PeerOnly, read("alice", peer), false},
		{either, read("node", ""), true},
		{either, read("operator", ""), true},
		{either, read("alice", ""), false},
	} {
		if err := x.p.Allow(x.rd, nil); (err == nil) != x.want {
			t.Errorf("%d: %s for %+v: %v", i, x.p.Name, x.rd.Caller, err)
		}
	}
	if either.Name != "node only or operator only" {
		t.Error(either.Name)
	}
}

func TestViewsAskWhoMayAct(t *testing.T) {
	b := newBench(t)
	b.do("toy.set", set{Name: "a", N: 5})
	ask := func(actor, behalf, name string) (any, error) {
		rd := machine.Read{Reader: b.kv, Caller: machine.Caller{Actor: actor, OnBehalfOf: behalf}}
		return b.m.View(rd, name, func(q any) error { *q.(*string) = "a"; return nil })
	}
	if n, err := ask("alice", "norah", "toy.number"); err != nil || n != int64(5) {
		t.Errorf("%v %v", n, err)
	}
	for want, x := range map[string][3]string{
		"may_not_act": {"bob", "norah", "toy.number"}, "unknown_view": {"alice", "", "toy.none"},
		"not_allowed": {"alice", "nor\x00ah", "toy.number"},
	} {
		if _, err := ask(x[0], x[1], x[2]); err == nil || machine.AsError(err).Code != want {
			t.Errorf("%v: %v, want %s", x, err, want)
		}
	}
	c := b.command("toy.set", set{Name: "a", N: 6})
	c.OnBehalfOf = "dev"
	if out := b.apply(c); out.Refusal == nil || out.Refusal.Code != "may_not_act" {
		t.Errorf("%+v", out)
	}
	b.want("a", 5)
}
