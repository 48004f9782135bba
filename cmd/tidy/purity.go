package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// impureImports are the packages, with all beneath them, whose answers depend on more than arguments.
var impureImports = []string{
	"time", "math/rand", "crypto/rand", "hash/maphash", "os", "io/fs", "io/ioutil", "path/filepath", "net",
	"sync", "context", "log", "runtime", "unsafe", "syscall", "testing", "embed", "plugin",
}

// harmlessImports lie beneath an impure one and are pure all the same.
var harmlessImports = []string{"net/url", "net/netip", "net/mail"}

// pureLibraries are the third-party packages that pure code may use: they keep to their arguments.
var pureLibraries = []string{"github.com/tidwall/btree", "github.com/fxamacker/cbor", "golang.org/x/crypto"}

// simImports are what the simulation never touches: its clock, network and disk are its own.
var simImports = []string{"time", "os", "net", "syscall", "crypto/rand", "path/filepath", "io/ioutil"}

// impureNames are single functions that reach out of otherwise pure packages.
var impureNames = []string{
	"fmt.Print", "fmt.Printf", "fmt.Println", "fmt.Scan", "fmt.Scanf", "fmt.Scanln",
	"crypto/ed25519.GenerateKey",
}

// tableFile is the one file name under which a pure package may hold a Go map.
const tableFile = "table.go"

// checkPurity holds the pure packages to arguments and integers, and the simulation to its own world.
func checkPurity(t *tree) []finding {
	var found []finding
	for _, f := range t.goFiles() {
		pure := f.isPure()
		inSim := partOf(f.dir()) == "node/sim" && !f.isTest()
		for _, spec := range f.syntax.Imports {
			p := importPath(spec)
			why := ""
			switch {
			case pure:
				why = impureImport(t.module, p)
			case inSim && isBeneath(p, simImports) && !isBeneath(p, harmlessImports):
				why = fmt.Sprintf("the simulation may not import %s: it makes its own time and faults", p)
			}
			if why != "" {
				found = append(found, finding{path: f.path, line: t.line(spec.Pos()), text: why})
			}
		}
		if pure {
			found = append(found, t.impureCode(f)...)
		}
	}
	return found
}

func impureImport(module, p string) string {
	switch {
	case strings.HasPrefix(p, module+"/"):
		return "" // the import table's business
	case !isStandard(p) && !isBeneath(p, pureLibraries):
		return fmt.Sprintf("a pure package may not import %s; those it may are in cmd/tidy/purity.go", p)
	case isBeneath(p, impureImports) && !isBeneath(p, harmlessImports):
		return fmt.Sprintf("a pure package may not import %s: pass in what it would give", p)
	}
	return ""
}

// isBeneath says whether p is one of the paths or lies beneath one.
func isBeneath(p string, paths []string) bool {
	return slices.ContainsFunc(paths, func(q string) bool { return p == q || strings.HasPrefix(p, q+"/") })
}

func (t *tree) impureCode(f *file) []finding {
	var found []finding
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		if what := f.impureNode(n); what != "" {
			found = append(found, finding{
				path: f.path, line: t.line(n.Pos()), text: "a pure package has no " + what,
			})
		}
		return true
	})
	return found
}

// impureNode names what is impure about a node itself, not about those within it; empty if nothing is.
func (f *file) impureNode(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "goroutine"
	case *ast.ChanType:
		return "channel"
	case *ast.SelectStmt:
		return "select"
	case *ast.MapType:
		if path.Base(f.path) != tableFile {
			return "Go map, whose order is random: keep a sorted slice, or a table in " + tableFile
		}
	case *ast.BasicLit:
		if n.Kind == token.FLOAT || n.Kind == token.IMAG {
			return "number that is no integer: " + n.Value
		}
	case *ast.Ident:
		switch n.Name {
		case "float32", "float64", "complex64", "complex128":
			return n.Name + ": count in whole minutes, pence or shares"
		}
	case *ast.SelectorExpr:
		return f.impureName(n)
	}
	return ""
}

func (f *file) impureName(sel *ast.SelectorExpr) string {
	pkg, name := f.selects(sel)
	switch {
	case pkg == "math" && !hasPrefix(name, "MaxInt", "MinInt", "MaxUint"):
		return "float: math." + name
	case pkg != "" && slices.Contains(impureNames, pkg+"."+name):
		return "use for " + path.Base(pkg) + "." + name + ", which reaches outside"
	}
	return ""
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
