package replica

import (
	"bytes"
	"slices"
	"testing"
)

func FuzzOpenBundle(f *testing.F) {
	f.Add([]byte{})
	f.Add(newBundle(ticket{1}, nil))
	f.Add(newBundle(ticket{2}, [][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), 300)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		ticket, commands, err := openBundle(data)
		if err != nil || len(data) == 0 || data[0] != bundleByte {
			return
		}
		again, commandsAgain, err := openBundle(newBundle(ticket, commands))
		if err != nil || again != ticket || !slices.EqualFunc(commands, commandsAgain, bytes.Equal) {
			t.Errorf("%x: %x and %x are not the same (%v)", data, commands, commandsAgain, err)
		}
	})
}

func TestBundleCutShort(t *testing.T) {
	whole := newBundle(ticket{7}, [][]byte{[]byte("one"), []byte("another")})
	for n := 1; n < len(whole); n++ {
		_, commands, err := openBundle(whole[:n])
		if err == nil && n != 1+len(ticket{}) && n != 1+len(ticket{})+1+len("one") {
			t.Errorf("cut to %d bytes it holds %q", n, commands)
		}
	}
}

// While one bundle is under way everything waits for the next, which keeps to its limits.
func TestBundlesKeepToTheirLimits(t *testing.T) {
	var p proposer
	p.init(nil)
	small, large := make([]byte, 10), make([]byte, maxBundleBytes+1)
	for range maxBundleCommands + 1 {
		must(t, p.add(small))
	}
	must(t, p.add(large))
	must(t, p.add(small))
	for i, want := range []int{maxBundleCommands, 1, 1, 1} {
		entry := p.next()
		if second := p.next(); second != nil {
			t.Fatalf("bundle %d: another goes beside it", i)
		}
		ticket, commands, err := openBundle(entry)
		must(t, err)
		if len(commands) != want {
			t.Errorf("bundle %d has %d commands, want %d", i, len(commands), want)
		}
		p.applied(ticket)
	}
	for range maxQueued {
		must(t, p.add(small))
	}
	if p.add(small) == nil {
		t.Error("the queue has no end")
	}
	p.forget()
	if p.next() != nil {
		t.Error("something was not forgotten")
	}
}
