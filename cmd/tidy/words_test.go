package main

import "testing"

func TestPackageComment(t *testing.T) {
	const good = "-- node/a.go --\n// Package node is one running node.\npackage node\n"
	const test = "-- node/a_test.go --\n// Package node is tested.\npackage node\n"
	hunt(t, checkComments, []breach{
		{"one", good + "-- node/b.go --\npackage node\n", nil},
		{"none", "-- node/a.go --\npackage node\n", []string{"node/a.go:1: package node has no comment"}},
		{"two", good + "-- node/b.go --\n// Package node again.\npackage node\n", []string{
			"node/b.go:2: second comment; the first is in node/a.go",
		}},
		{"only in a test", "-- node/a.go --\npackage node\n" + test, []string{"node/a.go:1: has no comment"}},
		{"directive only", "-- node/a.go --\n//go:build linux\n\npackage node\n", []string{
			"node/a.go:3: has no comment",
		}},
		{"other start", "-- node/a.go --\n// Nodes run.\npackage node\n", []string{
			"node/a.go:2: starts with \"Package node \"",
		}},
		{"command", "-- cmd/carecircle/a.go --\n// Carecircle runs a node.\npackage main\n", nil},
		{"only tests", "-- node/x/a_test.go --\npackage x\n", []string{"node/x/a_test.go:1: has no comment"}},
	})
}

func TestDocComments(t *testing.T) {
	hunt(t, checkComments, []breach{{"names", `
-- node/a.go --
// Package node is one running node.
package node

func Bare() {}

// Told says what it does.
func Told() {}

func quiet() {}

type Open struct{}

func (o *Open) Method() {}

func (o *Open) quiet() {}

type shut struct{}

func (s shut) Method() {}

// Numbers.
type (
	// One is told.
	One int
	Two int
)

// The limits.
const (
	MaxA = 1
	MaxB = 2
)

var (
	A = 1 // A is told at the side.
	B = 2
)

type List[T any] []T

func (l List[T]) Len() int { return len(l) }
-- node/a_test.go --
package node

func Bare2() {}
`, []string{
		"node/a.go:4: exported Bare", "node/a.go:11: exported Open", "node/a.go:13: exported Method",
		"node/a.go:25: exported Two", "node/a.go:36: exported B", "node/a.go:39: exported List",
		"node/a.go:41: exported Len",
	}}})
}

func TestEmptyWords(t *testing.T) {
	hunt(t, checkNames, []breach{{"names", `
-- node/util/a.go --
package util

type CircleManager struct{}

type BaseCard struct{}

type Database struct{}

type CommonsContribution struct{}

type node_Types int

type Card_types int

func Helper() {}
`, []string{
		`node/util/a.go:1: "util" in util`, `node/util/a.go:3: "manager" in CircleManager`,
		`node/util/a.go:5: "base" in BaseCard`, `node/util/a.go:13: "types" in Card_types`,
	}}})
}
