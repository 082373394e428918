// Package lastsleep is check RL3: a retry loop sleeps after its last attempt too.
package lastsleep

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
	"github.com/go-resilience/resilience/cmd/resilint/internal/rewrite"
)

var rule = check.Check{ID: "RL3", Name: "lastsleep", Doc: `find retry loops that sleep after the last attempt

The last failure is the result. A loop that sleeps once more before it returns keeps its caller, and what that holds, for
nothing, in the very moment in which there are the most callers.

The fix leaves the loop before that sleep.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, loop.Analyzer)

func run(pass *check.Pass) error {
	for _, l := range pass.ResultOf[loop.Analyzer].([]*loop.Loop) {
		counter, last, ok := last(pass, l)
		if !ok || l.Wait.Sleep == nil {
			continue
		}
		sleep := rewrite.Statement(l.Body, l.Wait.Sleep)
		if sleep == nil || looksAt(pass, l, counter) || sleep.Pos() < l.Call.Pos() || callsAgain(pass, l) {
			continue
		}
		d := analysis.Diagnostic{
			Pos: sleep.Pos(), End: sleep.End(),
			Message: "this retry loop sleeps after its last attempt too: its caller waits once more, for nothing",
		}
		if counter != "" && isOwn(l) && inBody(l, sleep) {
			indent := pass.Indent(sleep.Pos())
			text := "if " + counter + " == " + last + " {\n" + indent + "\tbreak\n" + indent + "}\n" + indent
			d.SuggestedFixes = []analysis.SuggestedFix{{
				Message:   "leave the loop before the sleep",
				TextEdits: []analysis.TextEdit{{Pos: sleep.Pos(), End: sleep.Pos(), NewText: []byte(text)}},
			}}
		}
		pass.Report(d)
	}
	return nil
}

// last returns the counter of a loop and its value in the last pass, as source. The name of the counter is empty where the
// loop has none.
func last(pass *check.Pass, l *loop.Loop) (counter, value string, ok bool) {
	switch s := l.Stmt.(type) {
	case *ast.RangeStmt:
		if !isInteger(pass, s.X) {
			return "", "", false
		}
		if id, is := s.Key.(*ast.Ident); is && id.Name != "_" {
			counter = id.Name
		}
		return counter, before(pass, s.X), true
	case *ast.ForStmt:
		compare, is := s.Cond.(*ast.BinaryExpr)
		step, steps := s.Post.(*ast.IncDecStmt)
		if !is || !steps || step.Tok != token.INC {
			return "", "", false
		}
		id, named := compare.X.(*ast.Ident)
		stepped, same := step.X.(*ast.Ident)
		if !named || !same || id.Name != stepped.Name {
			return "", "", false
		}
		switch compare.Op {
		case token.LSS:
			return id.Name, before(pass, compare.Y), true
		case token.LEQ:
			return id.Name, pass.Text(compare.Y), true
		}
	}
	return "", "", false
}

// looksAt reports whether a condition in the loop looks at its counter: then it may know which attempt is the last.
func looksAt(pass *check.Pass, l *loop.Loop, counter string) (looks bool) {
	loop.Walk(l.Body, func(n ast.Node) {
		var conditions []ast.Expr
		switch n := n.(type) {
		case *ast.IfStmt:
			conditions = []ast.Expr{n.Cond}
		case *ast.CaseClause:
			conditions = n.List
		case *ast.SwitchStmt:
			conditions = []ast.Expr{n.Tag}
		}
		for _, condition := range conditions {
			if condition == nil {
				continue
			}
			ast.Inspect(condition, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && counter != "" && id.Name == counter {
					looks = true
				}
				return true
			})
		}
	})
	return looks
}

// callsAgain reports whether the statement after the loop makes the call once more: then that was the last attempt.
func callsAgain(pass *check.Pass, l *loop.Loop) (does bool) {
	callee := loop.Callee(pass.TypesInfo, l.Call)
	ast.Inspect(l.Func, func(n ast.Node) bool {
		var list []ast.Stmt
		switch n := n.(type) {
		case *ast.BlockStmt:
			list = n.List
		case *ast.CaseClause:
			list = n.Body
		case *ast.CommClause:
			list = n.Body
		}
		for i, stmt := range list[:max(0, len(list)-1)] {
			if stmt == l.Stmt {
				loop.Walk(list[i+1], func(n ast.Node) {
					call, ok := n.(*ast.CallExpr)
					does = does || ok && callee != nil && loop.Callee(pass.TypesInfo, call) == callee
				})
			}
		}
		return true
	})
	return does
}

// inBody reports whether a statement stands directly in the body of the loop, so that a break leaves the loop.
func inBody(l *loop.Loop, stmt ast.Stmt) bool {
	for _, s := range l.Body.List {
		if s == stmt {
			return true
		}
		if conditional, ok := s.(*ast.IfStmt); ok {
			for _, inner := range conditional.Body.List {
				if inner == stmt {
					return true
				}
			}
		}
	}
	return false
}

// isOwn reports whether the loop declares its counter, so that nothing after it looks at how far it came.
func isOwn(l *loop.Loop) bool {
	switch s := l.Stmt.(type) {
	case *ast.RangeStmt:
		return s.Tok == token.DEFINE
	case *ast.ForStmt:
		init, ok := s.Init.(*ast.AssignStmt)
		return ok && init.Tok == token.DEFINE
	}
	return false
}

// before returns e-1 as source.
func before(pass *check.Pass, e ast.Expr) string {
	if literal, ok := e.(*ast.BasicLit); ok {
		if n, err := strconv.Atoi(literal.Value); err == nil {
			return strconv.Itoa(n - 1)
		}
	}
	return pass.Text(e) + "-1"
}

func isInteger(pass *check.Pass, e ast.Expr) bool {
	t := pass.TypesInfo.TypeOf(e)
	if t == nil {
		return false
	}
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsInteger != 0
}
