package machine_test

import (
	"testing"

	"github.com/carecircle/carecircle/circle/machine"
)

func tallyOf(kv machine.Reader, leave func(key []byte) bool) *machine.Tally {
	t := machine.NewTally()
	kv.Ascend(nil, nil, func(key, value []byte) bool {
		if !leave(key) {
			t.Add(key, value)
		}
		return true
	})
	return t
}

func keepAll([]byte) bool { return false }

// TestTally agrees with StateHash and ReadMeta at every length, and finds a journal with a row missing.
func TestTally(t *testing.T) {
	b := newBench(t)
	kv := b.kv
	for n := range 20 {
		tally := tallyOf(kv, keepAll)
		if meta, proved := tally.Meta(); meta != machine.ReadMeta(kv) || !proved {
			t.Fatalf("after %d commands: %+v, proved %v", n, meta, proved)
		}
		if tally.StateHash() != machine.StateHash(kv) {
			t.Fatalf("after %d commands: another state hash", n)
		}
		if n > 0 {
			for gone := 1; gone <= n; gone++ {
				last := byte(gone)
				left := tallyOf(kv, func(key []byte) bool { return key[0] == 'j' && key[len(key)-1] == last })
				if _, proved := left.Meta(); proved {
					t.Fatalf("the journal of %d commands lacks number %d, and that is not seen", n, gone)
				}
			}
		}
		b.do("toy.set", set{Name: string(rune('a' + n%3)), N: int64(n%4) - 1})
	}
}
