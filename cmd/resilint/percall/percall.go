// Package percall is check RL6: a policy with a memory is made for each call.
package percall

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

var rule = check.Check{ID: "RL6", Name: "percall", Doc: `find breakers, limiters and pipelines that are made for each call

A breaker that lives for one call never opens, a limiter never limits, a bulkhead is never full, a budget never runs out. They
must be made once, where the client is made, and shared by all calls.

The check looks at functions that get a context or a request, and at objects that do not leave them and that the loops and
goroutines of one call do not share.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

// made are the functions that make what has a memory: by the path of the package, or its end.
var made = map[string][]string{
	api.Root:                      {"Compose"},
	api.Root + "/breaker":         {"New"},
	api.Root + "/ratelimit":       {"New", "Every", "Per", "NewPerKey"},
	api.Root + "/bulkhead":        {"New", "Adaptive"},
	api.Root + "/retry":           {"New"},
	api.Root + "/hedge":           {"New"},
	api.Root + "/throttle":        {"New"},
	"golang.org/x/time/rate":      {"NewLimiter"},
	"sony/gobreaker":              {"NewCircuitBreaker", "NewTwoStepCircuitBreaker"},
	"sony/gobreaker/v2":           {"NewCircuitBreaker", "NewTwoStepCircuitBreaker"},
	"golang.org/x/sync/semaphore": {"NewWeighted"},
}

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.FuncDecl)(nil)}, func(n ast.Node) {
		if f := n.(*ast.FuncDecl); f.Body != nil && perCall(pass, f) {
			look(pass, f)
		}
	})
	return nil
}

// perCall reports whether a function is called for each call of something: it gets a context or a request. Constructors,
// and what runs once, have names of their own.
func perCall(pass *check.Pass, f *ast.FuncDecl) bool {
	name := strings.ToLower(f.Name.Name)
	for _, once := range []string{"new", "make", "main", "run", "serve", "start", "setup", "init", "open", "dial", "connect"} {
		if strings.HasPrefix(name, once) {
			return false
		}
	}
	for _, field := range f.Type.Params.List {
		if t := pass.TypesInfo.TypeOf(field.Type); loop.IsContext(t) || loop.IsNamed(t, "net/http", "Request") {
			return true
		}
	}
	return false
}

// look reports what f makes and nobody but f uses.
func look(pass *check.Pass, f *ast.FuncDecl) {
	reported := map[ast.Node]bool{}
	parents := parentsOf(f.Body)
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !makes(pass.TypesInfo, call) || reported[call] || !stays(pass, f, parents, call) {
			return true
		}
		callee := loop.Callee(pass.TypesInfo, call)
		pass.Report(analysis.Diagnostic{
			Pos: call.Pos(), End: call.End(),
			Message: callee.Pkg().Name() + "." + callee.Name() + " is called for each call of " + f.Name.Name +
				": what it makes forgets everything between calls, and protects nothing; make it once and share it",
		})
		ast.Inspect(call, func(n ast.Node) bool { // one finding for a pipeline with all its layers
			if n != nil {
				reported[n] = true
			}
			return true
		})
		return true
	})
}

func makes(info *types.Info, call *ast.CallExpr) bool {
	callee := loop.Callee(info, call)
	if callee == nil || callee.Pkg() == nil || callee.Signature().Recv() != nil {
		return false
	}
	path := callee.Pkg().Path()
	for pkg, names := range made {
		if path != pkg && !strings.HasSuffix(path, "/"+pkg) {
			continue
		}
		for _, name := range names {
			if callee.Name() == name {
				return true
			}
		}
	}
	return false
}

// paces reports whether a use of a variable stands in a loop or in a function literal: then it is shared by the work of one
// call, as a limit of goroutines is.
func paces(parents map[ast.Node]ast.Node, f *ast.FuncDecl, use ast.Node, e ast.Expr) bool {
	if _, variable := e.(*ast.Ident); !variable {
		return false
	}
	for n := use; n != nil && n != ast.Node(f.Body); n = parents[n] {
		switch n.(type) {
		case *ast.ForStmt, *ast.RangeStmt, *ast.FuncLit:
			return true
		}
	}
	return false
}

// stays reports whether what a call makes is used by f alone: it is used in place, or kept in a local variable whose
// methods are called, or with which an operation is run.
func stays(pass *check.Pass, f *ast.FuncDecl, parents map[ast.Node]ast.Node, e ast.Expr) bool {
	switch parent := parents[e].(type) {
	case *ast.ParenExpr:
		return stays(pass, f, parents, parent)
	case *ast.SelectorExpr: // a method of it
		return !paces(parents, f, parent, e)
	case *ast.CallExpr:
		return api.IsRun(pass.TypesInfo, parent) || makes(pass.TypesInfo, parent) && stays(pass, f, parents, parent)
	case *ast.AssignStmt:
		if len(parent.Lhs) != 1 {
			return false
		}
		id, ok := parent.Lhs[0].(*ast.Ident)
		variable, local := pass.TypesInfo.ObjectOf(id).(*types.Var)
		if !ok || !local || variable.Parent() == pass.Pkg.Scope() || !within(f.Body, variable) {
			return false
		}
		return usesStay(pass, f, parents, variable)
	}
	return false
}

func usesStay(pass *check.Pass, f *ast.FuncDecl, parents map[ast.Node]ast.Node, variable *types.Var) bool {
	stay := true
	ast.Inspect(f.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if ok && pass.TypesInfo.Uses[id] == variable {
			if assign, is := parents[id].(*ast.AssignStmt); is && len(assign.Lhs) == 1 && assign.Lhs[0] == ast.Expr(id) {
				return true
			}
			stay = stay && stays(pass, f, parents, id)
		}
		return true
	})
	return stay
}

func within(body *ast.BlockStmt, variable *types.Var) bool {
	return body.Pos() <= variable.Pos() && variable.Pos() < body.End()
}

func parentsOf(root ast.Node) map[ast.Node]ast.Node {
	parents := map[ast.Node]ast.Node{}
	var stack []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if len(stack) > 0 {
			parents[n] = stack[len(stack)-1]
		}
		stack = append(stack, n)
		return true
	})
	return parents
}
