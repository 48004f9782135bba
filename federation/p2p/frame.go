package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errNoMore: the stream ended, or was given up, between two messages.
var errNoMore = errors.New("no more messages")

// writeFrame sends one message: its length in four bytes, most significant first, then the message. It does
// so in one write: each is a packet of its own further down.
func writeFrame(w io.Writer, message []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, headerBytes+len(message)), uint32(len(message)))
	if _, err := w.Write(append(frame, message...)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// readFrame reads one message. When its length has come, begun is called: the sender is at it. The length is
// checked against most, and reserve has agreed to it, before any room is made.
func readFrame(r io.Reader, most int, begun func() error, reserve func(bytes int) error) ([]byte, error) {
	var header [headerBytes]byte
	switch n, err := io.ReadFull(r, header[:]); {
	case err != nil && n == 0:
		return nil, fmt.Errorf("read length: %w: %w", errNoMore, err)
	case err != nil:
		return nil, fmt.Errorf("read length: %w", err)
	}
	if err := begun(); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[:])
	if uint64(length) > uint64(most) {
		return nil, fmt.Errorf("message of %d bytes announced, at most %d are taken: %w", length, most,
			ErrTooLarge)
	}
	if err := reserve(int(length)); err != nil {
		return nil, fmt.Errorf("room for a message of %d bytes: %w", length, err)
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, fmt.Errorf("read message of %d bytes: %w", length, err)
	}
	return message, nil
}
