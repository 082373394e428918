// Package loop finds retry loops: loops that call something which can fail, look at its error, and wait before they call
// again.
//
// What counts is where control can go. A loop is a retry loop if its body has a test of an error that a call in the loop
// has returned, such that after a failure the wait and then the call can come again, and after a success the loop can
// be left without the wait. So a periodic loop is none, since it goes on after a success; and one that looks again
// until a state is reached, and gives up at an error, is none either.
package loop

import (
	"cmp"
	"go/ast"
	"go/token"
	"go/types"
	"reflect"
	"slices"
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
	Stmt ast.Stmt // an *ast.ForStmt or *ast.RangeStmt; a made-up for without conditions for a loop of goto
	Body *ast.BlockStmt
	Func ast.Node      // the function around it: an *ast.FuncDecl or *ast.FuncLit
	Decl *ast.FuncDecl // the declaration around it; nil in a variable's initializer

	Call *ast.CallExpr // what can fail, and is made again
	Err  types.Object  // the variable with its error; one that nothing names where the call is compared with nil itself
	Wait Wait          // before it is made again

	Retries bool // after a success of the call the loop can go on too: it looks at more than the error
	Again   Wait // where it waits then

	bounded bool // the condition of the loop looks at more than the call, or after a failure another decision can end the loop
	nth     int  // of the retry loops of Decl, from 0
}

// run finds the loops.
func run(pass *analysis.Pass) (any, error) {
	var found []*Loop
	var decl *ast.FuncDecl
	inspector := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector)
	sleeps := sleepers(pass, inspector)
	inspector.Preorder(
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
				f := &function{pass: pass, node: n, decl: decl, body: body, sleeps: sleeps}
				found = append(found, f.loops()...)
			}
		})
	for i, l := range found {
		if i > 0 && l.Decl != nil && found[i-1].Decl == l.Decl {
			l.nth = found[i-1].nth + 1
		}
	}
	return found, nil
}

// function is a function whose loops are looked for, without the functions in it.
type function struct {
	pass  *analysis.Pass
	node  ast.Node
	decl  *ast.FuncDecl
	body  *ast.BlockStmt
	graph *cfg.CFG

	sleeps  map[*types.Func]bool              // the functions of the package that sleep whenever they are called
	tags    map[ast.Expr]ast.Expr             // by an expression of a case: what its switch compares it with
	labels  map[*ast.ForStmt]*ast.LabeledStmt // by a loop of goto: where it begins
	names   map[ast.Stmt]string               // of the labels of loops
	unnamed map[*ast.CallExpr]types.Object    // the errors of calls that are compared with nil themselves
}

// loops returns the retry loops of f.
func (f *function) loops() (found []*Loop) {
	if !f.hasWait() {
		return nil
	}
	var loops []ast.Stmt
	f.tags, f.names, f.labels = map[ast.Expr]ast.Expr{}, map[ast.Stmt]string{}, map[*ast.ForStmt]*ast.LabeledStmt{}
	Walk(f.body, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			loops = append(loops, n.(ast.Stmt))
		case *ast.SwitchStmt:
			f.readTags(n)
		case *ast.LabeledStmt:
			f.names[n.Stmt] = n.Label.Name
		}
		for i, stmt := range Statements(n) {
			if label, ok := stmt.(*ast.LabeledStmt); ok {
				if loop := loopOfGoto(label, Statements(n)[i:]); loop != nil {
					f.labels[loop] = label
					loops = append(loops, loop)
				}
			}
		}
	})
	slices.SortStableFunc(loops, func(a, b ast.Stmt) int { return cmp.Compare(a.Pos(), b.Pos()) })
	for _, stmt := range loops {
		if l := f.look(stmt, bodyOf(stmt)); l != nil {
			// The wait is that of the innermost loop around it; loops of goto lie in one another too.
			found = slices.DeleteFunc(found, func(outer *Loop) bool { return outer.Wait.Node == l.Wait.Node })
			found = append(found, l)
		}
	}
	return found
}

// hasWait reports whether a function waits at all. Most do not, and it is slow to look at the loops of goto of generated ones.
func (f *function) hasWait() (has bool) {
	Walk(f.body, func(n ast.Node) {
		if !has {
			_, has = f.wait(n)
		}
	})
	return has
}

func bodyOf(loop ast.Stmt) *ast.BlockStmt {
	if r, ok := loop.(*ast.RangeStmt); ok {
		return r.Body
	}
	return loop.(*ast.ForStmt).Body
}

// readTags notes what the cases of a switch are compared with.
func (f *function) readTags(s *ast.SwitchStmt) {
	if s.Tag == nil {
		return
	}
	for _, clause := range s.Body.List {
		for _, e := range clause.(*ast.CaseClause).List {
			f.tags[e] = s.Tag
		}
	}
}

// Statements returns the list of statements that n holds, if it is a node that holds one.
func Statements(n ast.Node) []ast.Stmt {
	switch n := n.(type) {
	case *ast.BlockStmt:
		return n.List
	case *ast.CaseClause:
		return n.Body
	case *ast.CommClause:
		return n.Body
	}
	return nil
}

// loopOfGoto returns the loop that goes from a label to the last statement of a list in which control is sent back to it, nil
// if none does. The label is the first of the list.
func loopOfGoto(label *ast.LabeledStmt, list []ast.Stmt) *ast.ForStmt {
	last := -1
	for i, stmt := range list {
		Walk(stmt, func(n ast.Node) {
			if jump, ok := n.(*ast.BranchStmt); ok && jump.Tok == token.GOTO && jump.Label.Name == label.Label.Name {
				last = i
			}
		})
	}
	if last < 0 {
		return nil
	}
	body := append([]ast.Stmt{label.Stmt}, list[1:last+1]...)
	return &ast.ForStmt{For: label.Pos(), Body: &ast.BlockStmt{Lbrace: label.Colon, List: body, Rbrace: list[last].End() - 1}}
}

// look returns stmt as a retry loop, nil if it is none.
func (f *function) look(stmt ast.Stmt, body *ast.BlockStmt) *Loop {
	var waits []Wait
	calls := map[types.Object][]*ast.CallExpr{}
	own(stmt, body, f.names[stmt], func(n ast.Node) {
		if w, ok := f.wait(n); ok {
			waits = append(waits, w)
		}
		if err, call := f.assigned(n); err != nil {
			calls[err] = append(calls[err], call)
		}
		if err, call := f.compared(n); err != nil {
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
		condition, ok := f.condition(block)
		if !ok {
			continue // of a select
		}
		for err, calls := range calls {
			t, ok := f.test(condition, err, block)
			if !ok {
				continue
			}
			call := latest(calls, condition.Pos())
			if f.perItem(stmt, call) {
				continue
			}
			for _, w := range waits {
				v := view{graph: f.graph, loop: stmt, label: f.label(stmt), call: call, wait: w, condition: f.setsCondition(stmt, body, err)}
				if !v.decides(t) || !v.comesAgain(t.failed) || !v.leaves(t.succeeded) {
					continue
				}
				l := &Loop{Stmt: stmt, Body: body, Func: f.node, Decl: f.decl, Call: call, Err: err, Wait: w, Again: w, Retries: t.mixed}
				l.bounded = f.limits(stmt, err, call) || v.escapes(t.failed, f.condition, func(e ast.Expr) bool { return f.aboutCall(e, err, call) })
				for _, v.wait = range waits {
					if !l.Retries && v.comesAgain(t.succeeded) {
						l.Retries, l.Again = true, v.wait
					}
				}
				return l
			}
		}
	}
	return nil
}

// condition returns what decides where control goes after a block. A case of a switch is the comparison that it stands for.
func (f *function) condition(b *cfg.Block) (ast.Expr, bool) {
	e, ok := b.Nodes[len(b.Nodes)-1].(ast.Expr)
	if tag := f.tags[e]; ok && tag != nil {
		return &ast.BinaryExpr{X: tag, OpPos: e.Pos(), Op: token.EQL, Y: e}, true
	}
	return e, ok
}

// label returns the label at the beginning of a loop of goto, nil for other loops.
func (f *function) label(loop ast.Stmt) *ast.LabeledStmt {
	s, _ := loop.(*ast.ForStmt)
	return f.labels[s]
}

// assigned returns the variable or field that gets the error of a call, if n is such an assignment.
func (f *function) assigned(n ast.Node) (types.Object, *ast.CallExpr) {
	assign, ok := n.(*ast.AssignStmt)
	if !ok || len(assign.Rhs) != 1 {
		return nil, nil
	}
	call, ok := ast.Unparen(assign.Rhs[0]).(*ast.CallExpr)
	if !ok || len(assign.Lhs) == 0 || !f.mayFail(call) {
		return nil, nil
	}
	object := ObjectOf(f.pass.TypesInfo, assign.Lhs[len(assign.Lhs)-1])
	if object == nil || !IsError(object.Type()) {
		return nil, nil
	}
	return object, call
}

// compared returns the error of a call that n compares with nil without giving it a name.
func (f *function) compared(n ast.Node) (types.Object, *ast.CallExpr) {
	compare, ok := n.(*ast.BinaryExpr)
	if !ok || compare.Op != token.EQL && compare.Op != token.NEQ {
		return nil, nil
	}
	side := compare.X
	if isNil(side) {
		side = compare.Y
	} else if !isNil(compare.Y) {
		return nil, nil
	}
	call, ok := ast.Unparen(side).(*ast.CallExpr)
	if !ok || !f.mayFail(call) {
		return nil, nil
	}
	if result := f.pass.TypesInfo.TypeOf(call); result == nil || !IsError(result) {
		return nil, nil
	}
	if f.unnamed == nil {
		f.unnamed = map[*ast.CallExpr]types.Object{}
	}
	if f.unnamed[call] == nil {
		f.unnamed[call] = types.NewVar(call.Pos(), f.pass.Pkg, "", f.pass.TypesInfo.TypeOf(call))
	}
	return f.unnamed[call], call
}

// mayFail reports whether a call is one that can be made again when it has failed. Calls that wait for clients, as those of an
// accept loop, calls that only wait, and calls that read on in a stream are none.
func (f *function) mayFail(call *ast.CallExpr) bool {
	if _, waits := f.helper(call); waits || strings.HasPrefix(CalleeName(call), "Accept") {
		return false
	}
	return !makesError(f.pass.TypesInfo, call) && !reads(f.pass.TypesInfo, call)
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

// reads reports whether a call only reads on in a stream, takes apart what is there, or looks whether a file is.
func reads(info *types.Info, call *ast.CallExpr) bool {
	callee := Callee(info, call)
	if callee == nil || callee.Pkg() == nil {
		return false
	}
	path := callee.Pkg().Path()
	if path == "os" {
		return callee.Name() == "Stat" || callee.Name() == "Lstat"
	}
	if path == "net" {
		return strings.HasPrefix(callee.Name(), "Read")
	}
	return path == "bufio" || path == "io" || strings.HasPrefix(path, "encoding/")
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
	if ok {
		return t, true
	}
	about, is := f.question(condition, err)
	if about == nil {
		return t, false
	}
	t.failed, t.succeeded = block.Succs[0], block.Succs[1]
	if is == negated(condition, about) {
		t.failed, t.succeeded = t.succeeded, t.failed
	}
	return t, true
}

// question returns the part of a condition that asks which error err is, as errors.Is(err, x), isBusy(err), err == x, err != x
// and the ok of a type assertion do, and whether the error is the one when that is true. It is nil if there is none.
func (f *function) question(condition ast.Expr, err types.Object) (about ast.Expr, is bool) {
	ast.Inspect(condition, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && (f.is(n.X, err) || f.is(n.Y, err)) {
				about, is = n, n.Op == token.EQL
			}
		case *ast.CallExpr:
			asks := false
			for _, arg := range n.Args {
				asks = asks || f.is(arg, err)
			}
			if selector, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr); ok { // err.Timeout()
				asks = asks || f.is(selector.X, err)
			}
			if asks && isBool(f.pass.TypesInfo.TypeOf(n)) {
				about, is = n, true
			}
		case *ast.Ident:
			if f.answers(n, err) {
				about, is = n, true
			}
		}
		return about == nil
	})
	return about, is
}

// answers reports whether a condition is a variable with the answer to a question about err, such as the ok of
// _, ok := err.(net.Error).
func (f *function) answers(id *ast.Ident, err types.Object) (does bool) {
	variable, ok := f.pass.TypesInfo.Uses[id].(*types.Var)
	if !ok || !isBool(variable.Type()) {
		return false
	}
	Walk(f.body, func(n ast.Node) {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 || ObjectOf(f.pass.TypesInfo, assign.Lhs[len(assign.Lhs)-1]) != types.Object(variable) {
			return
		}
		switch right := ast.Unparen(assign.Rhs[0]).(type) {
		case *ast.TypeAssertExpr:
			does = does || f.is(right.X, err)
		case *ast.CallExpr:
			for _, arg := range right.Args {
				does = does || f.is(arg, err)
			}
		}
	})
	return does
}

func isBool(t types.Type) bool {
	if t == nil {
		return false
	}
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsBoolean != 0
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

// perItem reports whether a loop makes a call for each item of a list or channel, instead of the same call again. What the body
// makes of an item counts as the item. One that is taken by turns, as in list[i%n], is none; nor is a duration.
func (f *function) perItem(loop ast.Stmt, call *ast.CallExpr) bool {
	items := map[types.Object]bool{} // the items, and what is made of them
	counters := map[types.Object]bool{}
	add := func(e ast.Expr, set map[types.Object]bool) {
		if object := ObjectOf(f.pass.TypesInfo, e); object != nil && !IsNamed(object.Type(), "time", "Duration") && !IsError(object.Type()) {
			set[object] = true
		}
	}
	switch loop := loop.(type) {
	case *ast.RangeStmt:
		ranged := f.pass.TypesInfo.TypeOf(loop.X)
		if _, channel := ranged.Underlying().(*types.Chan); channel {
			return true
		}
		set := items
		if isInteger(ranged) {
			set = counters
		}
		for _, e := range []ast.Expr{loop.Key, loop.Value} {
			if e != nil {
				add(e, set)
			}
		}
	case *ast.ForStmt:
		switch step := loop.Post.(type) {
		case *ast.IncDecStmt:
			add(step.X, counters)
		case *ast.AssignStmt:
			add(step.Lhs[0], counters)
		}
	}
	mentions := func(n ast.Node) (does bool) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				does = does || items[f.pass.TypesInfo.ObjectOf(n)]
			case *ast.IndexExpr:
				id, ok := ast.Unparen(n.Index).(*ast.Ident)
				does = does || ok && counters[f.pass.TypesInfo.ObjectOf(id)]
			}
			return !does
		})
		return does
	}
	Walk(bodyOf(loop), func(n ast.Node) {
		if assign, ok := n.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE && assign.End() <= call.Pos() && len(assign.Rhs) == 1 && mentions(assign.Rhs[0]) {
			for _, left := range assign.Lhs {
				add(left, items)
			}
		}
	})
	return mentions(call)
}

func isInteger(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsInteger != 0
}

// limits reports whether a loop has a condition that looks at more than the call.
func (f *function) limits(loop ast.Stmt, err types.Object, call *ast.CallExpr) bool {
	if r, ok := loop.(*ast.ForStmt); ok {
		return r.Cond != nil && !isTrue(r.Cond) && !f.aboutCall(r.Cond, err, call)
	}
	return true // a range; that of a channel is no retry loop
}

// setsCondition reports whether the condition of a loop looks at the error, or at a variable or field that the body sets.
func (f *function) setsCondition(loop ast.Stmt, body *ast.BlockStmt, err types.Object) (sets bool) {
	s, ok := loop.(*ast.ForStmt)
	if !ok || s.Cond == nil {
		return false
	}
	set := map[types.Object]bool{err: true}
	add := func(e ast.Expr) { set[ObjectOf(f.pass.TypesInfo, e)] = true }
	Walk(body, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				add(left)
			}
		case *ast.IncDecStmt:
			add(n.X)
		}
	})
	ast.Inspect(s.Cond, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			sets = sets || set[f.pass.TypesInfo.ObjectOf(n)]
		case *ast.CallExpr:
			sets = sets || f.is(n, err)
		}
		return true
	})
	return sets
}

func isTrue(e ast.Expr) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	return ok && id.Name == "true"
}

// aboutCall reports whether a condition looks at nothing but what a call has returned: at its error, at other errors, and at
// its other results.
func (f *function) aboutCall(condition ast.Expr, err types.Object, call *ast.CallExpr) bool {
	results := map[types.Object]bool{err: true}
	Walk(f.body, func(n ast.Node) {
		if assign, ok := n.(*ast.AssignStmt); ok && len(assign.Rhs) == 1 && ast.Unparen(assign.Rhs[0]) == ast.Expr(call) {
			for _, left := range assign.Lhs {
				if id, ok := left.(*ast.Ident); ok {
					results[f.pass.TypesInfo.ObjectOf(id)] = true
				}
			}
		}
	})
	other := false
	ast.Inspect(condition, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			return !f.is(n, err)
		case *ast.SelectorExpr: // a field of a result is the result's
			if f.is(n, err) {
				return false
			}
			ast.Inspect(n.X, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				other = other || ok && f.isOther(id, results)
				return true
			})
			return false
		case *ast.Ident:
			other = other || f.isOther(n, results)
		}
		return true
	})
	return !other
}

// isOther reports whether an identifier names a variable that is neither one of results nor an error.
func (f *function) isOther(id *ast.Ident, results map[types.Object]bool) bool {
	variable, ok := f.pass.TypesInfo.ObjectOf(id).(*types.Var)
	return ok && !results[variable] && !types.Implements(variable.Type(), errorType) && !f.isAnswer(id, results)
}

// isAnswer reports whether a variable holds the answer to a question about one of several errors.
func (f *function) isAnswer(id *ast.Ident, results map[types.Object]bool) bool {
	for result := range results {
		if f.answers(id, result) {
			return true
		}
	}
	return false
}

var errorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

func (f *function) is(e ast.Expr, object types.Object) bool {
	if call, ok := ast.Unparen(e).(*ast.CallExpr); ok {
		return object != nil && f.unnamed[call] == object
	}
	return object != nil && ObjectOf(f.pass.TypesInfo, e) == object
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
	label *ast.LabeledStmt // of a loop of goto
	call  *ast.CallExpr
	wait  Wait

	condition bool // that of the loop looks at something that its body sets
}

// comesAgain reports whether from block on the wait and then the call can come again, without another call before the wait.
func (v view) comesAgain(block *cfg.Block) bool {
	return v.reach(block, v.waits, v.calls) && v.waitIsFollowedByCall()
}

// decides reports whether a failure comes to the wait by another way than a success, which both may go on together.
func (v view) decides(t test) bool {
	return !within(t.succeeded, v.loop) ||
		v.reach(t.failed, v.waits, func(b *cfg.Block) bool { return b == t.succeeded || v.calls(b) })
}

func (v view) waitIsFollowedByCall() bool {
	for _, block := range v.graph.Blocks {
		if v.waits(block) && block.Live && v.reach(block, v.calls, nil) {
			return true
		}
	}
	return false
}

// leaves reports whether from block on the loop can be left without the wait and without another call, and in the same pass.
// The condition of the loop counts where it looks at what the body has set.
func (v view) leaves(block *cfg.Block) bool {
	return v.reach(block, func(b *cfg.Block) bool { return !within(b, v.loop) || ends(b) },
		func(b *cfg.Block) bool { return v.waits(b) || v.calls(b) || v.isNextPass(b) })
}

// ends reports whether control leaves the function after b. Behind the last case of a select nothing follows either, but
// control does not come there.
func ends(b *cfg.Block) bool { return len(b.Succs) == 0 && b.Kind != cfg.KindSelectAfterCase }

// isNextPass reports whether at b another pass begins, or would.
func (v view) isNextPass(b *cfg.Block) bool {
	if v.label != nil {
		return b.Kind == cfg.KindLabel && b.Stmt == v.label
	}
	if b.Stmt != v.loop {
		return false
	}
	switch b.Kind {
	case cfg.KindForBody, cfg.KindRangeBody, cfg.KindRangeLoop:
		return true
	case cfg.KindForLoop:
		return !v.condition
	}
	return false
}

// escapes reports whether, after a failure, a decision that is not about the call leads out of the loop: a counter, the time, a
// flag.
func (v view) escapes(failed *cfg.Block, conditionOf func(*cfg.Block) (ast.Expr, bool), aboutCall func(ast.Expr) bool) bool {
	return v.reach(failed, func(b *cfg.Block) bool {
		if !within(b, v.loop) || len(b.Succs) != 2 || len(b.Nodes) == 0 {
			return false
		}
		condition, ok := conditionOf(b)
		return ok && !aboutCall(condition) && v.leadsOut(b.Succs[0]) != v.leadsOut(b.Succs[1])
	}, v.calls)
}

// leadsOut reports whether from block on control leaves the loop, whatever else is decided, before it waits or calls.
func (v view) leadsOut(b *cfg.Block) bool {
	return !v.reach(b, func(b *cfg.Block) bool { return within(b, v.loop) && (v.waits(b) || v.calls(b)) }, nil)
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

// own calls visit for what is in a loop, but not for what is in loops in it, save those that send control back to its label.
func own(loop ast.Stmt, body *ast.BlockStmt, label string, visit func(ast.Node)) {
	inner := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return true
		case *ast.ForStmt, *ast.RangeStmt:
			return !continues(n, label)
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

// continues reports whether a statement sends control to the next pass of the loop with a label.
func continues(stmt ast.Node, label string) (does bool) {
	Walk(stmt, func(n ast.Node) {
		jump, ok := n.(*ast.BranchStmt)
		does = does || ok && jump.Tok == token.CONTINUE && jump.Label != nil && jump.Label.Name == label
	})
	return does
}

// ObjectOf returns the variable or field that an expression names, nil if it is something else.
func ObjectOf(info *types.Info, e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return info.ObjectOf(e)
	case *ast.SelectorExpr:
		return info.ObjectOf(e.Sel)
	}
	return nil
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
