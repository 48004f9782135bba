package store

import (
	"fmt"
	"io"
)

// ReadSnapshot reads what Snap.WriteClear wrote, to the end of r, and calls row for every row in key order;
// key and value may be kept. It returns the log index of the state, how many rows it has and a sum over
// their hashes if, and only if, the whole is as it was written.
func ReadSnapshot(r io.Reader, row func(key, value []byte) error) (applied, rows, sum uint64, err error) {
	applied, found, err := readSnapshot(r, row)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read a snapshot: %w", err)
	}
	return applied, found.rows, found.sum, nil
}
