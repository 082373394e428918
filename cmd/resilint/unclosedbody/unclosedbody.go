// Package unclosedbody is check RL8: a retry loop drops a response without closing its body.
package unclosedbody

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
	"github.com/go-resilience/resilience/cmd/resilint/internal/rewrite"
)

var rule = check.Check{ID: "RL8", Name: "unclosedbody", Doc: `find retry loops that drop responses with open bodies

A loop that tries again after a bad status without closing the body of that response leaks its connection. While the backend
answers with errors, each retry opens a new connection, until no file descriptors are left.

The fix closes the body before the sleep. It is offered where the response is a variable of the loop.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, loop.Analyzer)

func run(pass *check.Pass) error {
	for _, l := range pass.ResultOf[loop.Analyzer].([]*loop.Loop) {
		response := response(pass, l)
		if response == nil || !l.Retries || letsGo(pass, l, response) {
			continue
		}
		d := analysis.Diagnostic{
			Pos: l.Call.Pos(), End: l.Call.End(),
			Message: "this loop tries again without closing the body of " + response.Name() + ": each retry leaks a connection",
		}
		if stmt := sleep(l); stmt != nil && onlyIn(l, response) && !usedAfter(pass, l, stmt, response) &&
			rewrite.Lookup(pass, response.Name(), stmt.Pos()) == response {
			indent := pass.Indent(stmt.Pos())
			text := "if " + response.Name() + " != nil {\n" + indent + "\t_ = " + response.Name() + ".Body.Close()\n" + indent + "}\n" + indent
			d.SuggestedFixes = []analysis.SuggestedFix{{
				Message:   "close the body before the sleep",
				TextEdits: []analysis.TextEdit{{Pos: stmt.Pos(), End: stmt.Pos(), NewText: []byte(text)}},
			}}
		}
		pass.Report(d)
	}
	return nil
}

// response returns the variable that the loop's call sets to an *http.Response.
func response(pass *check.Pass, l *loop.Loop) (found *types.Var) {
	loop.Walk(l.Stmt, func(n ast.Node) {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 || ast.Unparen(assign.Rhs[0]) != ast.Expr(l.Call) || len(assign.Lhs) != 2 {
			return
		}
		if id, ok := assign.Lhs[0].(*ast.Ident); ok && loop.IsNamed(pass.TypesInfo.TypeOf(id), "net/http", "Response") {
			found, _ = pass.TypesInfo.ObjectOf(id).(*types.Var)
		}
	})
	return found
}

// letsGo reports whether the loop closes the body, or hands it or the response to something that may.
func letsGo(pass *check.Pass, l *loop.Loop, response *types.Var) (does bool) {
	is := func(e ast.Expr) bool {
		e = ast.Unparen(e)
		if selector, ok := e.(*ast.SelectorExpr); ok && selector.Sel.Name == "Body" {
			e = selector.X
		}
		id, ok := e.(*ast.Ident)
		return ok && pass.TypesInfo.ObjectOf(id) == response
	}
	ast.Inspect(l.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if selector, ok := n.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "Close" && is(selector.X) {
				does = true
			}
			for _, arg := range n.Args {
				if callee := loop.Callee(pass.TypesInfo, n); is(arg) && (callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "io") {
					does = true
				}
			}
		case *ast.AssignStmt: // kept elsewhere
			for _, right := range n.Rhs {
				does = does || is(right)
			}
		}
		return true
	})
	return does
}

// sleep returns the statement that sleeps after the call, nil if there is none.
func sleep(l *loop.Loop) ast.Stmt {
	if stmt := rewrite.Statement(l.Body, l.Again.Sleep); stmt != nil && stmt.Pos() > l.Call.Pos() {
		return stmt
	}
	return nil
}

// onlyIn reports whether a response is used in the loop alone. What is used after it must not be closed.
func onlyIn(l *loop.Loop, response *types.Var) bool {
	return l.Body.Pos() <= response.Pos() && response.Pos() < l.Body.End()
}

// usedAfter reports whether the loop looks at a response behind a statement, which no continue follows.
func usedAfter(pass *check.Pass, l *loop.Loop, stmt ast.Stmt, response *types.Var) (does bool) {
	goesOn := false
	loop.Walk(l.Body, func(n ast.Node) {
		list := loop.Statements(n)
		if i := slices.Index(list, stmt); i >= 0 && i+1 < len(list) {
			branch, ok := list[i+1].(*ast.BranchStmt)
			goesOn = ok && branch.Tok == token.CONTINUE
		}
	})
	ast.Inspect(l.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		does = does || ok && id.Pos() > stmt.End() && pass.TypesInfo.Uses[id] == response
		return true
	})
	return does && !goesOn
}
