package machine

import "sync"

// memoRows bounds what a memo holds.
const memoRows = 8192

// memo keeps what rows were decoded to, by where their bytes are. A row handed out stays as it is for good, so
// the same bytes say the same, in whatever state they stand; and they cannot go while the memo knows them. Of
// its two generations it forgets the older one when the younger has filled half of the room.
type memo struct {
	mu         sync.Mutex
	young, old map[*byte]any
}

var decoded memo

// of returns what a row was decoded to.
func (m *memo) of(row []byte) (any, bool) {
	if len(row) == 0 {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.young[&row[0]]
	if !ok {
		if v, ok = m.old[&row[0]]; ok {
			m.add(&row[0], v)
		}
	}
	return v, ok
}

// note keeps what a row says.
func (m *memo) note(row []byte, v any) {
	if len(row) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(&row[0], v)
}

func (m *memo) add(at *byte, v any) {
	if len(m.young) >= memoRows/2 || m.young == nil {
		m.old, m.young = m.young, make(map[*byte]any, memoRows/2)
	}
	m.young[at] = v
}
