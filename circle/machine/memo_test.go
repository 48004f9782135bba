package machine

import (
	"fmt"
	"testing"
)

// A row is known by where its bytes are, not by what they say, and the oldest are forgotten first.
func TestMemo(t *testing.T) {
	var m memo
	row, same := []byte("row"), []byte("row")
	if _, ok := m.of(row); ok {
		t.Error("known before it was noted")
	}
	m.note(row, 1)
	if v, ok := m.of(row); !ok || v != 1 {
		t.Errorf("noted 1, got %v %t", v, ok)
	}
	if _, ok := m.of(same); ok {
		t.Error("other bytes that say the same are known")
	}
	m.note(nil, 2)
	if _, ok := m.of(nil); ok {
		t.Error("an empty row is nowhere, so it cannot be known")
	}
	used, unused := []byte("used"), []byte("unused")
	m.note(used, "used")
	m.note(unused, "unused")
	for i := range 4 * memoRows {
		m.note(fmt.Append(nil, i), i)
		if i%100 == 0 {
			if v, ok := m.of(used); !ok || v != "used" {
				t.Fatalf("what is used was forgotten after %d more", i)
			}
		}
	}
	if _, ok := m.of(unused); ok {
		t.Error("what is not used is known for ever")
	}
	if n := len(m.young) + len(m.old); n > memoRows {
		t.Errorf("%d rows are known, at most %d may be", n, memoRows)
	}
}
