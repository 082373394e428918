// Package everyerror is check RL4: a retry loop retries every error.
package everyerror

import (
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

var rule = check.Check{ID: "RL4", Name: "everyerror", Doc: `find retry loops that retry every error

A loop that never asks what the error is repeats what cannot succeed: a request that the server refused for good, and calls
whose caller has cancelled the context.

The check ignores loops that a context or a channel can end, and loops that look at an answer besides the error.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, loop.Analyzer)

func run(pass *check.Pass) error {
	for _, l := range pass.ResultOf[loop.Analyzer].([]*loop.Loop) {
		if l.Wait.Aware || l.Retries || !takesContext(pass, l.Call) || l.LooksAtContext(pass.Pass) || asks(pass, l) {
			continue
		}
		pass.Report(analysis.Diagnostic{
			Pos: l.Call.Pos(), End: l.Call.End(),
			Message: "this loop retries every error: also a cancelled context, and what the other side has refused for good",
		})
	}
	return nil
}

func takesContext(pass *check.Pass, call *ast.CallExpr) bool {
	for _, arg := range call.Args {
		if loop.IsContext(pass.TypesInfo.TypeOf(arg)) {
			return true
		}
	}
	return false
}

// asks reports whether the loop does more with the error than to compare it with nil, to keep, print and return it.
func asks(pass *check.Pass, l *loop.Loop) (asks bool) {
	is := func(e ast.Expr) bool { return loop.ObjectOf(pass.TypesInfo, e) == l.Err }
	loop.Walk(l.Stmt, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.TypeAssertExpr:
			asks = asks || is(n.X)
		case *ast.SelectorExpr: // err.Error()
			asks = asks || is(n.X)
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				other, about := n.Y, is(n.X)
				if is(n.Y) {
					other, about = n.X, true
				}
				id, isIdent := ast.Unparen(other).(*ast.Ident)
				asks = asks || about && (!isIdent || id.Name != "nil")
			}
		case *ast.SwitchStmt:
			asks = asks || n.Tag != nil && is(n.Tag)
		case *ast.CallExpr:
			for _, arg := range n.Args {
				asks = asks || is(arg) && decides(pass, n)
			}
		}
	})
	return asks
}

// decides reports whether a call that gets the error answers something about it: a bool, or something that is no error.
func decides(pass *check.Pass, call *ast.CallExpr) bool {
	t := pass.TypesInfo.TypeOf(call)
	if t == nil {
		return false
	}
	if tuple, ok := t.(*types.Tuple); ok && tuple.Len() == 0 {
		return false // a log
	}
	if callee := loop.Callee(pass.TypesInfo, call); callee != nil && callee.Pkg() != nil && callee.Pkg().Path() == "fmt" {
		return false
	}
	return !loop.IsError(t)
}
