// Package maskedbreaker is check RL9e: a layer is moved so that a retry is inside a breaker and hides failures from it.
package maskedbreaker

import (
	"go/ast"
	"go/constant"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"

	"github.com/go-resilience/resilience/cmd/resilint/internal/api"
	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/policy"
)

var rule = check.Check{ID: "RL9e", Name: "maskedbreaker", Doc: `find pipelines in which a retry stands inside a breaker

Inside a breaker, a retry hides failures from it: three failed attempts are one failure, and a call that the third attempt
rescues is a success. The breaker opens late or never, and while it is open nothing tells the retry.

The check looks at calls of policy.At with a constant stage.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.CallExpr)(nil)}, func(n ast.Node) {
		call := n.(*ast.CallExpr)
		if !api.Is(pass.TypesInfo, call, "policy", "At") || len(call.Args) != 2 {
			return
		}
		value := pass.TypesInfo.Types[call.Args[0]].Value
		if value == nil {
			return
		}
		stage, _ := constant.Int64Val(value)
		layer := pass.TypesInfo.TypeOf(call.Args[1])
		message := ""
		switch {
		case api.IsType(layer, "retry", "Retrier") && stage > int64(policy.StageBreaker):
			message = "the retry stands inside breakers here: they see a whole loop of failures as one, and open late or never"
		case api.IsType(layer, "breaker", "Breaker") && stage < int64(policy.StageRetry):
			message = "the breaker stands outside retries here: it sees a whole loop of failures as one, and opens late or never"
		default:
			return
		}
		pass.Report(analysis.Diagnostic{Pos: call.Pos(), End: call.End(), Message: message})
	})
	return nil
}
