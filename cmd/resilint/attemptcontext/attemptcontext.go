// Package attemptcontext is check RL9a: an operation uses another context than that of its attempt.
package attemptcontext

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

var rule = check.Check{ID: "RL9a", Name: "attemptcontext", Doc: `find operations that ignore the context of their attempt

An operation gets the context of its attempt. Timeouts end that context, and a hedge cancels the losing attempt through it.
An operation that uses the caller's context instead runs on after its timeout and holds what it should have released.

If the parameter has no name, the fix gives it the name of the other context, which it then shadows.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.CallExpr)(nil)}, func(n ast.Node) {
		call := n.(*ast.CallExpr)
		operation := api.Operation(call)
		if operation == nil || !api.IsRun(pass.TypesInfo, call) || len(operation.Type.Params.List) != 1 {
			return
		}
		field := operation.Type.Params.List[0]
		if !loop.IsContext(pass.TypesInfo.TypeOf(field.Type)) {
			return
		}
		if outer := outerContext(pass, operation); outer != nil {
			report(pass, field, outer)
		}
	})
	return nil
}

// outerContext returns a use of a context from outside the operation as an argument of a call in it, nil if there is none.
func outerContext(pass *check.Pass, operation *ast.FuncLit) (found *ast.Ident) {
	ast.Inspect(operation.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || found != nil {
			return found == nil
		}
		var outer *ast.Ident
		for _, arg := range call.Args {
			id, ok := ast.Unparen(arg).(*ast.Ident)
			if !ok {
				continue
			}
			variable, ok := pass.TypesInfo.Uses[id].(*types.Var)
			if !ok || !loop.IsContext(variable.Type()) || variable.IsField() {
				continue
			}
			if operation.Pos() <= variable.Pos() && variable.Pos() < operation.End() {
				return true // who gets that of the attempt too compares the two
			}
			outer = id
		}
		found = outer
		return true
	})
	return found
}

func report(pass *check.Pass, field *ast.Field, outer *ast.Ident) {
	d := analysis.Diagnostic{
		Pos: outer.Pos(), End: outer.End(),
		Message: "this operation uses " + outer.Name + " from outside: a timeout or a hedge cannot stop it, and it runs on when its attempt is over",
	}
	if len(field.Names) == 1 && field.Names[0].Name == "_" {
		name := field.Names[0]
		d.SuggestedFixes = []analysis.SuggestedFix{{
			Message:   "use the context of the attempt",
			TextEdits: []analysis.TextEdit{{Pos: name.Pos(), End: name.End(), NewText: []byte(outer.Name)}},
		}}
	}
	pass.Report(d)
}
