// Package api knows the library that the checks of its own use are about.
package api

import (
	"go/ast"
	"go/types"
	"strings"

	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

// Root is the path of the library.
const Root = "github.com/go-resilience/resilience"

// Is reports whether a call is of one of the functions of a package of the library. The package is "" for the root.
func Is(info *types.Info, call *ast.CallExpr, pkg string, names ...string) bool {
	callee := loop.Callee(info, call)
	if callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != path(pkg) || callee.Signature().Recv() != nil {
		return false
	}
	for _, name := range names {
		if callee.Name() == name {
			return true
		}
	}
	return false
}

func path(pkg string) string {
	if pkg == "" {
		return Root
	}
	return Root + "/" + pkg
}

// IsRun reports whether a call runs an operation: Do, Open and Run of the root, and such methods of pipelines and policies.
func IsRun(info *types.Info, call *ast.CallExpr) bool {
	if Is(info, call, "", "Do", "Open", "Run") {
		return true
	}
	return Receiver(info, call) != nil
}

// Receiver returns the pipeline or policy whose method Do, Open or Run a call calls with an operation, nil for other calls.
func Receiver(info *types.Info, call *ast.CallExpr) ast.Expr {
	selector, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	callee := loop.Callee(info, call)
	if !ok || callee == nil || callee.Pkg() == nil || callee.Signature().Recv() == nil || callee.Signature().Params().Len() != 2 ||
		callee.Pkg().Path() != Root && !strings.HasPrefix(callee.Pkg().Path(), Root+"/") {
		return nil
	}
	if name := callee.Name(); name != "Do" && name != "Open" && name != "Run" {
		return nil
	}
	params := callee.Signature().Params()
	if _, operation := params.At(1).Type().Underlying().(*types.Signature); !operation || !loop.IsContext(params.At(0).Type()) {
		return nil
	}
	return selector.X
}

// Operation returns the function literal that is the last argument of a call, nil if that is something else.
func Operation(call *ast.CallExpr) *ast.FuncLit {
	if len(call.Args) == 0 {
		return nil
	}
	literal, _ := ast.Unparen(call.Args[len(call.Args)-1]).(*ast.FuncLit)
	return literal
}

// IsType reports whether t, or what it points to, is a type of the library.
func IsType(t types.Type, pkg, name string) bool { return loop.IsNamed(t, path(pkg), name) }

// IsVariable reports whether an expression names a variable of the library whose name begins with prefix.
func IsVariable(info *types.Info, e ast.Expr, prefix string) bool {
	var id *ast.Ident
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		id = e
	case *ast.SelectorExpr:
		id = e.Sel
	default:
		return false
	}
	variable, ok := info.Uses[id].(*types.Var)
	return ok && variable.Pkg() != nil && strings.HasPrefix(variable.Pkg().Path(), Root+"/") && strings.HasPrefix(variable.Name(), prefix)
}
