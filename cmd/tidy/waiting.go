package main

import (
	"go/ast"
	"slices"
)

// checkWaiting reports tests that sleep by the wall clock and tests that skip themselves. A sleep is
// fine within a function given to synctest.Test, where time is false; a skip within "if testing.Short()".
func checkWaiting(t *tree) []finding {
	var found []finding
	for _, f := range t.goFiles() {
		if !f.isTest() {
			continue
		}
		ast.PreorderStack(f.syntax, nil, func(n ast.Node, stack []ast.Node) bool {
			why := ""
			switch {
			case f.isSleep(n) && !f.inBubble(stack):
				why = "time.Sleep in a test: wait for a condition, or use a synctest bubble"
			case f.isSkip(n, stack) && !f.whenShort(stack):
				why = "a test that skips itself proves nothing: only testing.Short() may skip it"
			}
			if why != "" {
				found = append(found, finding{path: f.path, line: t.line(n.Pos()), text: why})
			}
			return true
		})
	}
	return found
}

func (f *file) isSleep(n ast.Node) bool {
	pkg, name := f.selects(n)
	return pkg == "time" && name == "Sleep"
}

// inBubble says whether the stack passes through a function literal that is an argument of synctest.Test.
func (f *file) inBubble(stack []ast.Node) bool {
	for i, outer := range stack {
		call, ok := outer.(*ast.CallExpr)
		if !ok || i+1 == len(stack) {
			continue
		}
		pkg, name := f.selects(call.Fun)
		_, isLiteral := stack[i+1].(*ast.FuncLit)
		if isLiteral && pkg == "testing/synctest" && name == "Test" {
			return true
		}
	}
	return false
}

// isSkip says whether n is the selector of a testing type's Skip, SkipNow or Skipf. Other types have a
// Skip of their own: a property test drops unfit inputs with it.
func (f *file) isSkip(n ast.Node, stack []ast.Node) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "SkipNow", "Skipf"}, sel.Sel.Name) {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	for _, outer := range slices.Backward(stack) {
		if typ := parameterType(outer, id.Name); typ != nil {
			pkg, _ := f.selects(typ)
			return pkg == "testing"
		}
	}
	return slices.Contains([]string{"t", "b", "f", "tb"}, id.Name)
}

// parameterType returns the type of a function's parameter without its star; nil if it has none so named.
func parameterType(n ast.Node, name string) ast.Expr {
	var params *ast.FieldList
	switch n := n.(type) {
	case *ast.FuncDecl:
		params = n.Type.Params
	case *ast.FuncLit:
		params = n.Type.Params
	default:
		return nil
	}
	for _, field := range params.List {
		if !slices.ContainsFunc(field.Names, func(id *ast.Ident) bool { return id.Name == name }) {
			continue
		}
		if star, ok := field.Type.(*ast.StarExpr); ok {
			return star.X
		}
		return field.Type
	}
	return nil
}

// whenShort says whether an enclosing "if" asks testing.Short() without turning it round.
func (f *file) whenShort(stack []ast.Node) bool {
	for i, outer := range stack {
		branch, ok := outer.(*ast.IfStmt)
		if !ok || i+1 == len(stack) || stack[i+1] != branch.Body {
			continue
		}
		if call, ok := branch.Cond.(*ast.CallExpr); ok {
			pkg, name := f.selects(call.Fun)
			if pkg == "testing" && name == "Short" {
				return true
			}
		}
	}
	return false
}
