package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestRepository holds the repository itself to every rule.
func TestRepository(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	read, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	self := false
	for _, f := range read.files {
		self = self || f.path == "cmd/tidy/tidy_test.go"
	}
	if !self {
		t.Fatalf("the walk from %s did not even read this file", root)
	}
	for _, found := range check(read) {
		t.Error(found)
	}
}

// breach is a planted tree and what a checker should find in it.
type breach struct {
	name string
	tree string   // a txtar archive; go.mod is added
	want []string // for each finding "path:line: part of its text", by path and line; none: all is well
}

// plant reads an archive as a tree of the module example.org/care.
func plant(t *testing.T, archive string) *tree {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module example.org/care\n\ngo 1.26.0\n")}}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	read, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// hunt runs one checker over each planted tree.
func hunt(t *testing.T, checker func(*tree) []finding, breaches []breach) {
	t.Helper()
	for _, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			t.Helper()
			found := checker(plant(t, b.tree))
			for i, f := range found {
				if i >= len(b.want) {
					t.Errorf("found also: %v", f)
					continue
				}
				at, part, _ := strings.Cut(b.want[i], ": ")
				if at != fmt.Sprintf("%s:%d", f.path, f.line) || !strings.Contains(f.text, part) {
					t.Errorf("found %v, want %s", f, b.want[i])
				}
			}
			if missed := len(b.want) - len(found); missed > 0 {
				t.Errorf("not found: %q", b.want[len(found):])
			}
		})
	}
}

func TestCheckNamesTheRuleAndSorts(t *testing.T) {
	found := check(plant(t, `
-- node/web/web.go --
// Package web is the pages.
package web

func Page() {}
-- circle/coin/coin.go --
// Package coin is Care Coins.
package coin

import "time"
-- circle/coin/torn.go --
package coin {
`))
	want := []string{
		"circle/coin/coin.go:4: a pure package may not import time: pass in what it would give (purity)",
		"circle/coin/torn.go:1: circle/coin/torn.go:1:14: expected ';', found '{' (syntax)",
		"node/web/web.go:4: no doc comment on exported Page (comments)",
	}
	if got := fmt.Sprint(found); got != fmt.Sprint(want) {
		t.Errorf("found %s\nwant %s", got, want)
	}
}

func TestModuleName(t *testing.T) {
	if got := moduleName("// A comment.\nmodule example.org/care\n\ngo 1.26.0\n"); got != "example.org/care" {
		t.Errorf("module %q", got)
	}
	if _, err := load(fstest.MapFS{"go.mod": {Data: []byte("go 1.26.0\n")}}); err == nil {
		t.Error("loaded a tree whose module has no name")
	}
}

func TestWhatIsNotOursIsNotRead(t *testing.T) {
	read := plant(t, `
-- node/web/assets/node_modules/x/x.go --
package x
-- node/web/assets/dist/app.js --
-- tools/go.mod --
module example.org/care/tools
-- tools/tools.go --
package tools
-- bin/x.md --
-- ledger/testdata/x.go --
package x
-- ledger/ledger.go --
package ledger
`)
	var got []string
	for _, f := range read.files {
		got = append(got, fmt.Sprint(f.path, " ", f.data, f.syntax != nil))
	}
	want := "[ledger/ledger.go false true ledger/testdata/x.go true false]"
	if fmt.Sprint(got) != want {
		t.Errorf("read %v, want %s", got, want)
	}
}
