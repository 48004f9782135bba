package machine_test

import (
	"reflect"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

// An outcome reaches another replica as it was, whatever form of the rule gave it.
func TestOutcomeTravels(t *testing.T) {
	b := newBench(t)
	done := b.command("toy.set", set{Name: "a", N: 5})
	for _, out := range []machine.Outcome{
		b.apply(done), b.apply(done), b.apply(b.command("toy.set", set{Name: "a", N: -5})),
	} {
		got, err := b.m.DecodeOutcome(machine.EncodeOutcome(out))
		out.Events = nil
		if err != nil || !reflect.DeepEqual(got, out) {
			t.Errorf("sent %+v, got %+v (%v)", out, got, err)
		}
	}
	raw := machine.EncodeOutcome(b.apply(done))
	for n := range raw {
		if got, err := b.m.DecodeOutcome(raw[:n]); err == nil {
			t.Errorf("cut to %d bytes it is %+v", n, got)
		}
	}
	if _, err := b.m.DecodeOutcome(machine.EncodeOutcome(machine.Outcome{Kind: "toy.later"})); err == nil {
		t.Error("the outcome of an unknown kind was read")
	}
}
