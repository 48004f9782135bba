package store

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const scanBytes = 1 << 20 // read at once while a segment is scanned; a longer frame is read whole

// scan reads a segment from its beginning to where it ends or something is wrong.
type scan struct {
	log  *Log
	s    *segment
	prev *segment // the one before, nil if there is none
	size int64    // of the file

	buf   []byte // a part of the file, from bufAt on
	bufAt int64

	at       int64  // the frame that is read
	began    int64  // the batch it belongs to
	before   extent // the log, before that batch
	complete bool   // the batch before has its last frame
}

// errEnd says that there are zeros where the next frame would be.
var errEnd = errors.New("there is nothing")

// bytes returns n bytes of the file, fewer at its end. They hold until the next call.
func (c *scan) bytes(at int64, n int) ([]byte, error) {
	if from := at - c.bufAt; from >= 0 && from+int64(n) <= int64(len(c.buf)) {
		return c.buf[from : from+int64(n)], nil
	}
	size := min(int64(max(n, scanBytes)), max(c.size-at, 0))
	if int64(cap(c.buf)) < size {
		c.buf = make([]byte, max(size, scanBytes))
	}
	c.buf, c.bufAt = c.buf[:size], at
	if _, err := c.s.file.ReadAt(c.buf, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return c.buf[:min(int64(n), size)], nil
}

// frames reads frames into the log, and returns why there are no more.
func (c *scan) frames() error {
	c.complete = true
	for {
		b, err := c.bytes(c.at, headBytes)
		if err != nil {
			return err
		}
		h, ok := readHead(b, c.s.number, c.at)
		switch {
		case allZero(b):
			return errEnd
		case !ok:
			return errors.New("its head is damaged")
		case h.batch != c.expect():
			return fmt.Errorf("it is of batch %d, not %d", h.batch, c.expect())
		}
		if c.complete {
			c.began, c.before = c.at, c.log.extent
		}
		if b, err = c.bytes(c.at, h.size); err != nil {
			return err
		}
		if len(b) < h.size {
			return errors.New("it is cut short")
		}
		if err := c.frame(h, b); err != nil {
			return err
		}
		c.s.batch, c.complete = h.batch, h.last
		c.at += int64(h.size)
	}
}

// expect is the batch that the next frame belongs to.
func (c *scan) expect() uint32 {
	if c.complete {
		return c.s.batch + 1
	}
	return c.s.batch
}

// frame takes one frame into the log.
func (c *scan) frame(h head, b []byte) error {
	if h.kind == runFrame {
		r, err := newRun(c.log.master, b[headBytes:headBytes+saltBytes], c.s.number, c.at)
		if err != nil {
			return err
		}
		plain, err := r.open(b, runFrame, c.at)
		if err != nil {
			return err
		}
		c.s.runs = append(c.s.runs, r)
		return c.run(plain)
	}
	if len(c.s.runs) == 0 {
		return errors.New("it begins no run")
	}
	plain, err := c.s.runs[len(c.s.runs)-1].open(b, h.kind, c.at)
	if err != nil {
		return err
	}
	d := decoder{b: plain}
	if h.kind == rangeFrame {
		x := d.extent()
		if d.bad || len(d.b) != 0 || !c.log.narrows(x) {
			return errors.New("it is not the log's range")
		}
		c.log.narrow(x)
		return nil
	}
	index, commit := d.uvarint(), d.uvarint()
	follows := index == c.log.last+1 || c.log.last == 0 && index != 0
	if d.bad || h.kind != entryFrame || !follows {
		return fmt.Errorf("it is entry %d", index)
	}
	c.log.grow(c.s, index, commit, []place{{uint32(c.at), uint32(h.size)}})
	return nil
}

// run takes the beginning of a run. It repeats what the log holds by then: the first of all says so.
func (c *scan) run(plain []byte) error {
	start, err := decodeRunStart(plain)
	if err != nil {
		return err
	}
	x := start.extent
	if c.at == 0 {
		c.s.reserve = start.reserve
		if c.prev == nil {
			c.log.extent = x
		} else if c.prev.end != start.before {
			return fmt.Errorf("the segment before ends at %d, not at %d", c.prev.end, start.before)
		}
	}
	if x.first != c.log.first || x.last != c.log.last {
		return fmt.Errorf("entries %d to %d came before it, not %d to %d", x.first, x.last, c.log.first,
			c.log.last)
	}
	c.log.commit = x.commit
	return nil
}

// tail decides what stands at the end of the newest segment, where reading it stopped: nothing,
// or a batch that a crash cut off before it was synced and nobody was told yes, or damage. What is cut off
// reads as zeros: the file had its length before, and a disk writes sectors whole. No whole frame has such
// zeros, nor a frame with some bits changed; and a batch with a later one behind it was synced.
func (c *scan) tail() (torn bool, err error) {
	used, err := c.used()
	if err != nil {
		return false, err
	}
	later, err := c.later(used)
	if err != nil || later {
		return false, err
	}
	if used <= c.at {
		return true, nil
	}
	b, err := c.bytes(c.at, headBytes)
	if err != nil {
		return false, err
	}
	h, ok := readHead(b, c.s.number, c.at)
	switch {
	case allZero(b):
		return true, nil
	case !ok:
		return used < c.at+headBytes, nil
	case used < c.at+int64(h.size):
		return true, nil
	}
	if b, err = c.bytes(c.at, h.size); err != nil {
		return false, err
	}
	for ; len(b) >= frameUnit; b = b[frameUnit:] {
		if allZero(b[:frameUnit]) {
			return true, nil
		}
	}
	return false, nil
}

// used returns the place behind the file's last byte that is not zero.
func (c *scan) used() (int64, error) {
	used := c.at
	for at := c.at; at < c.size; at += scanBytes {
		b, err := c.bytes(at, scanBytes)
		if err != nil {
			return 0, err
		}
		if n := len(trimZeros(b)); n > 0 {
			used = at + int64(n)
		}
	}
	return used, nil
}

// later reports whether a frame of a later batch than the one at hand follows.
func (c *scan) later(used int64) (bool, error) {
	for at := c.at; at < used; at += frameUnit {
		b, err := c.bytes(at, headBytes)
		if err != nil {
			return false, err
		}
		if h, ok := readHead(b, c.s.number, at); ok && h.batch > c.expect() {
			return true, nil
		}
	}
	return false, nil
}

func allZero(b []byte) bool { return len(trimZeros(b)) == 0 }

// trimZeros takes the zeros off the end of b.
func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// writeZeros writes n zeros to f from a place on.
func writeZeros(f *os.File, at, n int64) error {
	zeros := make([]byte, min(n, scanBytes))
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
		at, n = at+int64(len(part)), n-int64(len(part))
	}
	return nil
}
