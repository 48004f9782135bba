package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// RemoteError is what the other replica's handler answered in place of a reply.
type RemoteError struct{ Text string }

// Error gives the handler's text.
func (e *RemoteError) Error() string { return e.Text }

// TransportError says that a call has no answer.
type TransportError struct {
	To, Name string
	// Sent is false where it is certain that no handler has seen the request or ever will. Otherwise it
	// may have been handled, or be handled yet: repeat only what does no harm.
	Sent bool
	Err  error
}

// Error says which call failed and why.
func (e *TransportError) Error() string {
	what := "never sent"
	if e.Sent {
		what = "sent, but not answered"
	}
	return fmt.Sprintf("peers: call %s of replica %s, %s: %v", e.Name, e.To, what, e.Err)
}

// Unwrap gives the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Call asks a replica and waits for its answer, until ctx ends or, if that has no deadline, for half a
// minute; two minutes at most. An error is a *RemoteError if the handler gave it, else a *TransportError.
func (m *Mesh) Call(ctx context.Context, id, name string, body []byte) ([]byte, error) {
	limit := maxCallTime
	if _, ok := ctx.Deadline(); !ok {
		limit = defaultCallTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, sent, err := m.call(ctx, id, name, body)
	var remote *RemoteError
	if err != nil && !errors.As(err, &remote) {
		return nil, &TransportError{To: id, Name: name, Sent: sent, Err: err}
	}
	return answer, err
}

func (m *Mesh) call(ctx context.Context, id, name string, body []byte) (answer []byte, sent bool, err error) {
	switch {
	case name == "" || len(name) > maxNameBytes:
		return nil, false, fmt.Errorf("name of a call has 1 to %d bytes", maxNameBytes)
	case len(body) > maxBodyBytes:
		return nil, false, fmt.Errorf("request of %d bytes, at most %d are sent", len(body), maxBodyBytes)
	}
	l, err := m.lineTo(ctx, id)
	if err != nil {
		return nil, false, err
	}
	return l.call(ctx, name, body)
}

// line is this replica's one connection for calls to another, being dialled or open.
type line struct {
	ready chan struct{} // closed when dialling is over
	err   error         // why it failed
	*wire               // if it did not

	slots chan struct{} // one entry for each call under way
	mu    sync.Mutex
	last  uint64 // number of the newest call
	calls map[uint64]chan outcome
	ended error
}

type outcome struct {
	frame frame
	err   error
}

// lineTo gives the open connection to a replica, dialling it if need be. All who wait share one dial.
func (m *Mesh) lineTo(ctx context.Context, id string) (*line, error) {
	m.mu.Lock()
	l := m.lines[id]
	switch {
	case m.closed:
		m.mu.Unlock()
		return nil, errors.New("this replica is closing")
	case l == nil || l.over():
		l = &line{
			ready: make(chan struct{}), slots: make(chan struct{}, maxCallsAtOnce),
			calls: map[uint64]chan outcome{},
		}
		m.lines[id] = l
		m.work.Go(func() { m.runLine(id, l) })
	}
	m.mu.Unlock()
	select {
	case <-l.ready:
		return l, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("connect: %w", ctx.Err())
	}
}

// over says whether a line that was open has ended.
func (l *line) over() bool {
	select {
	case <-l.ready:
	default:
		return false
	}
	if l.err != nil {
		return true
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// runLine dials a line and serves it to its end; the next call dials another.
func (m *Mesh) runLine(id string, l *line) {
	c, err := m.dial(m.ctx, id, protoCall)
	if err != nil {
		m.dropLine(id, l)
		l.err = err
		close(l.ready)
		return
	}
	l.wire = newWire(c)
	var writing sync.WaitGroup
	writing.Go(l.write)
	writing.Go(l.ping)
	close(l.ready)
	l.end(l.receive())
	m.dropLine(id, l)
	writing.Wait()
	l.failAll(l.wire.err)
}

func (m *Mesh) dropLine(id string, l *line) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lines[id] == l {
		delete(m.lines, id)
	}
}

// ping keeps something coming both ways, so that silence means that the other side is gone.
func (l *line) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.send(encode(kindPing, 0))
		case <-l.done:
			return
		}
	}
}

// receive hands answers to those who wait for them.
func (l *line) receive() error {
	for {
		f, err := l.read()
		if err != nil {
			return err
		}
		switch f.kind {
		case kindReply, kindFailed, kindRefused:
			l.mu.Lock()
			waiting := l.calls[f.call]
			delete(l.calls, f.call)
			l.mu.Unlock()
			if waiting != nil { // nil: its caller has given up
				waiting <- outcome{frame: f}
			}
		case kindPong:
		default:
			return fmt.Errorf("frame of kind %d where an answer belongs", f.kind)
		}
	}
}

func (l *line) failAll(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = why
	for _, waiting := range l.calls {
		waiting <- outcome{err: why}
	}
	clear(l.calls)
}

// begin gives a call its number and a place for its outcome.
func (l *line) begin() (uint64, chan outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return 0, nil, l.ended
	}
	l.last++
	waiting := make(chan outcome, 1)
	l.calls[l.last] = waiting
	return l.last, waiting, nil
}

func (l *line) giveUp(call uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, call)
}

func (l *line) call(ctx context.Context, name string, body []byte) (answer []byte, sent bool, err error) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, false, fmt.Errorf("wait for one of %d calls to end: %w", maxCallsAtOnce, ctx.Err())
	}
	call, waiting, err := l.begin()
	if err != nil {
		return nil, false, fmt.Errorf("connection ended: %w", err)
	}
	defer l.giveUp(call)
	deadline, _ := ctx.Deadline()
	asked := request{left: max(0, time.Until(deadline)), name: name, body: body}.encode(call)
	select {
	case l.out <- asked:
	case <-l.done:
		return nil, false, fmt.Errorf("connection ended: %w", l.wire.err)
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	select {
	case o := <-waiting:
		return o.read()
	case <-ctx.Done():
		return nil, true, ctx.Err()
	}
}

func (o outcome) read() (answer []byte, sent bool, err error) {
	switch {
	case o.err != nil:
		return nil, true, fmt.Errorf("connection ended: %w", o.err)
	case o.frame.kind == kindFailed:
		return nil, true, &RemoteError{Text: string(o.frame.rest)}
	case o.frame.kind == kindRefused:
		return nil, false, errors.New(string(o.frame.rest))
	}
	return o.frame.rest, true, nil
}
