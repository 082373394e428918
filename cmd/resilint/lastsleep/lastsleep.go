// Package lastsleep is check RL3: a retry loop sleeps after its last attempt too.
package lastsleep

import (
	"fmt"
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

The last failure is the result. A loop that sleeps once more before it returns holds up its caller, and everything the
caller holds, for nothing, at the very moment when there are the most callers.

The fix sleeps only where another attempt follows.`}

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
		if counter != "" && rewrite.SameAt(pass, counter, l.Body.Lbrace, sleep.Pos()) && rewrite.MeansAt(pass, head(l), sleep.Pos()) && !calls(pass, head(l)) {
			indent, end := pass.Indent(sleep.Pos()), rewrite.End(pass, sleep)
			d.SuggestedFixes = []analysis.SuggestedFix{{
				Message: "sleep only between attempts",
				TextEdits: []analysis.TextEdit{
					// The head stays as it is: this is not for a loop to which another fix gives one without the counter.
					{Pos: l.Stmt.Pos(), End: l.Body.Lbrace, NewText: []byte(pass.Between(l.Stmt.Pos(), l.Body.Lbrace))},
					{Pos: sleep.Pos(), End: sleep.Pos(), NewText: []byte("if " + counter + " != " + last + " {\n" + indent + "\t")},
					{Pos: end, End: end, NewText: []byte("\n" + indent + "}")},
				},
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
		return counter, plus(pass, s.X, -1), true
	case *ast.ForStmt:
		compare, is := s.Cond.(*ast.BinaryExpr)
		step, steps := s.Post.(*ast.IncDecStmt)
		if !is || !steps {
			return "", "", false
		}
		id, named := compare.X.(*ast.Ident)
		stepped, same := step.X.(*ast.Ident)
		if !named || !same || id.Name != stepped.Name {
			return "", "", false
		}
		switch up := step.Tok == token.INC; {
		case up && compare.Op == token.LSS:
			return id.Name, plus(pass, compare.Y, -1), true
		case !up && compare.Op == token.GTR:
			return id.Name, plus(pass, compare.Y, 1), true
		case up && compare.Op == token.LEQ, !up && compare.Op == token.GEQ:
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
	if next, _ := l.Next(); next != nil && callee != nil {
		loop.Walk(next, func(n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			does = does || ok && loop.Callee(pass.TypesInfo, call) == callee
		})
	}
	return does
}

// head returns the expression in the head of a loop that names its counter and its bound.
func head(l *loop.Loop) ast.Expr {
	if r, ok := l.Stmt.(*ast.RangeStmt); ok {
		return r.X
	}
	return l.Stmt.(*ast.ForStmt).Cond
}

// calls reports whether an expression calls a function, which may do something or say something else the next time.
func calls(pass *check.Pass, e ast.Expr) (does bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			fun := pass.TypesInfo.Types[call.Fun]
			does = does || !fun.IsType() && !fun.IsBuiltin()
		}
		return !does
	})
	return does
}

// plus returns e+n as source, for an n of 1 or -1.
func plus(pass *check.Pass, e ast.Expr, n int) string {
	if literal, ok := e.(*ast.BasicLit); ok {
		if value, err := strconv.Atoi(literal.Value); err == nil {
			return strconv.Itoa(value + n)
		}
	}
	return fmt.Sprintf("%s%+d", pass.Text(e), n)
}

func isInteger(pass *check.Pass, e ast.Expr) bool {
	t := pass.TypesInfo.TypeOf(e)
	if t == nil {
		return false
	}
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsInteger != 0
}
