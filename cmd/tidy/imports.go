package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// zone is one row of the table "who may import whom": a kind of package and what it may import of ours.
type zone struct {
	name  string
	floor int      // 1 is the ground: imports go down or stay, never up
	parts []string // path.Match patterns over parts, see partOf
	may   []string // names of zones
	pure  bool     // no clock, randomness, goroutine, IO, float or map: see purity.go
}

var (
	pureFederation = []string{
		"federation/letter", "federation/payment", "federation/courier",
		"federation/charter", "federation/directory", "federation/clearing",
	}
	features   = []string{"machine", "ledger", "feature", "exchange"}
	underNode  = []string{"circle", "machine", "feature", "exchange", "letters", "memnet", "p2p", "ledger"}
	parts      = append([]string{"part", "store", "backup"}, underNode...)
	everything = append([]string{"node", "sim"}, parts...)
)

// zones is the table. The first row whose pattern matches a part is that part's.
var zones = []zone{
	{name: "ledger", floor: 1, parts: []string{"ledger"}, pure: true},
	{name: "letters", floor: 2, parts: pureFederation, may: []string{"ledger", "letters"}, pure: true},
	{name: "memnet", floor: 2, parts: []string{"federation/memnet"}, may: []string{"letters"}},
	{name: "p2p", floor: 2, parts: []string{"federation/p2p"}, may: []string{"letters"}},
	{name: "machine", floor: 3, parts: []string{"circle/machine"}, pure: true},
	{
		name: "exchange", floor: 3,
		parts: []string{
			"circle/exchange", "circle/hub", "circle/findable", "circle/moving",
			"circle/netting", "circle/joining",
		},
		may: append([]string{"letters"}, features...), pure: true,
	},
	{name: "feature", floor: 3, parts: []string{"circle/*"}, may: features, pure: true},
	{name: "circle", floor: 3, parts: []string{"circle"}, may: features, pure: true},
	{
		name: "sim", floor: 4, parts: []string{"node/sim"},
		may: []string{"circle", "machine", "feature", "exchange", "letters", "memnet", "ledger"},
	},
	{name: "store", floor: 4, parts: []string{"node/store"}, may: underNode},
	// A backup holds a snapshot in the store's own format, and is read without a node.
	{name: "backup", floor: 4, parts: []string{"node/backup"}, may: append([]string{"store"}, underNode...)},
	{name: "part", floor: 4, parts: []string{"node/*"}, may: underNode},
	{name: "node", floor: 4, parts: []string{"node"}, may: parts},
	{name: "tidy", floor: 5, parts: []string{"cmd/tidy"}},
	{name: "command", floor: 5, parts: []string{"cmd/*"}, may: everything},
}

// partOf returns the part of the house a folder belongs to: its first two elements, or "ledger". Packages
// nested deeper are a part's own business.
func partOf(dir string) string {
	elems := strings.Split(dir, "/")
	if elems[0] == "ledger" {
		return "ledger"
	}
	return strings.Join(elems[:min(2, len(elems))], "/")
}

// zoneOf returns the zone of a folder.
func zoneOf(dir string) (zone, bool) {
	part := partOf(dir)
	at := slices.IndexFunc(zones, func(z zone) bool {
		return slices.ContainsFunc(z.parts, func(pattern string) bool {
			ok, err := path.Match(pattern, part)
			return ok && err == nil
		})
	})
	if at < 0 {
		return zone{}, false
	}
	return zones[at], true
}

// isPure says whether the file is the code of a pure package; its tests may do as they like.
func (f *file) isPure() bool {
	z, ok := zoneOf(f.dir())
	return ok && z.pure && f.syntax != nil && !f.isTest()
}

// checkImports holds every import of a package of ours to the table, and the ledger to the standard
// library. A test may import anything on its own floor or below.
func checkImports(t *tree) []finding {
	var found []finding
	for _, f := range t.goFiles() {
		from, ok := zoneOf(f.dir())
		if !ok {
			found = append(found, finding{
				path: f.path, line: t.line(f.syntax.Package),
				text: "the folder has no row in the import table: move it, or add one in cmd/tidy/imports.go",
			})
			continue
		}
		for _, spec := range f.syntax.Imports {
			if why := t.refuseImport(f, from, importPath(spec)); why != "" {
				found = append(found, finding{path: f.path, line: t.line(spec.Pos()), text: why})
			}
		}
	}
	return found
}

// refuseImport says why a file in a zone may not import p; empty if it may.
func (t *tree) refuseImport(f *file, from zone, p string) string {
	dir, ours := strings.CutPrefix(p, t.module+"/")
	if !ours {
		if from.name == "ledger" && !f.isTest() && !isStandard(p) {
			return fmt.Sprintf("the ledger imports the standard library only, not %s", p)
		}
		return ""
	}
	to, ok := zoneOf(dir)
	switch {
	case !ok:
		return fmt.Sprintf("%s has no row in the import table", dir)
	case partOf(dir) == partOf(f.dir()):
		return ""
	case f.isTest() && to.floor > from.floor:
		return fmt.Sprintf("a test on floor %d may not import %s on floor %d", from.floor, dir, to.floor)
	case !f.isTest() && !slices.Contains(from.may, to.name):
		return fmt.Sprintf("%s may not import %s", partOf(f.dir()), dir)
	}
	return ""
}

// isStandard says whether an import path is the standard library's.
func isStandard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}
