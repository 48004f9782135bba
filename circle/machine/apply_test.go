package machine_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

func TestRefusedRuleIsUndone(t *testing.T) {
	b := newBench(t)
	b.do("toy.set", set{Name: "a", N: 5})
	b.refused("negative", "toy.set", set{Name: "a", N: -1})
	b.want("a", 5)
	b.refused("negative", "toy.set", set{Name: "b", N: -1})
	b.wantNone("b")
	// Every way of writing one row several times goes back to what it was before.
	b.refused("asked_for", "toy.plan", plan{Steps: []step{
		{Do: "set", Name: "a", N: 6},
		{Do: "delete", Name: "a"},
		{Do: "set", Name: "a", N: 7},
		{Do: "set", Name: "b", N: 1},
		{Do: "delete", Name: "b"},
		{Do: "emit", Name: "x"},
		{Do: "refuse"},
	}})
	b.want("a", 5)
	b.wantNone("b")
	if e := machine.Events(b.kv, 10, func(machine.Event) bool { return true }); len(e) != 1 {
		t.Errorf("events %v: want that of the one done command", e)
	}
	if said := b.refused("refused", "toy.plain", machine.None{}); said != "no code on it" {
		t.Errorf("an error without a code became %q", said)
	}
}

func TestNestedRunIsUndoneAlone(t *testing.T) {
	b := newBench(t)
	inner := []step{{Do: "set", Name: "in", N: 1}, {Do: "emit", Name: "in"}, {Do: "refuse"}}
	out := b.do("toy.plan", plan{Steps: []step{
		{Do: "set", Name: "before", N: 1},
		{Do: "emit", Name: "before"},
		{Do: "run", In: inner, Pass: true},
		{Do: "set", Name: "after", N: 2},
		{Do: "emit", Name: "after"},
	}})
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	b.want("before", 1)
	b.want("after", 2)
	b.wantNone("in")
	if len(out.Events) != 2 || out.Events[0].Words != "before" || out.Events[1].Words != "after" {
		t.Errorf("events %+v: want those before and after the refused part", out.Events)
	}
	b.refused("asked_for", "toy.plan", plan{
		Steps: []step{{Do: "set", Name: "q", N: 1}, {Do: "run", In: inner}},
	})
	b.wantNone("q")
}

func TestTryUndoesItsPart(t *testing.T) {
	b := newBench(t)
	b.do("toy.set", set{Name: "a", N: 1})
	out := b.do("toy.plan", plan{Steps: []step{
		{Do: "set", Name: "a", N: 2},
		{Do: "try", Pass: true, In: []step{
			{Do: "set", Name: "a", N: 3}, {Do: "emit", Name: "no"}, {Do: "refuse"},
		}},
		{Do: "try", Pass: true, In: []step{
			{Do: "set", Name: "b", N: 4},
			{Do: "try", Pass: true, In: []step{{Do: "delete", Name: "b"}, {Do: "refuse"}}},
		}},
	}})
	if out.Refusal != nil || len(out.Events) != 0 {
		t.Fatalf("%+v", out)
	}
	b.want("a", 2)
	b.want("b", 4)
}

func TestNestingHasALimit(t *testing.T) {
	b := newBench(t)
	deep := func(levels int) []step {
		steps := []step{{Do: "set", Name: "deep", N: int64(levels)}}
		for range levels {
			steps = []step{{Do: "run", In: steps}}
		}
		return steps
	}
	if out := b.do("toy.plan", plan{Steps: deep(machine.MaxNestedDepth - 1)}); out.Refusal != nil {
		t.Fatalf("within the limit: %v", out.Refusal)
	}
	b.refused("nested_too_deep", "toy.plan", plan{Steps: deep(machine.MaxNestedDepth)})
	b.want("deep", machine.MaxNestedDepth-1)
}

func TestRunIsByTheCircleAndGivesBackTheCaller(t *testing.T) {
	b := newBench(t)
	out := b.do("toy.who", machine.None{})
	if out.Result != (heldOld{Said: "alice,circle,alice"}) {
		t.Errorf("callers were %+v", out.Result)
	}
	b.refused("not_allowed", "toy.inner", machine.None{})
}

func TestRunTakesAPrivilege(t *testing.T) {
	b := newBench(t)
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "weak") {
			t.Errorf("a feature without MayRun ran a command; recovered %v", r)
		}
	}()
	b.do("weak.run", machine.None{})
}

func TestOneAnswerForOneID(t *testing.T) {
	b := newBench(t)
	c := b.command("toy.set", set{Name: "a", N: 3})
	first := b.apply(c)
	b.do("toy.set", set{Name: "a", N: 9})
	again := c
	again.At += 5000 // the leader stamps a retry anew
	meta := machine.ReadMeta(b.kv)
	second := b.apply(again)
	if !second.Repeated || second.Result != first.Result || second.Position != first.Position ||
		second.Kind != "toy.set" || len(second.Events) != 0 {
		t.Errorf("first %+v, then %+v", first, second)
	}
	b.want("a", 9)
	other := b.command("toy.set", set{Name: "a", N: 4})
	other.ID = c.ID
	elsewhere := b.command("toy.plan", plan{})
	elsewhere.ID = c.ID
	byAnother := c
	byAnother.Actor = "bob"
	onBehalf := c
	onBehalf.OnBehalfOf = "norah"
	for i, x := range []machine.Command{other, elsewhere, byAnother, onBehalf} {
		if out := b.apply(x); out.Refusal == nil || out.Refusal.Code != "id_reused" || !out.Repeated {
			t.Errorf("reuse %d: %+v", i, out)
		}
	}
	if machine.ReadMeta(b.kv) != meta {
		t.Error("repeats moved the journal")
	}
	if third := b.apply(c); third.Result != first.Result || third.Refusal != nil {
		t.Errorf("after the reuse the first answer is gone: %+v", third)
	}
}

func TestRefusedAnswersAreRepeated(t *testing.T) {
	b := newBench(t)
	for _, c := range []machine.Command{
		b.command("toy.set", set{Name: "a", N: -3}), b.command("toy.set", set{}),
		b.command("toy.inner", machine.None{}), b.command("toy.later", machine.None{}),
	} {
		first := b.apply(c)
		meta := machine.ReadMeta(b.kv)
		second := b.apply(c)
		if first.Refusal == nil || !reflect.DeepEqual(second.Refusal, first.Refusal) || !second.Repeated {
			t.Errorf("%s: first %+v, then %+v", c.Kind, first.Refusal, second.Refusal)
		}
		if machine.ReadMeta(b.kv) != meta {
			t.Errorf("%s: the repeat moved the journal", c.Kind)
		}
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	b := newBench(t)
	now := func(at int64) int64 {
		c := b.command("toy.now", machine.None{})
		c.At = at
		return b.apply(c).Result.(got).N
	}
	for i, x := range []struct{ at, want int64 }{
		{-5, 0}, {1000, 1000}, {400, 1000}, {1001, 1001}, {-1 << 62, 1001},
	} {
		if n := now(x.at); n != x.want {
			t.Errorf("%d: at %d the rule saw %d, want %d", i, x.at, n, x.want)
		}
	}
	late := b.command("toy.set", set{Name: "a", N: 1})
	late.At = 1
	if out := b.apply(late); out.Events[0].At != 1001 {
		t.Errorf("the event is of %d", out.Events[0].At)
	}
}

func TestJournalHoldsEveryCommandOnce(t *testing.T) {
	b := newBench(t)
	var want [][]byte
	var head machine.Hash
	for _, c := range []machine.Command{
		b.command("toy.set", set{Name: "a", N: 1}), b.command("toy.set", set{Name: "a", N: -1}),
		b.command("toy.now", machine.None{}),
	} {
		b.apply(c)
		b.apply(c)
		raw, _ := c.Encode()
		want = append(want, raw)
		head = machine.ChainHash(head, raw)
	}
	n := uint64(0)
	machine.Journal(b.kv, 1, func(position uint64, raw []byte) bool {
		if n++; position != n || string(raw) != string(want[n-1]) {
			t.Errorf("position %d, want %d", position, n)
		}
		return true
	})
	if meta := machine.ReadMeta(b.kv); n != 3 || meta.Position != 3 || meta.Head != head {
		t.Errorf("%d in the journal, %+v", n, meta)
	}
	seen := uint64(0)
	machine.Journal(b.kv, 2, func(position uint64, _ []byte) bool { seen = position; return false })
	if seen != 2 {
		t.Errorf("a walk from 2 began at %d", seen)
	}
}

func TestFreshIDs(t *testing.T) {
	b := newBench(t)
	c := b.command("toy.names", machine.None{})
	ids := b.apply(c).Result.([]machine.ID)
	if ids[0] != c.ID || ids[1] == ids[0] || ids[2] == ids[1] || ids[2] == ids[0] {
		t.Errorf("ids %v of command %v", ids, c.ID)
	}
	if again := b.apply(c).Result.([]machine.ID); !reflect.DeepEqual(again, ids) {
		t.Errorf("a repeat gave %v", again)
	}
}

func TestEventsAreBounded(t *testing.T) {
	b := newBench(t)
	all := func(machine.Event) bool { return true }
	many := make([]step, machine.MaxEventsOfOne)
	for i := range many {
		many[i] = step{Do: "emit", Name: fmt.Sprint(i)}
	}
	rounds := machine.MaxEventsKept/machine.MaxEventsOfOne + 2
	for range rounds {
		if out := b.do("toy.plan", plan{Steps: many}); len(out.Events) != machine.MaxEventsOfOne {
			t.Fatalf("%d events", len(out.Events))
		}
	}
	kept := machine.Events(b.kv, 1<<30, all)
	total := uint64(rounds * machine.MaxEventsOfOne)
	if len(kept) != machine.MaxEventsKept || kept[0].Number != total ||
		machine.ReadMeta(b.kv).Events != total {
		t.Errorf("%d kept, the newest %d of %d", len(kept), kept[0].Number, total)
	}
	if got := machine.Events(b.kv, 3, func(e machine.Event) bool { return e.Number%2 == 0 }); len(got) != 3 ||
		got[0].Number <= got[1].Number || got[2].Number%2 != 0 {
		t.Errorf("three even ones: %+v", got)
	}
	b.refused("too_much_at_once", "toy.plan", plan{Steps: append(many, step{Do: "emit"})})
	if machine.ReadMeta(b.kv).Events != total {
		t.Error("a command that emits more than the limit is refused, and some of it is left")
	}
}

func TestStateHashCoversTablesOnly(t *testing.T) {
	b := newBench(t)
	empty := machine.StateHash(b.kv)
	b.do("toy.now", machine.None{})
	b.do("toy.plan", plan{Steps: []step{{Do: "emit", Name: "x"}}})
	b.refused("negative", "toy.set", set{Name: "a", N: -1})
	if machine.StateHash(b.kv) != empty {
		t.Error("journal, answers, events or position are in the state hash")
	}
	b.do("toy.set", set{Name: "a", N: 1})
	one := machine.StateHash(b.kv)
	b.do("toy.set", set{Name: "a", N: 2})
	two := machine.StateHash(b.kv)
	b.do("toy.plan", plan{Steps: []step{{Do: "delete", Name: "a"}, {Do: "set", Name: "b", N: 1}}})
	three := machine.StateHash(b.kv)
	if one == empty || two == one || three == two || three == one {
		t.Error("a row's key or value is not in the state hash")
	}
	b.do("toy.plan", plan{Steps: []step{{Do: "delete", Name: "b"}}})
	if machine.StateHash(b.kv) != empty {
		t.Error("the same rows give another hash")
	}
}

func TestUnknownStops(t *testing.T) {
	b := newBench(t)
	c := b.command("toy.future", machine.None{})
	raw, _ := c.Encode()
	good, _ := b.command("toy.now", machine.None{}).Encode()
	for name, bad := range map[string][]byte{
		"kind": raw, "empty": {}, "noise": []byte("noise"),
		"more after it": append(good[:len(good):len(good)], 0),
		"cut":           good[:len(good)-1],
	} {
		before := b.kv.Len()
		if _, err := b.m.Apply(b.kv, bad); !errors.Is(err, machine.ErrStop) {
			t.Errorf("%s: %v, want ErrStop", name, err)
		}
		if b.kv.Len() != before {
			t.Errorf("%s: something was written", name)
		}
	}
	if err := b.m.Check(c); machine.AsError(err).Code != "unknown_kind" {
		t.Errorf("Check: %v", err)
	}
}
