// Package droppederror is check RL9b: the error of a call through a pipeline is dropped.
package droppederror

import (
	"go/ast"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"

	"github.com/go-resilience/resilience/cmd/resilint/internal/api"
	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
)

var rule = check.Check{ID: "RL9b", Name: "droppederror", Doc: `find calls through a pipeline whose error is dropped

A pipeline refuses calls. Code that drops its error mistakes a call that was never made for one that succeeded. Assigning
every result to blanks counts as intended.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

func run(pass *check.Pass) error {
	nodes := []ast.Node{(*ast.ExprStmt)(nil), (*ast.AssignStmt)(nil), (*ast.GoStmt)(nil), (*ast.DeferStmt)(nil)}
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder(nodes, func(n ast.Node) {
		var call *ast.CallExpr
		switch n := n.(type) {
		case *ast.ExprStmt:
			call, _ = ast.Unparen(n.X).(*ast.CallExpr)
		case *ast.GoStmt:
			call = n.Call
		case *ast.DeferStmt:
			call = n.Call
		case *ast.AssignStmt:
			if len(n.Rhs) == 1 && isBlank(n.Lhs[len(n.Lhs)-1]) && !isBlank(n.Lhs[0]) {
				call, _ = ast.Unparen(n.Rhs[0]).(*ast.CallExpr)
			}
		}
		if call != nil && api.IsRun(pass.TypesInfo, call) {
			pass.Report(analysis.Diagnostic{
				Pos: call.Pos(), End: call.End(),
				Message: "the error is dropped: a call that the pipeline refused, and never made, looks like a success",
			})
		}
	})
	return nil
}

func isBlank(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "_"
}
