package loop

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/inspector"
)

// Wait is how a loop waits.
type Wait struct {
	Node     ast.Node      // the statement or expression
	Sleep    *ast.CallExpr // of time.Sleep; nil for other waits
	Duration ast.Expr      // nil if it is not known
	Aware    bool          // something else can end it: another case of a select, a context
}

// wait returns n as a wait.
func (f *function) wait(n ast.Node) (Wait, bool) {
	switch n := n.(type) {
	case *ast.SelectStmt:
		return f.selects(n)
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			if duration, ok := f.timer(n.X); ok && !f.inSelect(n) {
				return Wait{Node: n, Duration: duration}, true
			}
		}
	case *ast.CallExpr:
		return f.helper(n)
	}
	return Wait{}, false
}

// selects returns a select with the case of a timer as a wait.
func (f *function) selects(s *ast.SelectStmt) (w Wait, ok bool) {
	for _, clause := range s.Body.List {
		comm := clause.(*ast.CommClause).Comm
		if comm == nil {
			return Wait{}, false // a select with a default does not wait
		}
		received := receives(comm)
		if received == nil {
			continue
		}
		if duration, is := f.timer(received.X); is {
			w, ok = Wait{Node: s, Duration: duration, Aware: len(s.Body.List) > 1}, true
		}
	}
	return w, ok
}

// inSelect reports whether a receive is that of a case of a select, which is a wait as a whole.
func (f *function) inSelect(receive *ast.UnaryExpr) (is bool) {
	Walk(f.body, func(n ast.Node) {
		if clause, ok := n.(*ast.CommClause); ok && clause.Comm != nil && receives(clause.Comm) == receive {
			is = true
		}
	})
	return is
}

// receives returns the receive of a statement that is nothing else.
func receives(stmt ast.Stmt) *ast.UnaryExpr {
	var e ast.Expr
	switch s := stmt.(type) {
	case *ast.ExprStmt:
		e = s.X
	case *ast.AssignStmt:
		e = s.Rhs[0]
	}
	if receive, ok := ast.Unparen(e).(*ast.UnaryExpr); ok && receive.Op == token.ARROW {
		return receive
	}
	return nil
}

// timer reports whether a channel is one that delivers after a duration: time.After(d), or the channel of a timer. That of
// a ticker is none.
func (f *function) timer(channel ast.Expr) (duration ast.Expr, ok bool) {
	switch channel := ast.Unparen(channel).(type) {
	case *ast.CallExpr: // also of a clock that can be replaced
		if CalleeName(channel) == "After" && len(channel.Args) == 1 && f.isDuration(channel.Args[0]) {
			return channel.Args[0], true
		}
		if selector, is := channel.Fun.(*ast.SelectorExpr); is && selector.Sel.Name == "C" {
			return nil, strings.Contains(f.typeName(selector.X), "Timer")
		}
	case *ast.SelectorExpr:
		if channel.Sel.Name == "C" && IsNamed(f.pass.TypesInfo.TypeOf(channel.X), "time", "Timer") {
			return f.setTo(channel.X), true
		}
	}
	return nil, false
}

// setTo returns what a timer was last set to in the function, nil if that is not known.
func (f *function) setTo(timer ast.Expr) (duration ast.Expr) {
	name := types.ExprString(timer)
	Walk(f.body, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			selector, ok := n.Fun.(*ast.SelectorExpr)
			if ok && selector.Sel.Name == "Reset" && len(n.Args) == 1 && types.ExprString(selector.X) == name {
				duration = n.Args[0]
			}
		case *ast.AssignStmt:
			if len(n.Lhs) == 1 && len(n.Rhs) == 1 && types.ExprString(n.Lhs[0]) == name {
				if call, ok := n.Rhs[0].(*ast.CallExpr); ok && CalleeName(call) == "NewTimer" && len(call.Args) == 1 {
					duration = call.Args[0]
				}
			}
		}
	})
	return duration
}

// helper returns a call of time.Sleep, or of a function that does the same or whose name says so, as a wait.
func (f *function) helper(call *ast.CallExpr) (Wait, bool) {
	w := Wait{Node: call}
	if isSleep(f.pass.TypesInfo, call) {
		w.Sleep, w.Duration = call, call.Args[0]
		return w, true
	}
	callee := Callee(f.pass.TypesInfo, call)
	for _, arg := range call.Args {
		t := f.pass.TypesInfo.TypeOf(arg)
		if t == nil {
			continue
		}
		if f.isDuration(arg) {
			w.Duration = arg
		}
		if _, channel := t.Underlying().(*types.Chan); channel || IsContext(t) {
			w.Aware = true
		}
	}
	if callee != nil && f.sleeps[callee.Origin()] {
		return w, true
	}
	name := strings.ToLower(CalleeName(call))
	return w, w.Duration != nil && (strings.Contains(name, "sleep") || strings.HasPrefix(name, "wait"))
}

// sleepers returns the functions of a package that give no result and sleep whenever they are called: at the top of their
// bodies is a call of time.Sleep.
func sleepers(pass *analysis.Pass, inspector *inspector.Inspector) map[*types.Func]bool {
	found := map[*types.Func]bool{}
	inspector.Preorder([]ast.Node{(*ast.FuncDecl)(nil)}, func(n ast.Node) {
		f := n.(*ast.FuncDecl)
		if f.Body == nil || f.Type.Results.NumFields() > 0 {
			return
		}
		for _, stmt := range f.Body.List {
			if e, ok := stmt.(*ast.ExprStmt); ok && isSleep(pass.TypesInfo, e.X) {
				if function, ok := pass.TypesInfo.Defs[f.Name].(*types.Func); ok {
					found[function] = true
				}
			}
		}
	})
	return found
}

func isSleep(info *types.Info, e ast.Expr) bool {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return false
	}
	callee := Callee(info, call)
	return callee != nil && callee.FullName() == "time.Sleep"
}

func (f *function) isDuration(e ast.Expr) bool {
	return IsNamed(f.pass.TypesInfo.TypeOf(e), "time", "Duration")
}

func (f *function) typeName(e ast.Expr) string {
	t := f.pass.TypesInfo.TypeOf(e)
	if t == nil {
		return ""
	}
	return t.String()
}
