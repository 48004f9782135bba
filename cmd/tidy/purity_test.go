package main

import "testing"

func TestPureImports(t *testing.T) {
	for _, c := range []struct{ file, imported, want string }{
		{"circle/coin/a.go", "time", "may not import time"},
		{"circle/a.go", "math/rand/v2", "may not import math/rand/v2"},
		{"circle/machine/a.go", "sync/atomic", "may not import sync/atomic"},
		{"ledger/a.go", "os", "may not import os"},
		{"federation/letter/a.go", "crypto/rand", "may not import crypto/rand"},
		{"federation/letter/a.go", "net/http", "may not import net/http"},
		{"federation/courier/a.go", "context", "may not import context"},
		{"federation/charter/a.go", "log/slog", "may not import log/slog"},
		{"federation/clearing/a.go", "unsafe", "may not import unsafe"},
		{"circle/coin/a.go", "go.uber.org/zap", "may not import go.uber.org/zap"},
		{"circle/coin/a.go", "crypto/ed25519", ""},
		{"circle/coin/a.go", "encoding/json", ""},
		{"federation/charter/a.go", "net/netip", ""},
		{"circle/machine/a.go", "github.com/tidwall/btree", ""},
		{"federation/letter/a.go", "github.com/fxamacker/cbor/v2", ""},
		{"circle/coin/a_test.go", "time", ""},
		{"federation/p2p/a.go", "time", ""},
		{"node/store/a.go", "time", ""},
		{"node/sim/a.go", "time", "the simulation may not import time"},
		{"node/sim/a.go", "net", "the simulation may not import net"},
		{"node/sim/a.go", "math/rand/v2", ""},
		{"node/sim/a_test.go", "os", ""},
	} {
		b := breach{name: c.file + " " + c.imported, tree: importing(c.file, c.imported)}
		if c.want != "" {
			b.want = []string{c.file + ":3: " + c.want}
		}
		hunt(t, checkPurity, []breach{b})
	}
}

func TestPureCode(t *testing.T) {
	const impure = `package coin

func goes() { go goes() }

func waits(c <-chan int) {
	select {
	case <-c:
	}
}

var half = 0.5

func share(x float64) {}

var seen map[string]bool
`
	const reaches = `package coin

import (
	ed "crypto/ed25519"
	"fmt"
	"math"
)

var most = math.MaxInt64

func says() {
	fmt.Println(math.Sqrt(2))
	ed.GenerateKey(nil)
}
`
	hunt(t, checkPurity, []breach{
		{"statements", "-- circle/coin/a.go --\n" + impure, []string{
			"circle/coin/a.go:3: goroutine", "circle/coin/a.go:5: channel", "circle/coin/a.go:6: select",
			"circle/coin/a.go:11: 0.5", "circle/coin/a.go:13: float64", "circle/coin/a.go:15: Go map",
		}},
		{"tests", "-- circle/coin/a_test.go --\n" + impure, nil},
		{"shell", "-- node/store/a.go --\n" + impure, nil},
		{"table", "-- circle/machine/table.go --\npackage machine\n\nvar rows map[string]int\n", nil},
		{"names", "-- circle/coin/a.go --\n" + reaches, []string{
			"circle/coin/a.go:12: fmt.Println", "circle/coin/a.go:12: math.Sqrt",
			"circle/coin/a.go:13: ed25519.GenerateKey",
		}},
	})
}
