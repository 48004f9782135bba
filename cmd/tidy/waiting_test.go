package main

import "testing"

func TestSleeping(t *testing.T) {
	const source = `package x

import (
	"testing"
	"testing/synctest"
	clock "time"
)

func TestA(t *testing.T) {
	clock.Sleep(1)
	synctest.Test(t, func(t *testing.T) {
		clock.Sleep(1)
		go func() { clock.Sleep(1) }()
	})
	synctest.Test(t, sleeper(clock.Sleep))
	other.Test(t, func() { clock.Sleep(1) })
	wait := clock.Sleep
}
`
	hunt(t, checkWaiting, []breach{
		{"test", "-- node/a_test.go --\n" + source, []string{
			"node/a_test.go:10: time.Sleep", "node/a_test.go:15: time.Sleep", "node/a_test.go:16: time.Sleep",
			"node/a_test.go:17: time.Sleep",
		}},
		{"code", "-- node/a.go --\n" + source, nil},
	})
}

func TestSkipping(t *testing.T) {
	hunt(t, checkWaiting, []breach{{"skips", `
-- node/a_test.go --
package x

import (
	"testing"

	"pgregory.net/rapid"
)

func TestA(t *testing.T) {
	t.Skip("not today")
	if testing.Short() {
		t.Skip("minutes long")
	}
	if !testing.Short() {
		t.SkipNow()
	}
	if testing.Short() {
		return
	} else {
		t.Skipf("odd")
	}
	rapid.Check(t, func(t *rapid.T) { t.Skip("unfit") })
	var scan reader
	scan.Skip()
}

func within(f *testing.F) {
	f.Fuzz(func(tt *testing.T) { tt.Skip() })
}

func help(tb testing.TB) { tb.SkipNow() }
`, []string{
		"node/a_test.go:10: skips", "node/a_test.go:15: skips", "node/a_test.go:20: skips",
		"node/a_test.go:28: skips", "node/a_test.go:31: skips",
	}}})
}
