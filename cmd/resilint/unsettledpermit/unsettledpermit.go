// Package unsettledpermit is check RL9d: a permit is not settled on some path.
package unsettledpermit

import (
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/cfg"

	"github.com/go-resilience/resilience/cmd/resilint/internal/api"
	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

var rule = check.Check{ID: "RL9d", Name: "unsettledpermit", Doc: `find permits that are not settled on some path

A permit holds slots of bulkheads and probes of breakers until Done or Settle is called. A forgotten permit costs a slot for
the rest of the process, or keeps a breaker from ever recovering.

A path on which the error of the call was not nil needs no Done. A permit that is passed on must be settled by the receiver.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)}, func(n ast.Node) {
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.FuncDecl:
			body = n.Body
		case *ast.FuncLit:
			body = n.Body
		}
		if body == nil {
			return
		}
		var graph *cfg.CFG
		loop.Walk(body, func(n ast.Node) {
			assign, ok := n.(*ast.AssignStmt)
			if !ok || len(assign.Rhs) != 1 || !givesPermit(pass, assign) {
				return
			}
			if graph == nil {
				graph = cfg.New(body, func(call *ast.CallExpr) bool {
					id, ok := call.Fun.(*ast.Ident)
					return !ok || id.Name != "panic"
				})
			}
			look(pass, graph, assign)
		})
	})
	return nil
}

// givesPermit reports whether an assignment gets a permit from a call, as its last result but one.
func givesPermit(pass *check.Pass, assign *ast.AssignStmt) bool {
	call, ok := ast.Unparen(assign.Rhs[0]).(*ast.CallExpr)
	if !ok || len(assign.Lhs) < 2 {
		return false
	}
	tuple, ok := pass.TypesInfo.TypeOf(call).(*types.Tuple)
	return ok && tuple.Len() == len(assign.Lhs) && api.IsType(tuple.At(tuple.Len()-2).Type(), "policy", "Permit")
}

func look(pass *check.Pass, graph *cfg.CFG, assign *ast.AssignStmt) {
	n := len(assign.Lhs)
	permit, ok := assign.Lhs[n-2].(*ast.Ident)
	if !ok {
		return // a field: settled elsewhere
	}
	message := "nobody settles the permit: its slots and probes are lost for the rest of the process"
	if permit.Name != "_" {
		path := path{pass: pass, permit: pass.TypesInfo.ObjectOf(permit), assign: assign}
		if id, ok := assign.Lhs[n-1].(*ast.Ident); ok {
			path.err = pass.TypesInfo.ObjectOf(id)
		}
		leak := path.leak(graph)
		if leak == nil {
			return
		}
		message = "the permit is not settled on the way to line " + line(pass, leak.Pos()) + ": its slots and probes are lost for the rest of the process"
	}
	pass.Report(analysis.Diagnostic{Pos: permit.Pos(), End: permit.End(), Message: message})
}

func line(pass *check.Pass, pos token.Pos) string {
	n := pass.Fset.Position(pos).Line
	digits := ""
	for ; n > 0; n /= 10 {
		digits = string(rune('0'+n%10)) + digits
	}
	return digits
}

// path looks for ways from an assignment to the end of the function on which the permit is not used.
type path struct {
	pass   *check.Pass
	permit types.Object
	err    types.Object
	assign *ast.AssignStmt
}

// leak returns the return statement at the end of such a way, nil if there is none.
func (p path) leak(graph *cfg.CFG) ast.Node {
	for _, block := range graph.Blocks {
		for i, node := range block.Nodes {
			if node.Pos() <= p.assign.Pos() && p.assign.End() <= node.End() {
				return p.follow(block, i+1, map[*cfg.Block]bool{})
			}
		}
	}
	return nil
}

func (p path) follow(block *cfg.Block, from int, seen map[*cfg.Block]bool) ast.Node {
	for _, node := range block.Nodes[from:] {
		if p.uses(node) {
			return nil
		}
	}
	if len(block.Succs) == 0 {
		if r := block.Return(); r != nil {
			return r
		}
		return nil // a panic
	}
	for i, next := range block.Succs {
		if seen[next] || len(block.Succs) == 2 && p.failed(block, i) {
			continue
		}
		seen[next] = true
		if leak := p.follow(next, 0, seen); leak != nil {
			return leak
		}
	}
	return nil
}

// uses reports whether a node uses the permit for more than a comparison, or gives the variable another value.
func (p path) uses(node ast.Node) (uses bool) {
	ast.Inspect(node, func(n ast.Node) bool {
		if compare, ok := n.(*ast.BinaryExpr); ok && (compare.Op == token.EQL || compare.Op == token.NEQ) {
			return false
		}
		if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Context" { // only asks
			return false
		}
		if id, ok := n.(*ast.Ident); ok && p.pass.TypesInfo.ObjectOf(id) == p.permit {
			uses = true
		}
		return true
	})
	return uses
}

// failed reports whether the way to a successor is the one on which the call has failed, so that there is no permit.
func (p path) failed(block *cfg.Block, successor int) bool {
	if len(block.Nodes) == 0 {
		return false
	}
	condition, ok := block.Nodes[len(block.Nodes)-1].(ast.Expr)
	if !ok {
		return false
	}
	condition = ast.Unparen(condition)
	if not, ok := condition.(*ast.UnaryExpr); ok && not.Op == token.NOT {
		condition, successor = ast.Unparen(not.X), 1-successor
	}
	if call, ok := condition.(*ast.CallExpr); ok { // which error it is, is asked only of one that is not nil
		callee := loop.Callee(p.pass.TypesInfo, call)
		return successor == 0 && p.err != nil && callee != nil && (callee.FullName() == "errors.Is" || callee.FullName() == "errors.As") &&
			loop.ObjectOf(p.pass.TypesInfo, call.Args[0]) == p.err
	}
	compare, ok := ast.Unparen(condition).(*ast.BinaryExpr)
	if !ok || compare.Op != token.EQL && compare.Op != token.NEQ {
		return false
	}
	x, isX := ast.Unparen(compare.X).(*ast.Ident)
	y, isY := ast.Unparen(compare.Y).(*ast.Ident)
	if !isX || !isY || y.Name != "nil" {
		return false
	}
	switch object := p.pass.TypesInfo.ObjectOf(x); {
	case object == nil:
		return false
	case object == p.err:
		return (compare.Op == token.NEQ) == (successor == 0)
	case object == p.permit:
		return (compare.Op == token.EQL) == (successor == 0)
	}
	return false
}
