package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
)

func noReserve(int) error { return nil }

func noBegun() error { return nil }

func TestFrameRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 4, 1000, 1 << 16} {
		message := bytes.Repeat([]byte{7}, size)
		var wire bytes.Buffer
		if err := writeFrame(&wire, message); err != nil {
			t.Fatal(err)
		}
		if wire.Len() != headerBytes+size {
			t.Fatalf("%d bytes on the wire, want %d", wire.Len(), headerBytes+size)
		}
		back, err := readFrame(&wire, size, noBegun, noReserve)
		if err != nil || !bytes.Equal(back, message) {
			t.Fatalf("size %d: got %d bytes, %v", size, len(back), err)
		}
	}
}

// An announced size over the limit is turned away without making room for it or reading on.
func TestFrameOversizedCostsNothing(t *testing.T) {
	const rounds, announced = 100, 0xffffffff
	header := binary.BigEndian.AppendUint32(nil, announced)
	reserve := func(int) error { t.Error("room was reserved for a refused message"); return nil }
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		rest := bytes.NewReader([]byte("never read"))
		_, err := readFrame(io.MultiReader(bytes.NewReader(header), rest), 1<<20, noBegun, reserve)
		if !errors.Is(err, ErrTooLarge) {
			t.Fatalf("got %v, want ErrTooLarge", err)
		}
		if rest.Len() != len("never read") {
			t.Fatal("read on after a refused length")
		}
	}
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) / rounds; used > 4096 {
		t.Fatalf("each refused frame allocated %d bytes", used)
	}
}

func TestFrameFaults(t *testing.T) {
	full := errors.New("full")
	frame := func(length uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, length), body...)
	}
	for name, c := range map[string]struct {
		wire    []byte
		reserve func(int) error
		want    error
	}{
		"nothing":        {nil, noReserve, errNoMore},
		"half a length":  {[]byte{0, 0}, noReserve, io.ErrUnexpectedEOF},
		"half a message": {frame(8, "four"), noReserve, io.ErrUnexpectedEOF},
		"one too many":   {frame(101, ""), noReserve, ErrTooLarge},
		"no room":        {frame(4, "four"), func(int) error { return full }, full},
	} {
		if _, err := readFrame(bytes.NewReader(c.wire), 100, noBegun, c.reserve); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 'h', 'i'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, wire []byte) {
		rest := bytes.NewReader(wire)
		message, err := readFrame(rest, 64, noBegun, noReserve)
		if err != nil {
			return
		}
		var again bytes.Buffer
		taken := wire[:len(wire)-rest.Len()]
		if err := writeFrame(&again, message); err != nil || !bytes.Equal(again.Bytes(), taken) {
			t.Fatalf("accepted %x but writes %x, %v", wire, again.Bytes(), err)
		}
	})
}
