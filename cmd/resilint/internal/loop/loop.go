// Package loop finds retry loops: loops that call something which can fail, look at its error, and wait before they call
// again.
//
// What counts is where control can go. A loop is a retry loop if its body has a test of an error that a call in the loop
// has returned, such that after a failure the wait and then the call can come again, and after a success the loop can
// be left without the wait. So a periodic loop is none, since it goes on after a success; and one that looks again
// until a state is reached, and gives up at an error, is none either.
package loop

import (
	"go/ast"
	"go/token"
	"go/types"
	"reflect"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/cfg"
)

// Analyzer finds the retry loops of a package. Its result is a []*Loop in the order of the source.
var Analyzer = &analysis.Analyzer{
	Name:       "retryloops",
	Doc:        "find retry loops, for other checks",
	Run:        run,
	Requires:   []*analysis.Analyzer{inspect.Analyzer},
	ResultType: reflect.TypeFor[[]*Loop](),
}

// Loop is a retry loop.
type Loop struct {
	Stmt ast.Stmt // an *ast.ForStmt or *ast.RangeStmt
	Body *ast.BlockStmt
	Func ast.Node      // the function around it: an *ast.FuncDecl or *ast.FuncLit
	Decl *ast.FuncDecl // the declaration around it; nil in a variable's initializer

	Call *ast.CallExpr // what can fail, and is made again
	Err  types.Object  // the variable with its error
	Wait Wait          // before it is made again

	Retries bool // after a success of the call the loop can go on too: it looks at more than the error
}

// run finds the loops.
func run(pass *analysis.Pass) (any, error) {
	var found []*Loop
	var decl *ast.FuncDecl
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder(
		[]ast.Node{(*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)}, func(n ast.Node) {
			var body *ast.BlockStmt
			switch n := n.(type) {
			case *ast.FuncDecl:
				decl, body = n, n.Body
			case *ast.FuncLit:
				body = n.Body
				if decl != nil && n.Pos() > decl.End() {
					decl = nil
				}
			}
			if body != nil {
				f := &function{pass: pass, node: n, decl: decl, body: body}
				found = append(found, f.loops()...)
			}
		})
	return found, nil
}

// function is a function whose loops are looked for, without the functions in it.
type function struct {
	pass  *analysis.Pass
	node  ast.Node
	decl  *ast.FuncDecl
	body  *ast.BlockStmt
	graph *cfg.CFG
}

// loops returns the retry loops of f.
func (f *function) loops() (found []*Loop) {
	bodies := map[ast.Stmt]*ast.BlockStmt{}
	Walk(f.body, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.ForStmt:
			bodies[n] = n.Body
		case *ast.RangeStmt:
			bodies[n] = n.Body
		}
	})
	if len(bodies) == 0 {
		return nil
	}
	Walk(f.body, func(n ast.Node) {
		stmt, ok := n.(ast.Stmt)
		if body := bodies[stmt]; ok && body != nil {
			if l := f.look(stmt, body); l != nil {
				found = append(found, l)
			}
		}
	})
	return found
}

// look returns stmt as a retry loop, nil if it is none.
func (f *function) look(stmt ast.Stmt, body *ast.BlockStmt) *Loop {
	var waits []Wait
	calls := map[types.Object][]*ast.CallExpr{}
	own(stmt, body, func(n ast.Node) {
		if w, ok := f.wait(n); ok {
			waits = append(waits, w)
		}
		if err, call := f.assigned(n); err != nil {
			calls[err] = append(calls[err], call)
		}
	})
	if len(waits) == 0 || len(calls) == 0 {
		return nil
	}
	if f.graph == nil {
		f.graph = cfg.New(f.body, f.mayReturn)
	}
	for _, block := range f.graph.Blocks {
		if len(block.Succs) != 2 || len(block.Nodes) == 0 || !within(block, stmt) {
			continue
		}
		condition, ok := block.Nodes[len(block.Nodes)-1].(ast.Expr)
		if !ok {
			continue // of a select
		}
		for err, calls := range calls {
			t, ok := f.test(condition, err, block)
			if !ok {
				continue
			}
			call := latest(calls, condition.Pos())
			for _, w := range waits {
				v := view{graph: f.graph, loop: stmt, call: call, wait: w}
				if v.comesAgain(t.failed) && v.leaves(t.succeeded) {
					return &Loop{
						Stmt: stmt, Body: body, Func: f.node, Decl: f.decl, Call: call, Err: err, Wait: w,
						Retries: t.mixed || v.comesAgain(t.succeeded),
					}
				}
			}
		}
	}
	return nil
}

// assigned returns the variable that gets the error of a call, if n is such an assignment. Calls that wait for clients, as
// those of an accept loop, and calls that only wait, are none that are made again.
func (f *function) assigned(n ast.Node) (types.Object, *ast.CallExpr) {
	assign, ok := n.(*ast.AssignStmt)
	if !ok || len(assign.Rhs) != 1 {
		return nil, nil
	}
	call, ok := ast.Unparen(assign.Rhs[0]).(*ast.CallExpr)
	if !ok || len(assign.Lhs) == 0 || strings.HasPrefix(CalleeName(call), "Accept") {
		return nil, nil
	}
	if _, waits := f.helper(call); waits {
		return nil, nil
	}
	if makesError(f.pass.TypesInfo, call) {
		return nil, nil
	}
	last, ok := assign.Lhs[len(assign.Lhs)-1].(*ast.Ident)
	if !ok || last.Name == "_" {
		return nil, nil
	}
	object := f.pass.TypesInfo.ObjectOf(last)
	if object == nil || !IsError(object.Type()) {
		return nil, nil
	}
	return object, call
}

// makesError reports whether a call only makes or wraps an error, as fmt.Errorf does, or asks a context for its own.
func makesError(info *types.Info, call *ast.CallExpr) bool {
	callee := Callee(info, call)
	if callee == nil || callee.Pkg() == nil {
		return false
	}
	switch callee.Pkg().Path() {
	case "errors", "fmt", "context":
		return true
	}
	for _, arg := range call.Args { // a function that gets an error makes it another one
		if t := info.TypeOf(arg); t != nil && IsError(t) {
			return true
		}
	}
	return false
}

// latest returns the last of several calls before pos; the last of all when that is the condition of the loop.
func latest(calls []*ast.CallExpr, pos token.Pos) *ast.CallExpr {
	for i := len(calls) - 1; i >= 0; i-- {
		if calls[i].Pos() < pos {
			return calls[i]
		}
	}
	return calls[len(calls)-1]
}

// test is a condition that looks at an error, and where control goes.
type test struct {
	failed, succeeded *cfg.Block
	mixed             bool // after a success control can go the way of a failure too: the condition looks at more
}

// test returns a condition as one that looks at err, false if it does not.
func (f *function) test(condition ast.Expr, err types.Object, block *cfg.Block) (t test, ok bool) {
	ast.Inspect(condition, func(n ast.Node) bool {
		compare, is := n.(*ast.BinaryExpr)
		if !is || ok || compare.Op != token.EQL && compare.Op != token.NEQ {
			return !ok
		}
		if f.is(compare.X, err) && isNil(compare.Y) || f.is(compare.Y, err) && isNil(compare.X) {
			ok = true
			isNil := compare.Op == token.EQL != negated(condition, compare)
			t.failed, t.succeeded = block.Succs[0], block.Succs[1]
			if isNil {
				t.failed, t.succeeded = t.succeeded, t.failed
			}
			if whole, compound := ast.Unparen(condition).(*ast.BinaryExpr); compound {
				t.mixed = isNil && whole.Op == token.LAND || !isNil && whole.Op == token.LOR
			}
		}
		return !ok
	})
	return t, ok
}

// negated reports whether part stands under an odd number of negations in whole.
func negated(whole ast.Expr, part ast.Node) bool {
	odd := false
	ast.Inspect(whole, func(n ast.Node) bool {
		if not, ok := n.(*ast.UnaryExpr); ok && not.Op == token.NOT && not.Pos() <= part.Pos() && part.End() <= not.End() {
			odd = !odd
		}
		return true
	})
	return odd
}

func (f *function) is(e ast.Expr, object types.Object) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	return ok && f.pass.TypesInfo.ObjectOf(id) == object
}

func isNil(e ast.Expr) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	return ok && id.Name == "nil"
}

// mayReturn is false for calls after which control does not go on.
func (f *function) mayReturn(call *ast.CallExpr) bool {
	if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
		return false
	}
	callee := Callee(f.pass.TypesInfo, call)
	if callee == nil || callee.Pkg() == nil {
		return true
	}
	switch callee.Pkg().Path() + "." + callee.Name() {
	case "os.Exit", "runtime.Goexit":
		return false
	}
	return callee.Pkg().Path() != "log" || !strings.HasPrefix(callee.Name(), "Fatal") && !strings.HasPrefix(callee.Name(), "Panic")
}

// view is the control flow of a loop as seen from one call and one wait in it.
type view struct {
	graph *cfg.CFG
	loop  ast.Stmt
	call  *ast.CallExpr
	wait  Wait
}

// comesAgain reports whether from block on the wait and then the call can come again, without another call before the wait.
func (v view) comesAgain(block *cfg.Block) bool {
	return v.reach(block, v.waits, v.calls) && v.waitIsFollowedByCall()
}

func (v view) waitIsFollowedByCall() bool {
	for _, block := range v.graph.Blocks {
		if v.waits(block) && block.Live && v.reach(block, v.calls, nil) {
			return true
		}
	}
	return false
}

// leaves reports whether from block on the loop can be left without the wait and without another call.
func (v view) leaves(block *cfg.Block) bool {
	return v.reach(block, func(b *cfg.Block) bool { return !within(b, v.loop) || len(b.Succs) == 0 },
		func(b *cfg.Block) bool { return v.waits(b) || v.calls(b) })
}

// reach reports whether a block for which found is true can be reached from block inside the loop, or is block itself,
// without passing one for which barred is true.
func (v view) reach(from *cfg.Block, found, barred func(*cfg.Block) bool) bool {
	seen := map[*cfg.Block]bool{}
	var visit func(*cfg.Block) bool
	visit = func(b *cfg.Block) bool {
		if seen[b] {
			return false
		}
		seen[b] = true
		if found(b) {
			return true
		}
		if !within(b, v.loop) || barred != nil && barred(b) {
			return false
		}
		for _, next := range b.Succs {
			if visit(next) {
				return true
			}
		}
		return false
	}
	return visit(from)
}

func (v view) waits(b *cfg.Block) bool { return holds(b, v.wait.Node) }
func (v view) calls(b *cfg.Block) bool { return holds(b, v.call) }

// holds reports whether a node of b is in n or around it.
func holds(b *cfg.Block, n ast.Node) bool {
	for _, node := range b.Nodes {
		if node.Pos() <= n.Pos() && n.End() <= node.End() || n.Pos() <= node.Pos() && node.End() <= n.End() {
			return true
		}
	}
	return false
}

// within reports whether b is part of the loop.
func within(b *cfg.Block, loop ast.Stmt) bool {
	if (b.Kind == cfg.KindForDone || b.Kind == cfg.KindRangeDone) && b.Stmt == loop {
		return false
	}
	var at ast.Node
	switch {
	case len(b.Nodes) > 0:
		at = b.Nodes[0]
	case b.Stmt != nil:
		at = b.Stmt
	default:
		return false
	}
	return loop.Pos() <= at.Pos() && at.Pos() < loop.End()
}

// Walk calls visit for n and what is in it, but not for what is in function literals.
func Walk(n ast.Node, visit func(ast.Node)) {
	ast.Inspect(n, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		visit(n)
		return true
	})
}

// own calls visit for what is in a loop, but not for what is in loops in it.
func own(loop ast.Stmt, body *ast.BlockStmt, visit func(ast.Node)) {
	inner := func(n ast.Node) bool {
		switch n.(type) {
		case *ast.FuncLit:
			return true
		case *ast.ForStmt, *ast.RangeStmt:
			return true
		}
		return false
	}
	inspect := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if n == nil || inner(n) {
				return false
			}
			visit(n)
			return true
		})
	}
	if f, ok := loop.(*ast.ForStmt); ok {
		for _, part := range []ast.Node{f.Cond, f.Post} {
			if part != nil && !reflect.ValueOf(part).IsNil() {
				inspect(part)
			}
		}
	}
	for _, stmt := range body.List {
		inspect(stmt)
	}
}

// Callee returns the function that a call names, nil if it calls a value.
func Callee(info *types.Info, call *ast.CallExpr) *types.Func {
	fun := ast.Unparen(call.Fun)
	switch index := fun.(type) {
	case *ast.IndexExpr:
		fun = index.X
	case *ast.IndexListExpr:
		fun = index.X
	}
	switch fun := fun.(type) {
	case *ast.Ident:
		f, _ := info.Uses[fun].(*types.Func)
		return f
	case *ast.SelectorExpr:
		f, _ := info.Uses[fun.Sel].(*types.Func)
		return f
	}
	return nil
}

// CalleeName returns the name of what a call calls, without a package or receiver.
func CalleeName(call *ast.CallExpr) string {
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		return fun.Sel.Name
	}
	return ""
}

// IsError reports whether t is the type error.
func IsError(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }

// IsContext reports whether t is context.Context.
func IsContext(t types.Type) bool { return IsNamed(t, "context", "Context") }

// IsNamed reports whether t, or what it points to, is the type name of package path.
func IsNamed(t types.Type, path, name string) bool {
	if t == nil {
		return false
	}
	if pointer, ok := types.Unalias(t).(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok {
		return false
	}
	object := named.Origin().Obj()
	return object.Pkg() != nil && object.Pkg().Path() == path && object.Name() == name
}
