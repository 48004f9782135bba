package store

import (
	"fmt"
	"testing"
)

// A cache keeps what is used and stays within its bound.
func TestRowCacheIsBounded(t *testing.T) {
	c := newRowCache()
	hot := []byte("hot")
	c.put(hot, []byte("1"), true)
	for i := range 200_000 {
		c.put(fmt.Appendf(nil, "cold/%d", i), make([]byte, 100), true)
		if i%1000 == 0 {
			if value, there, known := c.get(hot); !known || !there || string(value) != "1" {
				t.Fatalf("after %d rows the one in use is %q %v %v", i, value, there, known)
			}
		}
	}
	bytes := 0
	for _, rows := range []map[string]cachedRow{c.young, c.old} {
		for key, r := range rows {
			bytes += size([]byte(key), r)
		}
	}
	if bytes > cacheBytes+1000 {
		t.Errorf("%d bytes are kept, at most %d", bytes, cacheBytes)
	}
	if _, _, known := c.get([]byte("cold/0")); known {
		t.Error("the oldest row is still there")
	}
}
