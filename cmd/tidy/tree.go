package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tree is the repository as read: every text file that a rule looks at, in path order.
type tree struct {
	module string // the module's path, from go.mod
	fset   *token.FileSet
	files  []*file
	broken []finding // Go files that do not parse
}

// file is one text file. Its path is slash-separated and starts at the root.
type file struct {
	path    string
	text    []byte
	data    bool              // it lies under a testdata folder: no code of ours, only words
	syntax  *ast.File         // nil unless it is Go source that parses
	imports map[string]string // local name to import path
}

func (f *file) dir() string  { return path.Dir(f.path) }
func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// textEndings are the names' ends of the files that are read; the rest is not ours to judge.
var textEndings = []string{
	".go", ".md", ".html", ".css", ".scss", ".js", ".mjs", ".ts", ".yml", ".yaml", ".sh",
	".json", ".txt", ".txtar", "Makefile", "Containerfile", ".ci/run",
}

// skippedFolders hold what others wrote or what a build left behind.
var skippedFolders = []string{".git", "node_modules", "dist", "bin"}

// findRoot returns the folder of the nearest go.mod, from the working folder upwards.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find the repository: no go.mod here or above; run it inside it")
		}
		dir = up
	}
}

// load reads and parses the tree. A Go file that does not parse becomes a finding, not an error.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("read the module's name: %w", err)
	}
	if t.module = moduleName(string(mod)); t.module == "" {
		return nil, errors.New("read the module's name: go.mod has no module line")
	}
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(fsys, p)
		case !d.Type().IsRegular() || !hasEnding(p, textEndings):
			return nil
		}
		text, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		t.add(p, text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return t, nil
}

func moduleName(mod string) string {
	for line := range strings.Lines(mod) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// enter says whether the walk goes into the folder: another module inside ours is not ours to judge.
func enter(fsys fs.FS, dir string) error {
	if slices.Contains(skippedFolders, path.Base(dir)) {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "go.mod")); err == nil && dir != "." {
		return fs.SkipDir
	}
	return nil
}

func (t *tree) add(p string, text []byte) {
	f := &file{path: p, text: text, data: strings.Contains("/"+p, "/testdata/")}
	t.files = append(t.files, f)
	if f.data || !strings.HasSuffix(p, ".go") {
		return
	}
	syntax, err := parser.ParseFile(t.fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.broken = append(t.broken, finding{path: p, line: 1, text: err.Error()})
		return
	}
	f.syntax = syntax
	f.imports = make(map[string]string, len(syntax.Imports))
	for _, spec := range syntax.Imports {
		f.imports[localName(spec)] = importPath(spec)
	}
}

// goFiles returns the Go files that parsed.
func (t *tree) goFiles() []*file {
	return slices.DeleteFunc(slices.Clone(t.files), func(f *file) bool { return f.syntax == nil })
}

// line returns the line that pos is on, counted from 1.
func (t *tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// selects returns the import path and name that a selector stands for: ("time", "Sleep") for time.Sleep.
// Both are empty if it does not select from an imported package.
func (f *file) selects(n ast.Node) (pkg, name string) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok || f.imports[id.Name] == "" {
		return "", ""
	}
	return f.imports[id.Name], sel.Sel.Name
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has let it pass, so it cannot be
	}
	return p
}

// localName returns the name a file uses for an import; the last element's, less a version, by default.
func localName(spec *ast.ImportSpec) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	p := importPath(spec)
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(p))
	}
	return base
}

func hasEnding(p string, endings []string) bool {
	return slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(p, end) })
}

// isGenerated says whether a tool wrote the file, by the header that Go tools agree on.
func (f *file) isGenerated() bool {
	if f.syntax != nil {
		return ast.IsGenerated(f.syntax)
	}
	head := f.text[:min(len(f.text), 512)]
	return bytes.Contains(head, []byte("Code generated ")) && bytes.Contains(head, []byte("DO NOT EDIT."))
}
