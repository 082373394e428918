package loop

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Bounded reports whether something besides a success ends the loop: its own condition, a counter that is compared, the
// time, or a context.
func (l *Loop) Bounded(pass *analysis.Pass) bool {
	counted := l.counters(pass)
	bounded := l.bounded
	l.conditions(func(condition ast.Expr) {
		ast.Inspect(condition, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				bounded = bounded || counted[pass.TypesInfo.ObjectOf(n)]
			case *ast.SelectorExpr:
				bounded = bounded || counted[pass.TypesInfo.ObjectOf(n.Sel)]
			case *ast.CallExpr:
				bounded = bounded || isTime(pass.TypesInfo, n)
			}
			return true
		})
	})
	return bounded || l.LooksAtContext(pass)
}

// counters returns the variables and fields that the loop counts up or down.
func (l *Loop) counters(pass *analysis.Pass) map[types.Object]bool {
	counted := map[types.Object]bool{}
	add := func(e ast.Expr) {
		if object := ObjectOf(pass.TypesInfo, e); object != nil {
			counted[object] = true
		}
	}
	Walk(l.Stmt, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.AssignStmt:
			if n.Tok == token.ADD_ASSIGN || n.Tok == token.SUB_ASSIGN || n.Tok == token.MUL_ASSIGN || n.Tok == token.SHL_ASSIGN {
				add(n.Lhs[0])
			}
		}
	})
	return counted
}

// conditions calls visit for every condition in the loop by which control is decided.
func (l *Loop) conditions(visit func(ast.Expr)) {
	Walk(l.Body, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.IfStmt:
			visit(n.Cond)
		case *ast.CaseClause:
			for _, e := range n.List {
				visit(e)
			}
		case *ast.SwitchStmt:
			if n.Tag != nil {
				visit(n.Tag)
			}
		}
	})
}

// isTime reports whether a call asks what time it is, or compares times.
func isTime(info *types.Info, call *ast.CallExpr) bool {
	callee := Callee(info, call)
	if callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "time" {
		return false
	}
	switch callee.Name() {
	case "Since", "Until", "After", "Before", "Sub", "Now", "Compare":
		return true
	}
	return false
}

// LooksAtContext reports whether the loop asks a context whether it has ended, waits for a channel besides the timer, or
// looks for the error of a context.
func (l *Loop) LooksAtContext(pass *analysis.Pass) bool {
	looks := l.Wait.Aware
	Walk(l.Stmt, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			selector, ok := n.Fun.(*ast.SelectorExpr)
			if ok && (selector.Sel.Name == "Err" || selector.Sel.Name == "Done") && isContextual(pass.TypesInfo.TypeOf(selector.X)) {
				looks = true
			}
		case *ast.SelectorExpr: // context.Canceled
			object := pass.TypesInfo.Uses[n.Sel]
			if object != nil && object.Pkg() != nil && object.Pkg().Path() == "context" && IsError(object.Type()) {
				looks = true
			}
		case *ast.UnaryExpr: // a channel that tells of the end
			if t := pass.TypesInfo.TypeOf(n.X); n.Op == token.ARROW && t != nil {
				if channel, ok := t.Underlying().(*types.Chan); ok && !IsNamed(channel.Elem(), "time", "Time") {
					looks = true
				}
			}
		}
	})
	return looks
}

// isContextual reports whether t has the methods Done and Err of a context.
func isContextual(t types.Type) bool {
	if t == nil {
		return false
	}
	done, _, _ := types.LookupFieldOrMethod(t, true, nil, "Done")
	err, _, _ := types.LookupFieldOrMethod(t, true, nil, "Err")
	return done != nil && err != nil
}

// Delay is what is known of how long a loop waits.
type Delay struct {
	Grows    bool // it is not the same after each failure
	Jittered bool // chance has a part in it, or may have: it comes from code that is not seen
}

// Delay follows the duration of the wait to where it is made, within the package.
func (l *Loop) Delay(pass *analysis.Pass) Delay {
	if l.Wait.Duration == nil {
		return Delay{Grows: true, Jittered: true} // not known
	}
	d := delay{pass: pass, loop: l, seen: map[ast.Node]bool{}, called: map[*ast.CallExpr]bool{}}
	d.look(l.Wait.Duration)
	if l.Wait.Sleep == nil {
		d.lookAtHelper()
	}
	return d.Delay
}

type delay struct {
	Delay
	pass   *analysis.Pass
	loop   *Loop
	seen   map[ast.Node]bool
	called map[*ast.CallExpr]bool
}

// lookAtHelper looks into a helper that waits: it may add jitter of its own.
func (d *delay) lookAtHelper() {
	if call, ok := d.loop.Wait.Node.(*ast.CallExpr); ok {
		d.lookAtCall(call)
	}
}

// look looks at an expression that a duration is made of.
func (d *delay) look(e ast.Node) {
	if e == nil || d.seen[e] {
		return
	}
	d.seen[e] = true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			d.lookAtCall(n)
		case *ast.Ident:
			d.lookAtVariable(n)
		}
		return true
	})
}

// lookAtVariable follows a variable to what it is set to in the function.
func (d *delay) lookAtVariable(id *ast.Ident) {
	variable, ok := d.pass.TypesInfo.Uses[id].(*types.Var)
	if !ok {
		return
	}
	if strings.Contains(strings.ToLower(id.Name), "jitter") {
		d.Jittered = true
	}
	inLoop := func(n ast.Node) bool { return d.loop.Stmt.Pos() <= n.Pos() && n.End() <= d.loop.Stmt.End() }
	if !variable.IsField() && d.loop.Stmt.Pos() <= variable.Pos() && variable.Pos() < d.loop.Body.Pos() {
		d.Grows = true // the variable of the loop
	}
	if d.loop.Func == nil {
		return
	}
	Walk(body(d.loop.Func), func(n ast.Node) {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if !d.refersTo(left, variable) {
					continue
				}
				if inLoop(n) && (n.Tok != token.DEFINE || len(n.Rhs) == 1 && !d.constant(n.Rhs[0])) {
					d.Grows = d.Grows || n.Tok != token.ASSIGN || !d.constant(n.Rhs[min(i, len(n.Rhs)-1)])
				}
				d.look(n.Rhs[min(i, len(n.Rhs)-1)])
			}
		case *ast.IncDecStmt:
			if inLoop(n) && d.refersTo(n.X, variable) {
				d.Grows = true
			}
		}
	})
}

func (d *delay) refersTo(e ast.Expr, variable *types.Var) bool {
	return ObjectOf(d.pass.TypesInfo, e) == types.Object(variable)
}

func (d *delay) constant(e ast.Expr) bool {
	tv := d.pass.TypesInfo.Types[e]
	return tv.Value != nil
}

// lookAtCall looks at a call that has a part in a duration: into its body if that is in the package.
func (d *delay) lookAtCall(call *ast.CallExpr) {
	if d.called[call] {
		return
	}
	d.called[call] = true
	if tv := d.pass.TypesInfo.Types[call.Fun]; tv.IsType() || tv.IsBuiltin() {
		return
	}
	callee := Callee(d.pass.TypesInfo, call)
	if callee == nil {
		d.Grows, d.Jittered = true, true // a function value
		return
	}
	name := strings.ToLower(callee.Name())
	if strings.Contains(name, "jitter") || strings.Contains(name, "rand") {
		d.Jittered = true
	}
	if callee.Pkg() == nil {
		return
	}
	switch path := callee.Pkg().Path(); {
	case path == "math/rand" || path == "math/rand/v2" || path == "crypto/rand":
		d.Jittered = true
	case path == "time" || path == "math" || path == "math/bits" || path == "cmp":
	case callee.Pkg() != d.pass.Pkg:
		d.Grows, d.Jittered = true, true // not seen
	default:
		d.Grows = d.Grows || len(call.Args) > 0 && d.loop.Wait.Node != ast.Node(call)
		if body := d.bodyOf(callee); body != nil {
			ast.Inspect(body, func(n ast.Node) bool {
				if inner, ok := n.(*ast.CallExpr); ok {
					d.lookAtCall(inner)
				}
				return true
			})
		} else {
			d.Grows, d.Jittered = true, true // a method of an interface
		}
	}
}

// bodyOf returns the body of a function of the package.
func (d *delay) bodyOf(f *types.Func) *ast.BlockStmt {
	for _, file := range d.pass.Files {
		for _, decl := range file.Decls {
			if decl, ok := decl.(*ast.FuncDecl); ok && d.pass.TypesInfo.Defs[decl.Name] == f {
				return decl.Body
			}
		}
	}
	return nil
}

func body(function ast.Node) *ast.BlockStmt {
	switch f := function.(type) {
	case *ast.FuncDecl:
		return f.Body
	case *ast.FuncLit:
		return f.Body
	}
	return nil
}

// Context returns an expression for the context that is in scope at the loop, such as "ctx" or "r.Context()"; "" if there is
// none. The innermost one counts.
func (l *Loop) Context(pass *analysis.Pass) string {
	for scope := pass.Pkg.Scope().Innermost(l.Stmt.Pos()); scope != nil && scope != pass.Pkg.Scope(); scope = scope.Parent() {
		found := ""
		for _, name := range scope.Names() {
			variable, ok := scope.Lookup(name).(*types.Var)
			if !ok || name == "_" || variable.Pos() >= l.Stmt.Pos() {
				continue
			}
			switch {
			case IsContext(variable.Type()):
				if (found == "" || name == "ctx") && !l.neverEnds(pass, variable) {
					found = name
				}
			case found == "" && IsNamed(variable.Type(), "net/http", "Request") && isParameter(l.Func, variable):
				found = name + ".Context()"
			}
		}
		if found != "" {
			return found
		}
	}
	return ""
}

// neverEnds reports whether a variable is set to nothing but context.Background() and context.TODO().
func (l *Loop) neverEnds(pass *analysis.Pass, variable *types.Var) bool {
	if l.Decl == nil {
		return false
	}
	set, ends := false, false
	ast.Inspect(l.Decl, func(n ast.Node) bool {
		var left, right []ast.Expr
		switch n := n.(type) {
		case *ast.AssignStmt:
			left, right = n.Lhs, n.Rhs
		case *ast.ValueSpec:
			for _, name := range n.Names {
				left = append(left, name)
			}
			right = n.Values
		}
		for i, e := range left {
			id, ok := e.(*ast.Ident)
			if !ok || pass.TypesInfo.ObjectOf(id) != variable {
				continue
			}
			set = true
			ends = ends || len(right) != len(left) || !isBackground(pass.TypesInfo, right[i])
		}
		return true
	})
	return set && !ends
}

func isBackground(info *types.Info, e ast.Expr) bool {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return false
	}
	callee := Callee(info, call)
	return callee != nil && (callee.FullName() == "context.Background" || callee.FullName() == "context.TODO")
}

// Next returns the statement behind the loop, nil if the body of the function ends there. It is false where the loop is the
// last of another list of statements.
func (l *Loop) Next() (next ast.Stmt, known bool) {
	whole := body(l.Func)
	Walk(whole, func(n ast.Node) {
		list := Statements(n)
		for i, stmt := range list {
			if label, ok := stmt.(*ast.LabeledStmt); ok && stmt.Pos() != l.Stmt.Pos() {
				stmt = label.Stmt
			}
			if stmt.Pos() != l.Stmt.Pos() {
				continue
			}
			for i < len(list) && list[i].Pos() < l.Stmt.End() { // one of goto is made of several
				i++
			}
			if i < len(list) {
				next, known = list[i], true
			} else if n == ast.Node(whole) {
				known = true
			}
		}
	})
	return next, known
}

// Nth is how many retry loops stand before this one in its declaration.
func (l *Loop) Nth() int { return l.nth }

// isParameter reports whether a variable is a parameter of a function, as the request of a handler is.
func isParameter(function ast.Node, variable *types.Var) bool {
	var list *ast.FieldList
	switch f := function.(type) {
	case *ast.FuncDecl:
		list = f.Type.Params
	case *ast.FuncLit:
		list = f.Type.Params
	}
	return list != nil && list.Pos() <= variable.Pos() && variable.Pos() < list.End()
}
