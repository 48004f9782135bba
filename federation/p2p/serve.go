package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// What a reset stream tells the asker. libp2p keeps 0x1000 to 0x1fff for itself.
const (
	resetFailed   network.StreamErrorCode = 0x2001 // the handler returned an error
	resetTooLarge network.StreamErrorCode = 0x2002 // the request or its reply is over the limit
)

var (
	errNotAllowed = errors.New("peer is not allowed")
	errFailed     = errors.New("handler failed")
)

// meaning is the asker's error for the other side's reset.
func meaning(code network.StreamErrorCode) error {
	switch code {
	case resetTooLarge:
		return ErrTooLarge
	case resetFailed, network.StreamGated, network.StreamResourceLimitExceeded, network.StreamRateLimited,
		network.StreamProtocolViolation:
		return ErrRefused
	default:
		return ErrUnreachable
	}
}

// service is how the requests of one protocol are answered.
type service struct {
	allow  func(peer string) bool
	handle func(ctx context.Context, from string, request []byte) ([]byte, error)
	most   int // bytes of a request
}

// serve answers the requests of an incoming stream, one after the other, until its asker ends it or is silent
// for long. If one cannot be answered, it resets the stream and logs why.
func (h *Host) serve(stream network.Stream, by service) {
	if !h.enter() {
		_ = stream.ResetWithError(network.StreamShutdown) // closing: the stream is about to go anyway
		return
	}
	defer h.work.Done()
	err := h.answer(stream, by, h.cfg.Timeout)
	answered := err == nil
	for err == nil {
		err = h.answer(stream, by, idleServed)
	}
	if answered && errors.Is(err, errNoMore) {
		_ = stream.Reset() // both ends have said all
		return
	}
	// A stream that the peer has reset already cannot be reset again; that is no second failure.
	_ = stream.ResetWithError(resetCode(err))
	level := slog.LevelWarn
	if errors.Is(err, errNotAllowed) { // it is for Allow to say so, and not over and over
		level = slog.LevelDebug
	}
	h.log.Log(h.ctx, level, "request not answered", "peer", stream.Conn().RemotePeer().String(), "error", err)
}

// answer waits for the next request, and from when that begins holds the stream for no longer than Timeout,
// which is when its asker gives up.
func (h *Host) answer(stream network.Stream, by service, patience time.Duration) error {
	from := stream.Conn().RemotePeer().String()
	var deadline time.Time
	until := func(left time.Duration) error {
		if !by.allow(from) {
			return errNotAllowed
		}
		deadline = time.Now().Add(left)
		return stream.SetDeadline(deadline)
	}
	if err := until(patience); err != nil {
		return err
	}
	begun := func() error { return until(h.cfg.Timeout) }
	request, err := readFrame(stream, by.most, begun, reserveFrom(stream))
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	defer stream.Scope().ReleaseMemory(len(request))
	ctx, cancel := context.WithDeadline(h.ctx, deadline)
	defer cancel()
	reply, err := by.handle(ctx, from, request)
	if err != nil {
		return fmt.Errorf("%w: %w", errFailed, err)
	}
	if len(reply) > h.cfg.MaxMessageBytes {
		return fmt.Errorf("reply of %d bytes, at most %d are sent: %w", len(reply), h.cfg.MaxMessageBytes,
			ErrTooLarge)
	}
	if err := writeFrame(stream, reply); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	return nil
}

func resetCode(err error) network.StreamErrorCode {
	switch {
	case errors.Is(err, errNotAllowed):
		return network.StreamGated
	case errors.Is(err, errFailed):
		return resetFailed
	case errors.Is(err, ErrTooLarge):
		return resetTooLarge
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return network.StreamResourceLimitExceeded
	default:
		return network.StreamProtocolViolation
	}
}

// reserveFrom books a message's bytes on its stream, and so on its peer and on the host. They are given back
// with the message, or by libp2p when the stream ends.
func reserveFrom(stream network.Stream) func(bytes int) error {
	return func(bytes int) error {
		return stream.Scope().ReserveMemory(bytes, network.ReservationPriorityAlways)
	}
}
