package sim

import (
	"bytes"

	"github.com/carecircle/carecircle/circle/exchange"
	"github.com/carecircle/carecircle/federation/letter"
)

// line is one stream: who writes, who reads.
type line struct{ from, to letter.CircleID }

// readings remembers how far each stream was compared.
type readings struct{ done map[line]uint64 }

func newReadings() *readings { return &readings{done: map[line]uint64{}} }

// check: what the receiver holds is, byte for byte, the beginning of what the sender wrote.
func (c *readings) check(s *sim) {
	s.pairs(func(from, to *town) {
		l := line{from.id, to.id}
		if !s.settled(from, to) {
			return // one of them was put back to an older copy
		}
		held := to.peerState(from).Held.Seq
		if held < c.done[l] {
			s.fail("letters", "%s held %d letters of %s, and now %d", to.name, c.done[l], from.name, held)
		}
		compareLetters(s, from, to, c.done[l]+1, held)
		c.done[l] = max(c.done[l], held)
	})
}

// checkStreams compares all streams once more from the beginning, and that all of each has come.
func checkStreams(s *sim) {
	s.pairs(func(from, to *town) {
		tail, held := from.peerState(to).Tail, to.peerState(from).Held
		if tail != held {
			s.fail("letters", "%s wrote %d letters to %s, which holds %d", from.name, tail.Seq, to.name,
				held.Seq)
		}
		compareLetters(s, from, to, 1, held.Seq)
	})
}

func compareLetters(s *sim, from, to *town, first, last uint64) {
	if first > last {
		return
	}
	wrote := exchange.Outbox(from.state(), to.id, first, last)
	holds := exchange.Inbox(to.state(), from.id, first, last)
	if uint64(len(holds)) != last-first+1 || len(wrote) < len(holds) {
		s.fail("letters", "%s to %s, %d to %d: %d written, %d held", from.name, to.name, first, last,
			len(wrote), len(holds))
		return
	}
	for i, h := range holds {
		if !bytes.Equal(h.Bytes, wrote[i]) {
			s.fail("letters", "%s to %s: letter %d is not the one that was written", from.name, to.name,
				first+uint64(i))
			return
		}
	}
}

// wroteOnce: a circle never signs two records for one place, whatever happened to it in between; unless it
// was put back, and a liar swore that it held none of them.
func (s *sim) wroteOnce(from *town, to letter.CircleID, seq uint64, raw []byte) {
	at := place{line{from.id, to}, seq}
	h := letter.HashOf(raw)
	if before, ok := s.signed[at]; ok && before != h && s.honest(to) {
		s.fail("letters", "%s signed two letters for place %d to %s", from.name, seq, s.byID[to].name)
	}
	s.signed[at] = h
}

type place struct {
	line
	seq uint64
}
