package store

import (
	"encoding/binary"
	"os"

	"github.com/hashicorp/raft"
)

// append writes entries with one write, and with them the staged commit index as far as they reach, after
// having synced those before. It needs writing held, as everything in this file.
func (l *Log) append(entries []*raft.Log) error {
	if err := l.settle(); err != nil {
		return err
	}
	need := 0
	for _, e := range entries {
		need += entryBytes(e) + framesRoom
	}
	l.mu.RLock()
	commit := l.commit
	if l.hasStaged {
		commit = min(l.staged, entries[len(entries)-1].Index)
	}
	l.mu.RUnlock()
	w, err := l.startBatch(need)
	if err != nil {
		return err
	}
	places := make([]place, len(entries))
	for i, e := range entries {
		start := len(w.b)
		w.b = append(w.b, make([]byte, headBytes)...)
		w.b = binary.AppendUvarint(w.b, e.Index)
		w.b = binary.AppendUvarint(w.b, commit)
		w.b = appendEntry(w.b, e)
		places[i] = w.seal(start, entryFrame, i == len(entries)-1)
	}
	if err := w.write(); err != nil {
		return err
	}
	l.late = w.s.file
	l.mu.Lock()
	defer l.mu.Unlock()
	w.done()
	l.grow(w.s, entries[0].Index, commit, places)
	return nil
}

// appendRange writes what the log holds after a deletion.
func (l *Log) appendRange(x extent) error {
	w, err := l.startBatch(0)
	if err != nil {
		return err
	}
	start := len(w.b)
	w.b = x.append(append(w.b, make([]byte, headBytes)...))
	w.seal(start, rangeFrame, true)
	err = w.write()
	if err == nil {
		err = datasync(w.s.file)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.done()
	l.narrow(x)
	return nil
}

// batch is what one write puts behind the end of the newest segment.
type batch struct {
	l     *Log
	s     *segment
	b     []byte
	run   run
	isNew bool // run, and so begins with this batch
}

// startBatch begins a batch with so much room, in a new segment if the newest has not got it.
func (l *Log) startBatch(need int) (*batch, error) {
	need += 2 * framesRoom // for the beginning of a run, and a frame without an entry
	s := l.newest()
	if s == nil || s.end+int64(need) > s.reserve {
		var err error
		if s, err = l.nextSegment(int64(need)); err != nil {
			return nil, err
		}
	}
	w := &batch{l: l, s: s, b: l.buf[:0], isNew: !s.open}
	if !w.isNew {
		w.run = s.runs[len(s.runs)-1]
		return w, nil
	}
	l.mu.RLock()
	start := runStart{extent: l.extent}
	l.mu.RUnlock()
	var err error
	w.b, w.run, err = s.begin(w.b, l.master, start, head{batch: s.batch + 1}, s.end)
	return w, err
}

func (w *batch) seal(start int, kind byte, last bool) place {
	at := w.s.end + int64(start)
	w.b = w.run.seal(w.b, start, head{kind: kind, last: last, batch: w.s.batch + 1}, w.s.number, at)
	return place{at: uint32(at), size: uint32(len(w.b) - start)}
}

func (w *batch) write() error {
	_, err := w.s.file.WriteAt(w.b, w.s.end)
	return err
}

// done counts the batch as written. It needs mu held: readers look at the runs.
func (w *batch) done() {
	if w.isNew {
		w.s.runs, w.s.open = append(w.s.runs, w.run), true
	}
	w.s.end += int64(len(w.b))
	w.s.batch++
	if cap(w.b) <= maxKeptBuffer {
		w.l.buf = w.b[:0]
	}
}

// nextSegment makes the next segment, with at least so much room, notes it, and gives back what the one
// before did not need.
func (l *Log) nextSegment(need int64) (*segment, error) {
	old := l.newest()
	l.mu.RLock()
	start := runStart{extent: l.extent, reserve: max(l.reserve, need+framesRoom)}
	l.mu.RUnlock()
	number, oldest := uint64(1), uint64(1)
	if old != nil {
		number, oldest, start.before = old.number+1, l.segments[0].number, old.end
	}
	s, err := createSegment(l.dir, l.master, number, start)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	if err := l.stable.segments(oldest, number); err != nil {
		return nil, err
	}
	if old != nil {
		return s, old.file.Truncate(old.end)
	}
	return s, nil
}

// dropFront removes the segments before the one with the first entry; without entries all but the newest.
// That they are gone is noted first, so that one which comes back after a power cut is known for what it is.
func (l *Log) dropFront() error {
	l.mu.RLock()
	keep, all := l.newest(), l.segments
	if l.last != 0 {
		keep = l.holder(l.first)
	}
	l.mu.RUnlock()
	if keep == all[0] {
		return nil
	}
	if err := l.stable.segments(keep.number, all[len(all)-1].number); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.segments) > 0 && l.segments[0] != keep {
		s := l.segments[0]
		if err := s.file.Close(); err != nil {
			return err
		}
		if err := os.Remove(segmentPath(l.dir, s.number)); err != nil {
			return err
		}
		l.segments = l.segments[1:]
	}
	return syncDir(l.dir)
}
