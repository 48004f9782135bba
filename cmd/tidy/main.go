// Tidy holds the project to its house rules by reading the source itself, without the go command.
//
// It runs as a test, so that no change lands against the rules, and by hand as "go run ./cmd/tidy",
// which prints one finding a line and exits 1 if there is any.
//
// The rules, one file each: imports.go (who may import whom), owners.go (who may use which library),
// purity.go (what the pure packages never touch), size.go (how long things may be), words.go (comments
// and names), waiting.go (tests that sleep or skip) and text.go (what no file may mention).
package main

import (
	"fmt"
	"os"
)

func main() {
	root, err := findRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		os.Exit(2)
	}
	t, err := load(os.DirFS(root))
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		os.Exit(2)
	}
	found := check(t)
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}
