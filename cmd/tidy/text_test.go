package main

import (
	"strings"
	"testing"
)

// The words that this file must not hold whole, or tidy would report it.
const (
	mark     = "TO" + "DO"
	place    = "/wo" + "rk/main"
	registry = "registry.np" + "mjs.org"
)

func TestMarks(t *testing.T) {
	hunt(t, checkMarks, []breach{
		{"comment", "-- node/a.go --\npackage x\n\n// " + mark + "\n", []string{"node/a.go:3: " + mark}},
		{"block", "-- node/a.go --\npackage x\n\n/* FIX" + "ME */\n", []string{"node/a.go:3: FIX" + "ME"}},
		{"string", "-- node/a.go --\npackage x\n\nvar a = \"XX" + "X\"\n", nil},
		{"part of a word", "-- a.md --\n" + mark + "s, MAS" + mark + "\n", nil},
		{"page", "-- node/web/a.html --\n\n<!-- " + mark + " -->\n", []string{"node/web/a.html:2: " + mark}},
		{"testdata", "-- node/testdata/a.txt --\n" + mark + "\n", nil},
		{"makefile", "-- Makefile --\n# XX" + "X\n", []string{"Makefile:1: XX" + "X"}},
	})
}

func TestPlaces(t *testing.T) {
	hunt(t, checkPlaces, []breach{
		{"go", "-- node/a.go --\npackage x\n\nvar a = \"" + place + "\"\n", []string{"node/a.go:3: means"}},
		{"ci", "-- .ci/run --\ncd " + place + "\n", []string{".ci/run:1: /wo" + "rk/"}},
		{"longer path", "-- a.md --\n/home/me" + place + " $HOME" + place + " team" + place + "\n", nil},
		{"host", "-- a.md --\nsee https://" + registry + "/x\n", []string{"a.md:1: " + registry}},
		{"script", "-- cmd/carecircle/testdata/script/a.txtar --\n# proxy.gol" + "ang.org\n", []string{
			"cmd/carecircle/testdata/script/a.txtar:1: proxy",
		}},
	})
}

func TestLockfile(t *testing.T) {
	lock := func(resolved string) string {
		return "-- node/web/assets/package-lock.json --\n" + strings.ReplaceAll(`{"lockfileVersion": 3,
"packages": {"node_modules/a": {"version": "1.0.0"RESOLVED}},
"old": [{"b": {"version": "1.0.0"RESOLVED}}]}`, "RESOLVED", resolved)
	}
	const file = "node/web/assets/package-lock.json:1: "
	hunt(t, checkLockfile, []breach{
		{"without", lock(""), nil},
		{"folder", lock(`, "resolved": "../b"`), nil},
		{"hosts", lock(`, "resolved": "https://` + registry + `/a"`), []string{file + `2 "resolved"`}},
		{"torn", "-- node/web/assets/package-lock.json --\n{", []string{file + "not JSON"}},
	})
}
