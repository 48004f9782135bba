package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// JoinHandler answers a request to join. It comes from somebody unknown, whom only what is in the request
// can vouch for. The text of its error is sent to them: it must give nothing away.
type JoinHandler func(ctx context.Context, request []byte) ([]byte, error)

// HandleJoin sets what answers requests to join; until then all are refused.
func (m *Mesh) HandleJoin(answer JoinHandler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.join = answer
}

// serveJoin answers the one request of a caller without a certificate.
func (m *Mesh) serveJoin(secured *tls.Conn, raw net.Conn) error {
	defer func() { _ = secured.Close() }() // all has been said by then
	if !m.door.beginJoin() {
		return errors.New("join: too many at once")
	}
	defer m.door.endJoin()
	ctx, cancel := context.WithTimeout(m.ctx, joinTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	if err := greet(secured); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	// Who holds a place without asking must leave it soon.
	if err := secured.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return fmt.Errorf("join: set deadline: %w", err)
	}
	f, err := readFrame(secured, headBytes+maxJoinBytes)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	m.mu.Lock()
	answer := m.join
	m.mu.Unlock()
	reply := encode(kindRefused, 0, []byte("it lets nobody join now"))
	if answer != nil {
		reply = respondJoin(ctx, f.rest, answer)
	}
	if err := secured.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("join: set deadline: %w", err)
	}
	if _, err := secured.Write(reply); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return nil
}

func respondJoin(ctx context.Context, asked []byte, answer JoinHandler) []byte {
	body, err := answer(ctx, asked)
	if err == nil && len(body) > maxJoinReply {
		err = fmt.Errorf("answer of %d bytes, at most %d are sent", len(body), maxJoinReply)
	}
	if err != nil {
		return encode(kindFailed, 0, errorText(err))
	}
	return encode(kindReply, 0, body)
}

// Join sends a request to join to a replica at an address (over TCP if dial is nil), if its circle's CA
// has that pin. An error is a *RemoteError if the other side's handler gave it.
func Join(ctx context.Context, dial DialFunc, addr string, pin Pin, request []byte) ([]byte, error) {
	if len(request) > maxJoinBytes {
		return nil, fmt.Errorf("peers: join: request of %d bytes, at most %d are sent", len(request),
			maxJoinBytes)
	}
	if dial == nil {
		dial = dialTCP
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	raw, err := dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("peers: join at %s: %w", addr, err)
	}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	defer func() { _ = raw.Close() }() // the reply has been read, or what went wrong is the error to tell
	reply, err := join(ctx, raw, pin, request)
	var remote *RemoteError
	if err != nil && !errors.As(err, &remote) {
		return nil, fmt.Errorf("peers: join at %s: %w", addr, errors.Join(err, ctx.Err()))
	}
	return reply, err
}

func join(ctx context.Context, raw net.Conn, pin Pin, request []byte) ([]byte, error) {
	secured := tls.Client(raw, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protoJoin},
		InsecureSkipVerify: true, // the pin is checked instead of a host name
		VerifyConnection:   func(state tls.ConnectionState) error { return verifyPin(state, pin) },
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake (after several tries, wait a minute): %w", err)
	}
	if err := awaitHello(ctx, secured, raw); err != nil {
		return nil, err
	}
	if _, err := secured.Write(encode(kindRequest, 0, request)); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	f, err := readFrame(secured, headBytes+maxJoinReply)
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer: %w", err)
	case f.kind == kindReply:
		return f.rest, nil
	case f.kind == kindFailed:
		return nil, &RemoteError{Text: string(f.rest)}
	case f.kind == kindRefused:
		return nil, errors.New(string(f.rest))
	}
	return nil, fmt.Errorf("frame of kind %d where an answer belongs", f.kind)
}
