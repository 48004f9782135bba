package store

import "sync"

// cacheBytes bounds a rowCache: keys, values and cachedRowBytes a row.
const (
	cacheBytes     = 8 << 20
	cachedRowBytes = 100
)

// rowCache holds rows lately read from or written to disk, and keys that were looked for in vain: Badger is
// slow to say no. It keeps two generations and forgets the older one when the younger has filled half of the
// room; what is used meanwhile goes over to the younger.
type rowCache struct {
	mu         sync.Mutex
	young, old map[string]cachedRow
	youngBytes int
}

// cachedRow is a row on disk, or the absence of one.
type cachedRow struct {
	value []byte
	there bool
}

func newRowCache() *rowCache { return &rowCache{young: map[string]cachedRow{}} }

// get returns the row under key; known is false where the disk has to be asked.
func (c *rowCache) get(key []byte) (value []byte, there, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.young[string(key)]
	if !ok {
		if r, ok = c.old[string(key)]; !ok {
			return nil, false, false
		}
		c.add(key, r)
	}
	return r.value, r.there, true
}

// put notes what the disk has under key. The value must not be changed afterwards.
func (c *rowCache) put(key, value []byte, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, cachedRow{value: value, there: there})
}

// written notes what a flush left under key. A new row is not kept: most are not looked at again soon.
func (c *rowCache) written(r *dirtyRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.young[string(r.key)]
	if !known {
		before, known = c.old[string(r.key)]
	}
	switch {
	case r.gone, known && before.there, !known && !r.fresh:
		c.add(r.key, cachedRow{value: r.value, there: !r.gone})
	case known:
		c.drop(r.key)
	}
}

func (c *rowCache) drop(key []byte) {
	if before, ok := c.young[string(key)]; ok {
		c.youngBytes -= size(key, before)
		delete(c.young, string(key))
	}
	delete(c.old, string(key))
}

func (c *rowCache) add(key []byte, r cachedRow) {
	if before, ok := c.young[string(key)]; ok {
		c.youngBytes -= size(key, before)
	}
	c.young[string(key)] = r
	if c.youngBytes += size(key, r); c.youngBytes >= cacheBytes/2 {
		c.old, c.young, c.youngBytes = c.young, map[string]cachedRow{}, 0
	}
}

func size(key []byte, r cachedRow) int { return len(key) + len(r.value) + cachedRowBytes }
