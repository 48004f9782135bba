package machine_test

import (
	"errors"
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

// A row that was undone within a command is read as it was before, not as it was last written or decoded.
func TestUndoneRowsAreForgotten(t *testing.T) {
	numbers := machine.NewTable[int64]("try", "number")
	key := machine.Key{}.Str("n")
	m, err := machine.New(nil, machine.Feature{Name: "try", Rules: []machine.Rule{
		machine.Do("try.it", "Write, fail, and read.", machine.Anyone,
			func(tx *machine.Tx, _ machine.None) (int64, error) {
				numbers.Put(tx, key, 1)
				err := tx.Try(func() error {
					numbers.Put(tx, key, 2)
					return errors.New("no")
				})
				if err == nil {
					t.Error("the part that failed was taken for done")
				}
				n, _ := numbers.Get(tx, key)
				numbers.Delete(tx, key)
				if numbers.Has(tx, key) {
					t.Error("a deleted row is there")
				}
				if _, ok := numbers.Get(tx, key); ok {
					t.Error("a deleted row is still at hand")
				}
				return n, nil
			}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := machine.NewCommand(machine.ID{1}, machine.Caller{Actor: "a"}, 1, "try.it", machine.None{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := m.Ready(c)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := m.Apply(machine.NewMem(), raw); err != nil || out.Result != int64(1) {
		t.Errorf("read %v after what was undone, want 1: %v", out.Result, err)
	}
}
