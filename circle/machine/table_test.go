package machine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carecircle/carecircle/circle/machine"
)

// naive is the model of a KV: a sorted slice, walked from end to end.
type naive []pair

type pair struct{ key, value string }

func (n naive) with(key, value string) naive {
	n = n.without(key)
	n = append(n, pair{key, value})
	slices.SortFunc(n, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	return n
}

func (n naive) without(key string) naive {
	return slices.DeleteFunc(slices.Clone(n), func(p pair) bool { return p.key == key })
}

func (n naive) walk(prefix string, from []byte, down bool) []pair {
	var out []pair
	for _, p := range n {
		in := strings.HasPrefix(p.key, prefix)
		if from != nil && down {
			in = in && p.key <= string(from)
		}
		if from != nil && !down {
			in = in && p.key >= string(from)
		}
		if in {
			out = append(out, p)
		}
	}
	if down {
		slices.Reverse(out)
	}
	return out
}

// keys of few letters, so that prefixes, neighbours and ends of range are met often.
func drawKey(t *rapid.T, label string) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 4).Draw(t, label)
}

func drawFrom(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "from the end") {
		return nil
	}
	return drawKey(t, "from")
}

func TestMemAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, n := machine.NewMem(), naive{}
		for i := range rapid.IntRange(0, 30).Draw(t, "writes") {
			key := drawKey(t, "key")
			if rapid.IntRange(0, 3).Draw(t, "how") == 0 {
				m.Delete(key)
				n = n.without(string(key))
				continue
			}
			m.Set(key, []byte{byte(i)})
			n = n.with(string(key), string([]byte{byte(i)}))
		}
		if m.Len() != len(n) {
			t.Fatalf("%d rows, want %d", m.Len(), len(n))
		}
		for range 10 {
			prefix, from := drawKey(t, "prefix"), drawFrom(t)
			stop := rapid.IntRange(1, 40).Draw(t, "stop")
			for _, down := range []bool{false, true} {
				var got []pair
				take := func(key, value []byte) bool {
					got = append(got, pair{string(key), string(value)})
					return len(got) < stop
				}
				if down {
					m.Descend(prefix, from, take)
				} else {
					m.Ascend(prefix, from, take)
				}
				want := n.walk(string(prefix), from, down)
				want = want[:min(len(want), stop)]
				if !slices.Equal(got, want) {
					t.Fatalf("prefix %x from %x down %v: %x, want %x", prefix, from, down, got, want)
				}
			}
		}
	})
}

func TestPrefixEnd(t *testing.T) {
	for _, x := range []struct{ prefix, want []byte }{
		{nil, nil},
		{[]byte{}, nil},
		{[]byte{0xff}, nil},
		{[]byte{0xff, 0xff}, nil},
		{[]byte{1}, []byte{2}},
		{[]byte{1, 0xff}, []byte{2}},
		{[]byte{1, 0xff, 0}, []byte{1, 0xff, 1}},
		{[]byte{0xfe, 0xff, 0xff}, []byte{0xff}},
	} {
		if got := machine.PrefixEnd(x.prefix); !bytes.Equal(got, x.want) || (got == nil) != (x.want == nil) {
			t.Errorf("PrefixEnd(%x) = %x, want %x", x.prefix, got, x.want)
		}
	}
}

// TestDescendEdges walks down where there is no key above the prefix, where from lies outside it, and where
// from is itself the prefix.
func TestDescendEdges(t *testing.T) {
	m := machine.NewMem()
	for _, k := range []string{"a", "b", "b\x00", "b\xff", "b\xff\xff", "c", "\xff", "\xff\xff"} {
		m.Set([]byte(k), nil)
	}
	for _, x := range []struct {
		prefix string
		from   []byte
		want   string
	}{
		{"b", nil, `["b\xff\xff" "b\xff" "b\x00" "b"]`},
		{"b", []byte("b"), `["b"]`},
		{"b", []byte("zzz"), `["b\xff\xff" "b\xff" "b\x00" "b"]`},
		{"b", []byte("a"), `[]`},
		{"b", []byte{}, `[]`},
		{"b\xff", nil, `["b\xff\xff" "b\xff"]`},
		{"\xff", nil, `["\xff\xff" "\xff"]`},
		{"\xff\xff", nil, `["\xff\xff"]`},
		{"\xff\xff\xff", nil, `[]`},
		{"", nil, `["\xff\xff" "\xff" "c" "b\xff\xff" "b\xff" "b\x00" "b" "a"]`},
		{"", []byte("b"), `["b" "a"]`},
		{"q", nil, `[]`},
	} {
		got := []string{}
		m.Descend([]byte(x.prefix), x.from, func(key, _ []byte) bool {
			got = append(got, string(key))
			return true
		})
		if text := fmt.Sprintf("%q", got); text != x.want {
			t.Errorf("prefix %q from %q: %s, want %s", x.prefix, x.from, text, x.want)
		}
	}
}

// keyed is a feature whose rules write arbitrary keys of two tables, one's name the beginning of the other's.
var (
	rowsOf      = machine.NewTable[uint64]("keyed", "row")
	rowsOfOther = machine.NewTable[uint64]("keyed", "rows")
)

type write struct {
	Key    []byte `cbor:"1,keyasint"`
	Value  uint64 `cbor:"2,keyasint"`
	Delete bool   `cbor:"3,keyasint"`
}

func keyed() machine.Feature {
	return machine.Feature{Name: "keyed", Rules: []machine.Rule{
		machine.Do("keyed.write", "Write a row.", machine.Anyone,
			func(tx *machine.Tx, w write) (machine.None, error) {
				if w.Delete {
					rowsOf.Delete(tx, w.Key)
					return machine.None{}, nil
				}
				rowsOf.Put(tx, w.Key, w.Value)
				rowsOfOther.Put(tx, w.Key, 1)
				return machine.None{}, nil
			}),
	}}
}

func TestTablesAgainstModel(t *testing.T) {
	m, err := machine.New(mayAct, keyed())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		kv, n := machine.NewMem(), naive{}
		for i := range rapid.IntRange(1, 20).Draw(t, "writes") {
			gone := rapid.IntRange(0, 3).Draw(t, "how") == 0
			w := write{Key: drawKey(t, "key"), Value: uint64(i), Delete: gone}
			by := machine.Caller{Actor: "a"}
			c, err := machine.NewCommand(machine.ID{byte(i + 1)}, by, 1, "keyed.write", w)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Apply(kv, raw); err != nil {
				t.Fatal(err)
			}
			if n = n.without(string(w.Key)); !w.Delete {
				n = n.with(string(w.Key), fmt.Sprint(i))
			}
		}
		for range 5 {
			prefix, from := drawKey(t, "prefix"), drawFrom(t)
			var up, down []pair
			for k, v := range rowsOf.All(kv, prefix, from) {
				up = append(up, pair{string(k), fmt.Sprint(v)})
			}
			for k, v := range rowsOf.Latest(kv, prefix, from) {
				down = append(down, pair{string(k), fmt.Sprint(v)})
			}
			if want := n.walk(string(prefix), from, false); !slices.Equal(up, want) {
				t.Fatalf("All(%x, %x): %q, want %q", prefix, from, up, want)
			}
			if want := n.walk(string(prefix), from, true); !slices.Equal(down, want) {
				t.Fatalf("Latest(%x, %x): %q, want %q", prefix, from, down, want)
			}
		}
		for _, p := range n {
			if v, ok := rowsOf.Get(kv, machine.Key(p.key)); !ok || fmt.Sprint(v) != p.value {
				t.Fatalf("Get(%x): %d %v, want %s", p.key, v, ok, p.value)
			}
		}
		if absent := append(drawKey(t, "absent"), 'z'); rowsOf.Has(kv, absent) {
			t.Fatalf("Has(%x)", absent)
		}
	})
}

func TestKeysWalkInOrder(t *testing.T) {
	// Numbers walk from small to large and a shorter text before a longer one; parts do not run together.
	in := []machine.Key{
		machine.Key{}.Str("").Num(0), machine.Key{}.Str("a").Num(1), machine.Key{}.Str("a").Num(2),
		machine.Key{}.Str("a").Num(256), machine.Key{}.Str("a").Num(1 << 40), machine.Key{}.Str("aa").Num(0),
		machine.Key{}.Str("b").Num(0), machine.Key{}.Str("b").Num(^uint64(0)),
	}
	if !slices.IsSortedFunc(in, func(a, b machine.Key) int { return bytes.Compare(a, b) }) {
		t.Errorf("not in order: %x", in)
	}
	base := machine.Key{}.Str("base")
	one, two := base.Str("one"), base.Str("two")
	if bytes.Equal(one, two) || !bytes.HasPrefix(one, base) {
		t.Errorf("keys made from one base share memory: %x %x", one, two)
	}
}

func TestCopyIsWhole(t *testing.T) {
	b := newBench(t)
	b.do("toy.set", set{Name: "a", N: 1})
	b.do("toy.set", set{Name: "b", N: -1})
	to := machine.NewMem()
	machine.Copy(to, b.kv)
	if to.Len() != b.kv.Len() || machine.StateHash(to) != machine.StateHash(b.kv) ||
		machine.ReadMeta(to) != machine.ReadMeta(b.kv) {
		t.Error("a copy differs")
	}
	b.do("toy.set", set{Name: "a", N: 2})
	if n, _ := numbers.Get(to, nameKey("a")); n != 1 {
		t.Errorf("a later write shows in the copy: %d", n)
	}
}
