package machine_test

import (
	"errors"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

// The toy feature of these tests: numbers under names, and rules that try what rules may try.

type set struct {
	Name string `cbor:"1,keyasint"`
	N    int64  `cbor:"2,keyasint"`
}

// Check implements machine.Checker.
func (s set) Check() error {
	if s.Name == "" {
		return machine.Refuse("name_missing", "Name it.")
	}
	return nil
}

type got struct {
	N int64 `cbor:"1,keyasint"`
}

// plan is a rule's body that says what to do step by step.
type plan struct {
	Steps []step `cbor:"1,keyasint"`
}

type step struct {
	Do   string `cbor:"1,keyasint"` // set, delete, emit, run, try, refuse
	Name string `cbor:"2,keyasint"`
	N    int64  `cbor:"3,keyasint"`
	Pass bool   `cbor:"4,keyasint"` // run, try: live with the refusal
	In   []step `cbor:"5,keyasint"` // run, try: what is done within
}

type greetOld struct {
	Name string `cbor:"1,keyasint"`
}

type greetNew struct {
	First string `cbor:"2,keyasint"`
	Last  string `cbor:"3,keyasint"`
}

type heldOld struct {
	Said string `cbor:"1,keyasint"`
}

type heldNew struct {
	Letters int64 `cbor:"2,keyasint"`
}

var numbers = machine.NewTable[int64]("toy", "number")

func nameKey(name string) machine.Key { return machine.Key{}.Str(name) }

func setNumber(tx *machine.Tx, b set) (got, error) {
	numbers.Put(tx, nameKey(b.Name), b.N)
	tx.Emit(machine.Event{Kind: "toy.was-set", Words: b.Name, Minutes: b.N})
	if b.N < 0 { // after writing, so that a refusal has something to undo
		return got{}, machine.Refuse("negative", "%d is below zero.", b.N)
	}
	return got{N: b.N}, nil
}

func walk(tx *machine.Tx, steps []step) error {
	for _, s := range steps {
		var err error
		switch s.Do {
		case "set":
			numbers.Put(tx, nameKey(s.Name), s.N)
		case "delete":
			numbers.Delete(tx, nameKey(s.Name))
		case "emit":
			tx.Emit(machine.Event{Kind: "toy.said", Words: s.Name})
		case "run":
			_, err = tx.Run("toy.plan", plan{Steps: s.In})
		case "try":
			err = tx.Try(func() error { return walk(tx, s.In) })
		case "activate":
			_, err = tx.Run("rules.activate", machine.Activate{Version: 1 + uint32(s.N)})
		default:
			err = machine.Refuse("asked_for", "Refused, as asked.")
		}
		if err != nil && !s.Pass {
			return err
		}
	}
	return nil
}

func toy() machine.Feature {
	return machine.Feature{
		Name: "toy", MayRun: true,
		Rules: []machine.Rule{
			machine.Do("toy.set", "Set a number.", machine.Anyone, setNumber),
			machine.Do("toy.plan", "Do steps.", machine.Anyone,
				func(tx *machine.Tx, p plan) (machine.None, error) {
					return machine.None{}, walk(tx, p.Steps)
				}),
			machine.Do("toy.who", "Say who asks.", machine.Anyone,
				func(tx *machine.Tx, _ machine.None) (heldOld, error) {
					out, err := tx.Run("toy.inner", machine.None{})
					if err != nil {
						return heldOld{}, err
					}
					said := tx.Caller().Actor + "," + out.(heldOld).Said
					return heldOld{Said: said + "," + tx.Caller().Actor}, nil
				}),
			machine.Do("toy.inner", "Only for the circle.", machine.Only(machine.ActorCircle),
				func(tx *machine.Tx, _ machine.None) (heldOld, error) {
					return heldOld{Said: tx.Caller().Actor}, nil
				}),
			machine.Do("toy.plain", "A plain error.", machine.Anyone,
				func(*machine.Tx, machine.None) (machine.None, error) {
					return machine.None{}, errors.New("no code on it")
				}),
			machine.Do("toy.names", "Make three ids.", machine.Anyone,
				func(tx *machine.Tx, _ machine.None) ([]machine.ID, error) {
					return []machine.ID{tx.Fresh(), tx.Fresh(), tx.Fresh()}, nil
				}),
			machine.Do("toy.now", "Tell the time.", machine.Anyone,
				func(tx *machine.Tx, _ machine.None) (got, error) { return got{N: tx.Now()}, nil }),
			machine.Do("toy.greet", "Greet, the old way.", machine.Anyone,
				func(_ *machine.Tx, b greetOld) (heldOld, error) {
					return heldOld{Said: "hello " + b.Name}, nil
				}),
			machine.Do("toy.greet", "Greet, the new way.", machine.Anyone,
				func(_ *machine.Tx, b greetNew) (heldNew, error) {
					return heldNew{Letters: int64(len(b.First) + len(b.Last))}, nil
				}).From(1),
			machine.Do("toy.later", "Comes with version 1.", machine.Anyone,
				func(*machine.Tx, machine.None) (got, error) { return got{N: 1}, nil }).From(1),
		},
		Views: []machine.View{
			machine.Ask("toy.number", "Read a number.", machine.Anyone,
				func(rd machine.Read, name string) (int64, error) {
					n, _ := numbers.Get(rd, nameKey(name))
					return n, nil
				}),
		},
	}
}

// weak is a feature that runs a command without the privilege.
func weak() machine.Feature {
	return machine.Feature{Name: "weak", Rules: []machine.Rule{
		machine.Do("weak.run", "Run without leave.", machine.Anyone,
			func(tx *machine.Tx, _ machine.None) (machine.None, error) {
				_, err := tx.Run("toy.set", set{Name: "x", N: 1})
				return machine.None{}, err
			}),
	}}
}

func mayAct(rd machine.Read) error {
	if rd.Actor == "alice" && rd.OnBehalfOf == "norah" {
		return nil
	}
	return machine.Refuse("may_not_act", "You may not.")
}

type bench struct {
	t     *testing.T
	m     *machine.Machine
	kv    *machine.Mem
	at    int64
	drawn byte
}

func newBench(t *testing.T) *bench {
	t.Helper()
	m, err := machine.New(mayAct, toy(), weak())
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, m: m, kv: machine.NewMem(), at: 1000}
}

func (b *bench) command(kind string, body any) machine.Command {
	b.t.Helper()
	b.drawn++
	b.at++
	c, err := machine.NewCommand(machine.ID{1, b.drawn}, machine.Caller{Actor: "alice"}, b.at, kind, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) apply(c machine.Command) machine.Outcome {
	b.t.Helper()
	raw, err := c.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := b.m.Apply(b.kv, raw)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) do(kind string, body any) machine.Outcome {
	b.t.Helper()
	return b.apply(b.command(kind, body))
}

// refused does a command that must be refused with a code and leave every table as it was; it
// returns what the refusal says.
func (b *bench) refused(code, kind string, body any) string {
	b.t.Helper()
	before := machine.StateHash(b.kv)
	out := b.do(kind, body)
	if out.Refusal == nil || out.Refusal.Code != code || out.Result != nil || len(out.Events) > 0 {
		b.t.Fatalf("%s: %+v, want a refusal %s and nothing else", kind, out, code)
	}
	if machine.StateHash(b.kv) != before {
		b.t.Fatalf("%s was refused and changed the state", kind)
	}
	return out.Refusal.Message
}

func (b *bench) number(name string) (int64, bool) { return numbers.Get(b.kv, nameKey(name)) }

func (b *bench) want(name string, n int64) {
	b.t.Helper()
	if have, ok := b.number(name); !ok || have != n {
		b.t.Errorf("%s is %d (%v), want %d", name, have, ok, n)
	}
}

func (b *bench) wantNone(name string) {
	b.t.Helper()
	if n, ok := b.number(name); ok {
		b.t.Errorf("%s is %d, want none", name, n)
	}
}
