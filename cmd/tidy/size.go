package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"strings"
)

// The limits on size: what fits a screen, and a head.
const (
	maxFunctionLines = 70
	maxFileLines     = 500
	maxColumns       = 110
	tabColumns       = 4
)

// sizedEndings are the files whose lines are counted: code and pages, not prose or data.
var sizedEndings = []string{
	".go", ".html", ".css", ".scss", ".js", ".mjs", ".ts", ".yml", ".yaml", ".sh",
	"Makefile", "Containerfile", ".ci/run",
}

// checkSize reports functions, files and lines over their limits, save in generated files.
func checkSize(t *tree) []finding {
	var found []finding
	for _, f := range t.files {
		if f.data || !hasEnding(f.path, sizedEndings) || f.isGenerated() {
			continue
		}
		found = append(found, linesOf(f)...)
		if f.syntax != nil {
			found = append(found, t.longFunctions(f)...)
		}
	}
	return found
}

func linesOf(f *file) []finding {
	var found []finding
	lines := bytes.Split(bytes.TrimSuffix(f.text, []byte("\n")), []byte("\n"))
	if len(lines) > maxFileLines {
		found = append(found, finding{
			path: f.path, line: len(lines),
			text: fmt.Sprintf("%d lines in the file, at most %d", len(lines), maxFileLines),
		})
	}
	for i, line := range lines {
		if n := columns(string(line)); n > maxColumns {
			text := fmt.Sprintf("%d columns in the line, at most %d", n, maxColumns)
			found = append(found, finding{path: f.path, line: i + 1, text: text})
		}
	}
	return found
}

// columns returns how wide a line is shown: a tab goes to the next multiple of tabColumns.
func columns(line string) int {
	n := 0
	for _, r := range strings.TrimSuffix(line, "\r") {
		if r == '\t' {
			n += tabColumns - n%tabColumns
		} else {
			n++
		}
	}
	return n
}

// longFunctions measures functions from the line of "func" to that of the closing brace, both included.
func (t *tree) longFunctions(f *file) []finding {
	var found []finding
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		from, name := 0, "function"
		switch n := n.(type) {
		case *ast.FuncDecl:
			from, name = t.line(n.Type.Func), n.Name.Name
		case *ast.FuncLit:
			from = t.line(n.Pos())
		default:
			return true
		}
		if lines := t.line(n.End()) - from + 1; lines > maxFunctionLines {
			found = append(found, finding{
				path: f.path, line: from,
				text: fmt.Sprintf("%d lines in %s, at most %d", lines, name, maxFunctionLines),
			})
		}
		return false // what is within is shorter
	})
	return found
}
