package p2p

import (
	"fmt"
	"runtime"
	"testing"
)

// One question and its answer over an open connection on the loopback.
func BenchmarkAsk(b *testing.B) {
	for _, tr := range transports {
		for _, size := range []int{200, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d", tr.name, size), func(b *testing.B) {
				from, to := start(b, tr.listen, nil), start(b, tr.listen, nil)
				addrs, request := to.Addrs(), make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := from.Ask(b.Context(), addrs, request); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A host that is doing nothing must stay small: it shares a box with everything else.
func TestIdleMemory(t *testing.T) {
	const hosts, mostBytes, mostGoroutines = 10, 3 << 20, 60
	measure := func() (heap uint64, goroutines int) {
		runtime.GC()
		runtime.GC() // the second empties the pools that the first left
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()
	}
	bytesBefore, routinesBefore := measure()
	all := make([]*party, hosts)
	for i := range all {
		all[i] = start(t, anyTCP, func(_ *party, cfg *Config) { cfg.Listen = append(cfg.Listen, anyQUIC) })
	}
	bytesAfter, routinesAfter := measure()
	each := (int64(bytesAfter) - int64(bytesBefore)) / hosts
	routines := (routinesAfter - routinesBefore) / hosts
	t.Logf("an idle host: %d KiB heap and stacks, %d goroutines", each>>10, routines)
	if each > mostBytes || routines > mostGoroutines {
		t.Errorf("an idle host takes %d bytes and %d goroutines, want at most %d and %d", each, routines,
			mostBytes, mostGoroutines)
	}
}
