package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Handler answers one kind of call from the replica named. The text of its error goes back to the
// caller. Its context ends when the caller stops waiting or is gone.
type Handler func(ctx context.Context, from string, body []byte) ([]byte, error)

// Handle sets what answers the calls of a name, once for each.
func (m *Mesh) Handle(name string, answer Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers[name] != nil || name == "" || len(name) > maxNameBytes {
		panic(fmt.Sprintf("peers: call name %q is taken or not of 1 to %d bytes", name, maxNameBytes))
	}
	m.handlers[name] = answer
}

func (m *Mesh) handler(name string) Handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handlers[name]
}

// load counts what one connection has under way.
type load struct{ calls, bytes atomic.Int64 }

func (l *load) take(body int) bool {
	calls, bytes := l.calls.Add(1), l.bytes.Add(int64(body))
	if calls <= maxCallsAtOnce && bytes <= maxHeldBytes {
		return true
	}
	l.free(body)
	return false
}

func (l *load) free(body int) {
	l.calls.Add(-1)
	l.bytes.Add(-int64(body))
}

// serveCalls answers the calls of one connection to its end, each in its own time.
func (m *Mesh) serveCalls(c *conn) error {
	w := newWire(c)
	ctx, cancel := context.WithCancel(m.ctx)
	var under load
	var work sync.WaitGroup
	work.Go(w.write)
	err := m.takeCalls(ctx, w, &under, &work)
	w.end(err)
	cancel()
	work.Wait()
	if errors.Is(w.err, io.EOF) || errors.Is(w.err, net.ErrClosed) {
		return nil // the other side is done, or this one cut it and knows why
	}
	return fmt.Errorf("calls of replica %s: %w", c.id, w.err)
}

func (m *Mesh) takeCalls(ctx context.Context, w *wire, under *load, work *sync.WaitGroup) error {
	for {
		f, err := w.read()
		if err != nil {
			return err
		}
		switch f.kind {
		case kindPing:
			w.send(encode(kindPong, 0))
		case kindRequest:
			q, err := decodeRequest(f.rest)
			if err != nil {
				return err
			}
			answer := m.handler(q.name)
			switch {
			case answer == nil:
				w.send(encode(kindRefused, f.call, fmt.Appendf(nil,
					"it knows no call %q: do both run the same version?", q.name)))
			case !under.take(len(q.body)):
				w.send(encode(kindRefused, f.call, []byte("it has too many calls under way")))
			default:
				work.Go(func() {
					w.send(respond(ctx, w.conn.id, f.call, q, answer))
					under.free(len(q.body))
				})
			}
		default:
			return fmt.Errorf("frame of kind %d where a request belongs", f.kind)
		}
	}
}

// respond runs a handler and gives the frame that answers the call.
func respond(ctx context.Context, from string, call uint64, q request, answer Handler) []byte {
	ctx, cancel := context.WithTimeout(ctx, q.left)
	defer cancel()
	body, err := answer(ctx, from, q.body)
	if err == nil && len(body) > maxBodyBytes {
		err = fmt.Errorf("answer of %d bytes, at most %d are sent", len(body), maxBodyBytes)
	}
	if err != nil {
		return encode(kindFailed, call, errorText(err))
	}
	return encode(kindReply, call, body)
}

// errorText cuts an error's text to what is sent of it.
func errorText(err error) []byte {
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) <= maxErrorBytes {
		return []byte(text)
	}
	end := maxErrorBytes
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return []byte(text[:end])
}
