package peers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// kind says what a frame is. A reader that meets one it does not know ends the connection.
type kind byte

const (
	kindRequest kind = 1 + iota // time left in milliseconds, name, body
	kindReply                   // body
	kindFailed                  // text of the handler's error
	kindRefused                 // text; the request has not been handled and will not be
	kindPing
	kindPong
)

// A frame is its length without these four bytes, its kind, the number of its call, and the rest.
const (
	lengthBytes = 4
	headBytes   = 1 + 8
	requestHead = 4 + 1
	maxFrame    = headBytes + requestHead + maxNameBytes + maxBodyBytes
)

type frame struct {
	kind kind
	call uint64
	rest []byte
}

// encode writes a frame; the parts make up its rest.
func encode(k kind, call uint64, parts ...[]byte) []byte {
	size := headBytes
	for _, p := range parts {
		size += len(p)
	}
	b := make([]byte, 0, lengthBytes+size)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint64(b, call)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// readFrame reads one frame of at most so many bytes; the length is checked before room is made.
func readFrame(r io.Reader, most int) (frame, error) {
	var head [lengthBytes + headBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, fmt.Errorf("read: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < headBytes || uint64(size) > uint64(most) {
		return frame{}, fmt.Errorf("frame of %d bytes announced, want %d to %d", size, headBytes, most)
	}
	f := frame{
		kind: kind(head[lengthBytes]),
		call: binary.BigEndian.Uint64(head[lengthBytes+1:]),
		rest: make([]byte, size-headBytes),
	}
	if _, err := io.ReadFull(r, f.rest); err != nil {
		return frame{}, fmt.Errorf("read: %w", err)
	}
	return f, nil
}

// request is what a caller asks, as its frame carries it.
type request struct {
	left time.Duration // until the caller no longer waits
	name string
	body []byte
}

func (q request) encode(call uint64) []byte {
	// A little more than is left, never nothing: the caller's own clock ends the call.
	left := min(q.left, maxCallTime)/time.Millisecond + 1
	head := make([]byte, 0, requestHead+maxNameBytes)
	head = binary.BigEndian.AppendUint32(head, uint32(left))
	head = append(head, byte(len(q.name)))
	head = append(head, q.name...)
	return encode(kindRequest, call, head, q.body)
}

func decodeRequest(b []byte) (request, error) {
	if len(b) < requestHead || len(b) < requestHead+int(b[4]) {
		return request{}, errors.New("request is cut short")
	}
	name := int(b[4])
	q := request{
		left: time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond,
		name: string(b[requestHead : requestHead+name]),
		body: b[requestHead+name:],
	}
	if len(q.body) > maxBodyBytes {
		return request{}, fmt.Errorf("request of %d bytes, at most %d are taken", len(q.body), maxBodyBytes)
	}
	q.left = min(q.left, maxCallTime)
	return q, nil
}

// wire sends and reads frames on one connection. What is waiting to be sent goes out in one write.
type wire struct {
	conn *conn
	in   *bufio.Reader
	out  chan []byte
	done chan struct{} // closed at the end

	once sync.Once
	err  error // why it ended; read after done
}

func newWire(c *conn) *wire {
	return &wire{
		conn: c, in: bufio.NewReaderSize(c, 16<<10),
		out: make(chan []byte, queuedFrames), done: make(chan struct{}),
	}
}

// end cuts the connection; the first reason counts.
func (w *wire) end(why error) {
	w.once.Do(func() {
		w.err = why
		close(w.done)
		w.conn.cut()
	})
}

// read waits for the next frame, and not for ever.
func (w *wire) read() (frame, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return frame{}, fmt.Errorf("set deadline: %w", err)
	}
	return readFrame(w.in, maxFrame)
}

// send queues a frame, unless the connection has ended.
func (w *wire) send(b []byte) {
	select {
	case w.out <- b:
	case <-w.done:
	}
}

// write sends what is queued until the connection ends.
func (w *wire) write() {
	buffered := bufio.NewWriterSize(w.conn, 16<<10)
	for {
		select {
		case b := <-w.out:
			if err := w.flush(buffered, b); err != nil {
				w.end(err)
				return
			}
		case <-w.done:
			return
		}
	}
}

func (w *wire) flush(to *bufio.Writer, b []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	// At most a queueful, for the deadline is that of one flush.
	for left := queuedFrames; b != nil; left-- {
		if _, err := to.Write(b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b = nil
		if left > 0 {
			select {
			case b = <-w.out:
			default:
			}
		}
	}
	if err := to.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
