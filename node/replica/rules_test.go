package replica

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/carecircle/carecircle/circle/machine"
)

// underNewerRules puts rules in force in a state that this program does not know.
func underNewerRules(t *testing.T, s *memState) {
	t.Helper()
	meta := machine.ReadMeta(s)
	meta.RulesVersion = machine.NewestRules + 1
	raw, err := cbor.Marshal(meta)
	must(t, err)
	s.Set([]byte("m"), raw)
}

func wantNewer(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, machine.ErrStop) || !strings.Contains(err.Error(), "install the version") {
		t.Errorf("%s: %v, want ErrStop and what to do", what, err)
	}
}

// A state or a snapshot under rules that this program does not know is not served.
func TestNewerRulesAreNotServed(t *testing.T) {
	n := newNode("one")
	r := n.start(t)
	mustDo(t, r, 1)
	newer := newMemState()
	underNewerRules(t, newer)
	newer.Commit(100)
	snap, err := newer.Snapshot()
	must(t, err)
	var raw bytes.Buffer
	_, err = snap.WriteTo(&raw)
	must(t, err)
	snap.Close()
	f := &fsm{r: r}
	wantNewer(t, "a snapshot", f.Restore(io.NopCloser(&raw)))
	wantNewer(t, "the replica", n.died(t))
	must(t, r.Close())

	n = newNode("one")
	underNewerRules(t, n.state)
	_, err = Open(n.config(t))
	wantNewer(t, "a state", err)
}

// A kind of a later rules version is refused before it is logged: older programs would have to stop at it.
func TestLaterKindIsNotLogged(t *testing.T) {
	n := newNode("one")
	later, err := machine.New(func(machine.Read) error { return nil }, machine.Feature{
		Name: "test",
		Rules: []machine.Rule{
			machine.Do("test.add", "Comes with version 1.", machine.Anyone, applyAdd).From(1),
		},
	})
	must(t, err)
	n.rules = func(testing.TB) *machine.Machine { return later }
	r := n.start(t)
	defer func() { must(t, r.Close()) }()
	out, err := r.Do(t.Context(), command(t, 1))
	must(t, err)
	if out.Refusal == nil || out.Refusal.Code != "not_in_force" || r.Status().Position != 0 {
		t.Errorf("%+v; %d commands in the journal", out, r.Status().Position)
	}
	c, err := machine.NewCommand(newID(), machine.Caller{Actor: machine.ActorOperator}, 0, "rules.activate",
		machine.Activate{Version: 1})
	must(t, err)
	out, err = r.Do(t.Context(), c)
	must(t, err)
	if out.Refusal != nil {
		t.Fatal(out.Refusal)
	}
	mustDo(t, r, 1)
}
