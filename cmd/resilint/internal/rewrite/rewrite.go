// Package rewrite makes the code of fixes.
package rewrite

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

// Statement returns the statement of a list in body that is nothing but e, nil if there is none. That in the head of an if is
// not one of a list.
func Statement(body *ast.BlockStmt, e ast.Expr) (found *ast.ExprStmt) {
	loop.Walk(body, func(n ast.Node) {
		for _, stmt := range loop.Statements(n) {
			if label, ok := stmt.(*ast.LabeledStmt); ok {
				stmt = label.Stmt
			}
			if stmt, ok := stmt.(*ast.ExprStmt); ok && ast.Unparen(stmt.X) == e {
				found = stmt
			}
		}
	})
	return found
}

// End returns the end of a statement with the comments that follow it on its line.
func End(pass *check.Pass, stmt ast.Stmt) token.Pos {
	file := pass.Fset.File(stmt.Pos())
	end, line := stmt.End(), file.Line(stmt.End())
	for _, group := range fileOf(pass, stmt.Pos()).Comments {
		for _, comment := range group.List {
			if comment.Pos() >= end && file.Line(comment.Pos()) == line && strings.TrimSpace(pass.Between(end, comment.Pos())) == "" {
				end = comment.End()
			}
		}
	}
	return end
}

// SameAt reports whether the first name of an expression means the same at two places.
func SameAt(pass *check.Pass, expr string, at, there token.Pos) bool {
	name, _, _ := strings.Cut(expr, ".")
	return Lookup(pass, name, at) == Lookup(pass, name, there)
}

// MeansAt reports whether the names in an expression mean the same at pos as where it stands.
func MeansAt(pass *check.Pass, e ast.Expr, pos token.Pos) bool {
	same := true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr: // what is selected does not depend on where that is
			same = same && MeansAt(pass, n.X, pos)
			return false
		case *ast.Ident:
			used := pass.TypesInfo.Uses[n]
			same = same && (used == nil || Lookup(pass, n.Name, pos) == used)
		}
		return true
	})
	return same
}

// Lookup returns what a name means at pos, nil if nothing.
func Lookup(pass *check.Pass, name string, pos token.Pos) types.Object {
	scope := pass.Pkg.Scope().Innermost(pos)
	if scope == nil {
		return nil
	}
	_, object := scope.LookupParent(name, pos)
	return object
}

// Zero returns the zero value of a type whose expression is in the source. It is false where it needs a name.
func Zero(pass *check.Pass, expr ast.Expr, t types.Type) (string, bool) {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Info()&types.IsBoolean != 0:
			return "false", true
		case u.Info()&types.IsString != 0:
			return `""`, true
		case u.Info()&types.IsNumeric != 0:
			return "0", true
		}
		return "nil", true
	case *types.Struct, *types.Array:
		return pass.Text(expr) + "{}", true
	case *types.Interface:
		if _, parameter := types.Unalias(t).(*types.TypeParam); parameter {
			return "*new(" + pass.Text(expr) + ")", true
		}
	}
	return "nil", true
}

// Import returns the edits that import a package, none if the file imports it already. It is false if another thing has its
// name.
func Import(pass *check.Pass, pos token.Pos, path, name string) ([]analysis.TextEdit, bool) {
	file := fileOf(pass, pos)
	for _, spec := range file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err == nil && imported == path {
			return nil, spec.Name == nil || spec.Name.Name == name
		}
	}
	if scope := pass.TypesInfo.Scopes[file]; scope.Lookup(name) != nil || pass.Pkg.Scope().Lookup(name) != nil {
		return nil, false
	}
	text := strconv.Quote(path)
	for i := len(file.Decls) - 1; i >= 0; i-- {
		decl, ok := file.Decls[i].(*ast.GenDecl)
		if !ok || decl.Tok != token.IMPORT {
			continue
		}
		if decl.Rparen.IsValid() {
			return []analysis.TextEdit{{Pos: decl.Rparen, End: decl.Rparen, NewText: []byte("\n\t" + text + "\n")}}, true
		}
		return []analysis.TextEdit{{Pos: decl.End(), End: decl.End(), NewText: []byte("\n\nimport " + text)}}, true
	}
	return []analysis.TextEdit{{Pos: file.Name.End(), End: file.Name.End(), NewText: []byte("\n\nimport " + text)}}, true
}

func fileOf(pass *check.Pass, pos token.Pos) *ast.File {
	for _, file := range pass.Files {
		if file.FileStart <= pos && pos <= file.FileEnd {
			return file
		}
	}
	return nil
}

// Indented returns text with more indentation in front of each line but the first.
func Indented(text, indent string) string { return strings.ReplaceAll(text, "\n", "\n"+indent) }
