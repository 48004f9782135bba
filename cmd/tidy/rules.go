package main

import (
	"cmp"
	"fmt"
	"slices"
)

// finding is one breach of one rule.
type finding struct {
	rule string
	path string // from the root
	line int    // from 1
	text string // what is wrong and what to do
}

// String gives the form that editors and CI turn into links.
func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s (%s)", f.path, f.line, f.text, f.rule)
}

// rule is one house rule; check returns its breaches in any order and without the rule's name.
type rule struct {
	name  string
	check func(*tree) []finding
}

// rules is every house rule, in the order of the package comment.
var rules = []rule{
	{"syntax", func(t *tree) []finding { return t.broken }},
	{"imports", checkImports},
	{"owners", checkOwners},
	{"purity", checkPurity},
	{"size", checkSize},
	{"comments", checkComments},
	{"names", checkNames},
	{"waiting", checkWaiting},
	{"marks", checkMarks},
	{"places", checkPlaces},
	{"lockfile", checkLockfile},
}

// check applies every rule and returns the findings by path and line.
func check(t *tree) []finding {
	var all []finding
	for _, r := range rules {
		for _, f := range r.check(t) {
			f.rule = r.name
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.line, b.line), cmp.Compare(a.text, b.text))
	})
	return all
}
