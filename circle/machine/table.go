package machine

import (
	"bytes"
	"iter"
	"reflect"
)

// Key is a row's place in its table: parts in order, so that rows walk in that order.
type Key []byte

// Str appends a text part. Text must hold no zero byte, which ends the part.
func (k Key) Str(s string) Key { return append(append(k[:len(k):len(k)], s...), 0) }

// Num appends a number part; numbers walk from small to large.
func (k Key) Num(n uint64) Key { return bigEndian(k[:len(k):len(k)], n) }

// Bytes appends a part of fixed length, such as an id or a hash.
func (k Key) Bytes(b []byte) Key { return append(k[:len(k):len(k)], b...) }

// numberBytes is the length of a number part.
const numberBytes = 8

// First is the number part that a key begins with.
func (k Key) First() uint64 { return k.num() }

// Last is the number part that a key ends with.
func (k Key) Last() uint64 { return k[len(k)-numberBytes:].num() }

func (k Key) num() uint64 {
	var n uint64
	for _, b := range k[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}

var (
	tablePrefix   = []byte("s/") // what rules write, and the state hash covers
	journalPrefix = []byte("j/")
	answerPrefix  = []byte("a/")
	eventPrefix   = []byte("e/")
	metaKey       = []byte("m")
)

func journalKey(position uint64) []byte { return Key(journalPrefix).Num(position) }
func answerKey(id ID) []byte            { return Key(answerPrefix).Bytes(id[:]) }
func eventKey(n uint64) []byte          { return Key(eventPrefix).Num(n) }

// Table is a feature's rows of one type, under a prefix of their own, walked in key order.
type Table[V any] struct {
	prefix Key
	flat   bool
}

// NewTable names a table; feature and name together must be the circle's only one.
func NewTable[V any](feature, name string) Table[V] {
	return Table[V]{prefix: Key(tablePrefix).Str(feature + "." + name), flat: isFlat(reflect.TypeFor[V]())}
}

// NewNumberedTable is NewTable for rows whose key ends in a number that counts them up, as of a journal: a
// store may then keep many of them as one, see Numbered. All keys of the table have the same parts, so no row
// comes between two whose numbers follow each other. Such rows are added, and perhaps removed from the front;
// to change one is dear, and one command must not change many far apart.
func NewNumberedTable[V any](feature, name string) Table[V] {
	t := NewTable[V](feature, name)
	numbered[string(t.prefix)] = true
	return t
}

// numbered has the prefixes of the numbered tables. It is written while packages begin, and read later.
var numbered = map[string]bool{}

// Numbered tells whether a whole key ends in a number that counts rows up.
func Numbered(key []byte) bool {
	if bytes.HasPrefix(key, journalPrefix) || bytes.HasPrefix(key, eventPrefix) {
		return len(key) == len(journalPrefix)+numberBytes
	}
	end := bytes.IndexByte(key, 0) + 1
	return end > 0 && len(key) >= end+numberBytes && numbered[string(key[:end])]
}

// isFlat tells whether a type holds nothing that two values could share: such a value is the same whether it
// was just written or decoded from its row.
func isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Array:
		return isFlat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !isFlat(t.Field(i).Type) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func (t Table[V]) key(k Key) []byte { return t.prefix.Bytes(k) }

// Get returns the row at k; the zero V and false where there is none.
func (t Table[V]) Get(r Reader, k Key) (V, bool) {
	var v V
	key := t.key(k)
	tx, within := r.(*Tx)
	within = within && t.flat
	if within {
		if seen, ok := tx.recall(key); ok {
			return seen.(V), true
		}
	}
	raw, ok := r.Get(key)
	if ok {
		mustDecode(raw, &v)
		if within {
			tx.note(key, v)
		}
	}
	return v, ok
}

// Has tells whether there is a row at k.
func (t Table[V]) Has(r Reader, k Key) bool {
	_, ok := r.Get(t.key(k))
	return ok
}

// Put writes the row at k.
func (t Table[V]) Put(tx *Tx, k Key, v V) {
	key := t.key(k)
	tx.set(key, mustEncode(v))
	if t.flat {
		tx.note(key, v)
	}
}

// Add is Put where there is no row at k: the caller knows it, and no store has to look.
func (t Table[V]) Add(tx *Tx, k Key, v V) { tx.add(t.key(k), mustEncode(v)) }

// Delete removes the row at k, if any.
func (t Table[V]) Delete(tx *Tx, k Key) { tx.delete(t.key(k)) }

// All walks the rows whose key begins with prefix, at or after from (nil: all), smallest key first. The
// table must not be written during the walk.
func (t Table[V]) All(r Reader, prefix, from Key) iter.Seq2[Key, V] {
	return func(yield func(Key, V) bool) {
		r.Ascend(t.key(prefix), t.start(from), t.rows(yield))
	}
}

// Latest is All from the far end: rows at or before from (nil: the last), largest key first.
func (t Table[V]) Latest(r Reader, prefix, from Key) iter.Seq2[Key, V] {
	return func(yield func(Key, V) bool) {
		r.Descend(t.key(prefix), t.start(from), t.rows(yield))
	}
}

func (t Table[V]) start(from Key) []byte {
	if from == nil {
		return nil
	}
	return t.key(from)
}

func (t Table[V]) rows(yield func(Key, V) bool) func(key, value []byte) bool {
	return func(key, value []byte) bool {
		var v V
		mustDecode(value, &v)
		return yield(Key(key[len(t.prefix):]), v)
	}
}

// Events returns the newest events that a reader may see, newest first, at most limit.
func Events(r Reader, limit int, sees func(Event) bool) []Event {
	var out []Event
	r.Descend(eventPrefix, nil, func(_, value []byte) bool {
		var e Event
		mustDecode(value, &e)
		if sees(e) {
			out = append(out, e)
		}
		return len(out) < limit
	})
	return out
}
