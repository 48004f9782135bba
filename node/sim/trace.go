package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/carecircle/carecircle/circle/machine"
)

// event is one thing that happened, kept unformatted: most are never looked at.
type event struct {
	at              int64
	who, what, text string
	a, b            int64
}

func (e event) String() string {
	return fmt.Sprintf("%7d %-5s %-9s %s %d %d", e.at, e.who, e.what, e.text, e.a, e.b)
}

// trace hashes every event and keeps the last ones.
type trace struct {
	sum   hash.Hash
	buf   []byte
	ring  [eventsKept]event
	count int
	watch func(line string)
}

func newTrace(watch func(line string)) trace {
	return trace{sum: sha256.New(), watch: watch}
}

func (t *trace) add(e event) {
	b := binary.BigEndian.AppendUint64(t.buf[:0], uint64(e.at))
	b = append(append(append(append(append(b, e.who...), 0), e.what...), 0), e.text...)
	b = binary.BigEndian.AppendUint64(append(b, 0), uint64(e.a))
	t.buf = binary.BigEndian.AppendUint64(b, uint64(e.b))
	t.sum.Write(t.buf)
	t.ring[t.count%eventsKept] = e
	t.count++
	if t.watch != nil {
		t.watch(e.String())
	}
}

func (t *trace) hash() machine.Hash { return machine.Hash(t.sum.Sum(nil)) }

// last returns the newest events, oldest first.
func (t *trace) last() []string {
	var lines []string
	for i := max(0, t.count-eventsKept); i < t.count; i++ {
		lines = append(lines, t.ring[i%eventsKept].String())
	}
	return lines
}
