// Package gateinretry is check RL10: retry.If looks for an error that a retry is never asked about.
package gateinretry

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

var rule = check.Check{ID: "RL10", Name: "gateinretry", Doc: `find conditions of a retry that look for a refusal

A retry does not repeat what an inner policy has refused, and does not ask its own condition about it: the policy has just
said that an attempt is pointless. So a test for breaker.ErrOpen in retry.If never decides anything.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.CallExpr)(nil)}, func(n ast.Node) {
		call := n.(*ast.CallExpr)
		condition := api.Operation(call)
		if condition == nil || !api.Is(pass.TypesInfo, call, "retry", "If") {
			return
		}
		ast.Inspect(condition.Body, func(n ast.Node) bool {
			test, ok := n.(*ast.CallExpr)
			if !ok || !isErrorsIs(pass.TypesInfo, test) || len(test.Args) != 2 || !refusal(pass, test.Args[1]) {
				return true
			}
			pass.Report(analysis.Diagnostic{
				Pos: test.Pos(), End: test.End(),
				Message: "a retry never asks about a refusal of a policy inside it: this test decides nothing",
			})
			return true
		})
	})
	return nil
}

func isErrorsIs(info *types.Info, call *ast.CallExpr) bool {
	callee := loop.Callee(info, call)
	return callee != nil && callee.FullName() == "errors.Is"
}

// refusal reports whether an expression names an error with which a policy refuses.
func refusal(pass *check.Pass, e ast.Expr) bool {
	if !api.IsVariable(pass.TypesInfo, e, "Err") {
		return false
	}
	selector, ok := ast.Unparen(e).(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch pass.TypesInfo.Uses[selector.Sel].Pkg().Name() {
	case "breaker", "ratelimit", "bulkhead", "throttle":
		return true
	case "policy":
		return selector.Sel.Name == "ErrRejected"
	}
	return false
}
