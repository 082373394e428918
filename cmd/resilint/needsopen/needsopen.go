// Package needsopen is check RL9c: Do returns a result that is still to be read.
package needsopen

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"

	"github.com/go-resilience/resilience/cmd/resilint/internal/api"
	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

var rule = check.Check{ID: "RL9c", Name: "needsopen", Doc: `find results of Do that are still to be read

When Do returns, its slots are free and its timeouts have ended the context of the attempt. A response body or rows that are
read afterwards break off in the middle, or hold no slot. resilience.Open keeps both until the permit is done.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.AssignStmt)(nil), (*ast.ValueSpec)(nil), (*ast.ReturnStmt)(nil)}, func(n ast.Node) {
		var results []ast.Expr
		switch n := n.(type) {
		case *ast.AssignStmt:
			if id, ok := n.Lhs[0].(*ast.Ident); ok && id.Name == "_" {
				return
			}
			results = n.Rhs
		case *ast.ValueSpec:
			results = n.Values
		case *ast.ReturnStmt:
			results = n.Results
		}
		if len(results) != 1 {
			return
		}
		call, ok := ast.Unparen(results[0]).(*ast.CallExpr)
		if !ok || !api.IsRun(pass.TypesInfo, call) {
			return
		}
		tuple, ok := pass.TypesInfo.TypeOf(call).(*types.Tuple)
		if !ok || tuple.Len() != 2 {
			return
		}
		if what, ok := open(tuple.At(0).Type()); ok {
			pass.Report(analysis.Diagnostic{
				Pos: call.Pos(), End: call.End(),
				Message: what + " is still to be read when Do returns: by then its slot is free and timeouts have ended its context; use resilience.Open",
			})
		}
	})
	return nil
}

// open says what a result that is read later is.
func open(t types.Type) (what string, is bool) {
	for _, known := range []struct{ path, name string }{
		{"net/http", "Response"}, {"database/sql", "Rows"}, {"io", "ReadCloser"}, {"io", "ReadWriteCloser"},
	} {
		if loop.IsNamed(t, known.path, known.name) {
			return types.TypeString(t, func(p *types.Package) string { return p.Name() }), true
		}
	}
	return "", false
}
