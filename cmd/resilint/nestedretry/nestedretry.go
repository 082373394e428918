// Package nestedretry is check RL7: a retry surrounds something that already retries.
package nestedretry

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"

	"github.com/go-resilience/resilience/cmd/resilint/internal/api"
	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

var rule = check.Check{ID: "RL7", Name: "nestedretry", Doc: `find retries around something that retries

Attempts multiply: three times around four are twelve requests for one call, and a chain of three services that do this
sends 1,728. One layer retries, the one that knows most about the call.

The check looks at retry loops and pipelines with a retry, and inside them for clients that retry by themselves, functions
of the package that contain a retry loop, and calls of other libraries for retries.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, loop.Analyzer, inspect.Analyzer)

// retrying are ends and parts of paths of packages whose clients or functions retry by default.
var retrying = []struct{ path, name string }{
	{"/go-retryablehttp", ""},
	{"/aws-sdk-go-v2/service/", ""},
	{"/aws-sdk-go/service/", ""},
	{"/cenkalti/backoff", "Retry"},
	{"/avast/retry-go", "Do"},
	{"/sethvargo/go-retry", "Do"},
	{"/sethvargo/go-retry", "Constant"},
}

func run(pass *check.Pass) error {
	loops := pass.ResultOf[loop.Analyzer].([]*loop.Loop)
	retries := map[*types.Func]bool{}
	for _, l := range loops {
		if l.Decl != nil && l.Func == ast.Node(l.Decl) {
			if f, ok := pass.TypesInfo.Defs[l.Decl.Name].(*types.Func); ok {
				retries[f] = true
			}
		}
	}
	for _, l := range loops {
		if what, ok := retriesItself(pass, retries, l.Call); ok {
			report(pass, l.Call, "this loop retries "+what)
		}
	}
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.CallExpr)(nil)}, func(n ast.Node) {
		call := n.(*ast.CallExpr)
		if !api.IsRun(pass.TypesInfo, call) || !hasRetry(pass, call) {
			return
		}
		last := call.Args[len(call.Args)-1]
		if f, ok := loop.ObjectOf(pass.TypesInfo, last).(*types.Func); ok && retries[f] {
			report(pass, last, "this pipeline retries "+f.Name())
		}
		operation := api.Operation(call)
		if operation == nil {
			return
		}
		ast.Inspect(operation.Body, func(n ast.Node) bool {
			if inner, ok := n.(*ast.CallExpr); ok {
				if what, ok := retriesItself(pass, retries, inner); ok {
					report(pass, inner, "this pipeline retries "+what)
				}
			}
			return true
		})
	})
	return nil
}

func report(pass *check.Pass, call ast.Expr, what string) {
	pass.Report(analysis.Diagnostic{
		Pos: call.Pos(), End: call.End(),
		Message: what + ", which retries by itself: attempts multiply when the dependency is sick",
	})
}

// retriesItself says what a call calls that retries.
func retriesItself(pass *check.Pass, own map[*types.Func]bool, call *ast.CallExpr) (what string, ok bool) {
	callee := loop.Callee(pass.TypesInfo, call)
	if callee == nil || callee.Pkg() == nil {
		return "", false
	}
	if own[callee] {
		return callee.Name(), true
	}
	if api.IsRun(pass.TypesInfo, call) && hasRetry(pass, call) {
		return "a call through a pipeline with a retry", true
	}
	path := "/" + callee.Pkg().Path()
	for _, r := range retrying {
		at := strings.Index(path, r.path)
		if at < 0 || r.name != "" && callee.Name() != r.name {
			continue
		}
		if rest := path[at+len(r.path):]; !strings.HasSuffix(r.path, "/") && rest != "" && !strings.HasPrefix(rest, "/v") {
			continue
		}
		s := callee.Signature()
		if r.name == "" && (s.Results().Len() == 0 || !loop.IsError(s.Results().At(s.Results().Len()-1).Type()) || !sends(callee)) {
			continue
		}
		return callee.Pkg().Name() + "." + callee.Name(), true
	}
	return "", false
}

// sends reports whether a function of a client sends something, as opposed to making a client or a request.
func sends(f *types.Func) bool { return !strings.HasPrefix(f.Name(), "New") }

// hasRetry reports whether the pipeline of a call has a retry, as far as that is seen: it is made in place, or in a variable
// that is set once.
func hasRetry(pass *check.Pass, call *ast.CallExpr) (has bool) {
	seen := map[types.Object]bool{}
	var look func(ast.Node)
	look = func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit: // an operation
				return false
			case *ast.CallExpr:
				has = has || api.Is(pass.TypesInfo, n, "retry", "New")
			case *ast.Ident:
				variable, ok := pass.TypesInfo.Uses[n].(*types.Var)
				has = has || ok && api.IsType(variable.Type(), "retry", "Retrier")
				if ok && !seen[variable] {
					seen[variable] = true
					if value := valueOf(pass, variable); value != nil {
						look(value)
					}
				}
			}
			return !has
		})
	}
	if receiver := api.Receiver(pass.TypesInfo, call); receiver != nil {
		look(receiver)
	} else if len(call.Args) > 1 {
		look(call.Args[1])
	}
	return has
}

// valueOf returns what a variable is set to, nil if that is not seen or happens twice.
func valueOf(pass *check.Pass, variable types.Object) (value ast.Expr) {
	times := 0
	set := func(id *ast.Ident, to ast.Expr) {
		if variable != nil && pass.TypesInfo.ObjectOf(id) == variable {
			value = to
			times++
		}
	}
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if len(n.Values) == len(n.Names) {
						set(name, n.Values[i])
					}
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if id, ok := left.(*ast.Ident); ok && len(n.Rhs) == len(n.Lhs) {
						set(id, n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	if times != 1 {
		return nil
	}
	return value
}
