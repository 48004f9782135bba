package directory

import "fmt"

// Slots is how many half hours a week has; the first begins on Monday at midnight.
const Slots = 7 * 48

// Hours are half hours of a week, a bit each, the first in the lowest bit; empty, or 42 bytes.
type Hours []byte

const hoursBytes = Slots / 8

// Add puts half hours in: from the first to before the last, counted from Monday at midnight.
func (h Hours) Add(from, to int) Hours {
	if len(h) == 0 {
		h = make(Hours, hoursBytes)
	}
	for i := max(from, 0); i < min(to, Slots); i++ {
		h[i/8] |= 1 << (i % 8)
	}
	return h
}

// Has tells whether a half hour is in.
func (h Hours) Has(slot int) bool { return len(h) == hoursBytes && h[slot/8]>>(slot%8)&1 == 1 }

func (h Hours) check() error {
	if len(h) != 0 && len(h) != hoursBytes {
		return fmt.Errorf("hours of %d bytes, want %d or none: %w", len(h), hoursBytes, ErrCard)
	}
	return nil
}
