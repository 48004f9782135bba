package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"unicode"
)

// emptyWords say nothing about what a thing is for. No package and no exported type carries one.
var emptyWords = []string{"manager", "util", "utils", "common", "helper", "base", "types", "misc"}

// checkComments asks for one comment per package and one on every exported name.
func checkComments(t *tree) []finding {
	var found []finding
	byFolder := t.byFolder()
	for _, dir := range sortedKeys(byFolder) {
		found = append(found, t.packageComment(byFolder[dir])...)
		for _, f := range byFolder[dir] {
			if !f.isTest() && !ast.IsGenerated(f.syntax) {
				found = append(found, t.bareNames(f)...)
			}
		}
	}
	return found
}

// byFolder groups the Go files by folder, each group in path order.
func (t *tree) byFolder() map[string][]*file {
	groups := map[string][]*file{}
	for _, f := range t.goFiles() {
		groups[f.dir()] = append(groups[f.dir()], f)
	}
	return groups
}

func sortedKeys(m map[string][]*file) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// packageComment wants exactly one among the files of a folder; tests count only where there is no code.
func (t *tree) packageComment(files []*file) []finding {
	code := slices.DeleteFunc(slices.Clone(files), (*file).isTest)
	if len(code) == 0 {
		code = files
	}
	var with []*file
	for _, f := range code {
		if strings.TrimSpace(f.syntax.Doc.Text()) != "" {
			with = append(with, f)
		}
	}
	name := code[0].syntax.Name.Name
	at := finding{path: code[0].path, line: t.line(code[0].syntax.Package)}
	switch {
	case len(with) == 0:
		at.text = fmt.Sprintf("package %s has no comment that says what it is for", name)
	case len(with) > 1:
		at.path, at.line = with[1].path, t.line(with[1].syntax.Package)
		at.text = fmt.Sprintf("package %s has a second comment; the first is in %s", name, with[0].path)
	case name != "main" && !strings.HasPrefix(with[0].syntax.Doc.Text(), "Package "+name+" "):
		at.path, at.line = with[0].path, t.line(with[0].syntax.Package)
		at.text = fmt.Sprintf("the package comment starts with %q", "Package "+name+" ")
	default:
		return nil
	}
	return []finding{at}
}

// bareNames reports the exported names of a file that have no doc comment.
func (t *tree) bareNames(f *file) []finding {
	var found []finding
	report := func(id *ast.Ident, docs ...*ast.CommentGroup) {
		documented := slices.ContainsFunc(docs, func(c *ast.CommentGroup) bool { return c.Text() != "" })
		if id.IsExported() && !documented {
			found = append(found, finding{
				path: f.path, line: t.line(id.Pos()), text: "no doc comment on exported " + id.Name,
			})
		}
	}
	for _, decl := range f.syntax.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if r := receiver(d); r == "" || ast.IsExported(r) {
				report(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			reportGroup(d, report)
		}
	}
	return found
}

// reportGroup looks at a const, var or type declaration. One comment may speak for a whole group of
// constants or variables; every type needs its own.
func reportGroup(d *ast.GenDecl, report func(*ast.Ident, ...*ast.CommentGroup)) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			docs := []*ast.CommentGroup{s.Doc}
			if len(d.Specs) == 1 {
				docs = append(docs, d.Doc)
			}
			report(s.Name, docs...)
		case *ast.ValueSpec:
			for _, id := range s.Names {
				report(id, d.Doc, s.Doc, s.Comment)
			}
		}
	}
}

// receiver returns the name of a method's type, empty for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	name := ""
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name // the first one: type parameters come after
		}
		return name == ""
	})
	return name
}

// checkNames reports packages and exported types with an empty word in their names.
func checkNames(t *tree) []finding {
	var found []finding
	for _, f := range t.goFiles() {
		names := []*ast.Ident{f.syntax.Name}
		for _, decl := range f.syntax.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE && !f.isTest() {
				for _, spec := range d.Specs {
					names = append(names, spec.(*ast.TypeSpec).Name)
				}
			}
		}
		for i, id := range names {
			if word := emptyWord(id.Name); word != "" && (i == 0 || id.IsExported()) {
				found = append(found, finding{
					path: f.path, line: t.line(id.Pos()),
					text: fmt.Sprintf("%q in %s says nothing: name what it does", word, id.Name),
				})
			}
		}
	}
	return found
}

// emptyWord returns the first empty word in a name, taken apart at capitals and underscores.
func emptyWord(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	for word := range strings.FieldsSeq(strings.ReplaceAll(b.String(), "_", " ")) {
		if slices.Contains(emptyWords, word) {
			return word
		}
	}
	return ""
}
