package circle_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/carecircle/carecircle/circle"
	"github.com/carecircle/carecircle/ledger"
)

var update = flag.Bool("update", false, "write what is new into the golden lists")

// TestKindsAreAppendOnly compares the kinds and who may do them with testdata/kinds.golden. A logged kind is
// for ever: a line may be added, and its policy changed knowingly, never taken away.
func TestKindsAreAppendOnly(t *testing.T) {
	m, err := circle.New()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range m.Rules() {
		lines = append(lines, fmt.Sprintf("%s since=%d policy=%q", r.Kind, r.Since, r.Policy.Name))
	}
	appendOnly(t, "testdata/kinds.golden", lines, func(line string) string {
		name, _, _ := strings.Cut(line, " policy=")
		return name
	})
}

// TestCodesAreAppendOnly compares every refusal code that the sources name with testdata/codes.golden.
// Programs and pages go by codes.
func TestCodesAreAppendOnly(t *testing.T) {
	codes := refusalCodes(t, ".")
	for _, c := range ledger.Codes {
		codes = append(codes, string(c))
	}
	if len(codes) < 80 || !slices.Contains(codes, "floor_passed") || !slices.Contains(codes, "unknown_kind") {
		t.Fatalf("only %d codes found in the sources", len(codes))
	}
	slices.Sort(codes)
	appendOnly(t, "testdata/codes.golden", slices.Compact(codes), func(line string) string { return line })
}

// appendOnly wants every line of the file, by its name, among the lines, and every line in the file.
func appendOnly(t *testing.T, path string, lines []string, name func(string) string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatalf("%v; run with -update", err)
	}
	kept := strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(raw)), " ", "\x1f"))
	for i := range kept {
		kept[i] = strings.ReplaceAll(kept[i], "\x1f", " ")
	}
	named := func(in []string, want string) bool {
		return slices.ContainsFunc(in, func(l string) bool { return name(l) == want })
	}
	out := slices.Clone(lines)
	for _, line := range kept {
		if !named(lines, name(line)) {
			t.Errorf("%s: %q is gone: what was once logged or answered is for ever", path, line)
			out = append(out, line)
		}
	}
	if *update {
		slices.Sort(out)
		if err := os.WriteFile(path, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, line := range lines {
		if !slices.Contains(kept, line) {
			t.Errorf("%s: %q is new or changed; if that is meant, run with -update", path, line)
		}
	}
}

// refusalCodes finds the first argument of every call of Refuse below a folder, tests left out.
func refusalCodes(t *testing.T, root string) []string {
	t.Helper()
	var codes []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isRefuse(call.Fun) && len(call.Args) > 1 {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					code, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Errorf("%s: %v", path, err)
					}
					codes = append(codes, code)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

func isRefuse(fun ast.Expr) bool {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name == "Refuse"
	case *ast.SelectorExpr:
		return f.Sel.Name == "Refuse"
	}
	return false
}
