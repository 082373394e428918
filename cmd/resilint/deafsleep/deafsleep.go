// Package deafsleep is check RL1: a retry loop calls time.Sleep although a context is in scope.
package deafsleep

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
	"github.com/go-resilience/resilience/cmd/resilint/internal/rewrite"
)

var rule = check.Check{ID: "RL1", Name: "deafsleep", Doc: `find retry loops that sleep although their caller has gone

A retry loop that waits with time.Sleep goes on when the context of its caller has ended: a service that shuts down, or
whose clients have given up, keeps sending requests whose results nobody waits for.

The fix waits for a timer or the context. It is offered where the function may be left there. With the flag
-fix-with=tries it makes the loop one of
github.com/go-resilience/resilience/retry, where the loop has the plain form: a counter, a call, a test of its error, a sleep.`}

// Analyzer is the check.
var Analyzer = New()

// New returns the check with a flag of its own.
func New() *analysis.Analyzer {
	var fixWith string
	a := rule.Analyzer(func(pass *check.Pass) error { return run(pass, fixWith) }, loop.Analyzer)
	a.Flags.StringVar(&fixWith, "fix-with", "select", "what a fix waits with: select, or tries of this library")
	return a
}

func run(pass *check.Pass, fixWith string) error {
	fixes := map[string]func(*check.Pass, *loop.Loop, string) (analysis.SuggestedFix, bool){"select": wait, "tries": rewrite.Tries}
	fix := fixes[fixWith]
	if fix == nil {
		return fmt.Errorf("-fix-with=%s: must be select or tries", fixWith)
	}
	for _, l := range pass.ResultOf[loop.Analyzer].([]*loop.Loop) {
		context := l.Context(pass.Pass)
		if l.Wait.Sleep == nil || context == "" || l.LooksAtContext(pass.Pass) {
			continue
		}
		d := analysis.Diagnostic{
			Pos: l.Wait.Sleep.Pos(), End: l.Wait.Sleep.End(),
			Message: fmt.Sprintf("this retry loop sleeps and calls on after %s has ended: requests are sent for callers that have gone, and a shutdown waits for them", context),
		}
		if fix, ok := fix(pass, l, context); ok {
			d.SuggestedFixes = []analysis.SuggestedFix{fix}
		}
		pass.Report(d)
	}
	return nil
}

// wait makes the sleep a wait for a timer or the context, after which the function returns.
func wait(pass *check.Pass, l *loop.Loop, context string) (analysis.SuggestedFix, bool) {
	stmt := rewrite.Statement(l.Body, l.Wait.Sleep)
	result, ok := "", false
	if stmt != nil {
		result, ok = returns(pass, l, context, stmt.Pos())
	}
	if !ok || !mayLeave(l) || !rewrite.SameAt(pass, context, l.Stmt.Pos(), stmt.Pos()) {
		return analysis.SuggestedFix{}, false
	}
	indent := pass.Indent(stmt.Pos())
	text := strings.Join([]string{
		"select {",
		"case <-" + context + ".Done():",
		"\t" + result,
		"case <-" + strings.TrimSuffix(pass.Text(ast.Unparen(l.Wait.Sleep.Fun)), "Sleep") + "After(" + pass.Text(l.Wait.Duration) + "):",
		"}",
	}, "\n"+indent)
	return analysis.SuggestedFix{
		Message:   "wait for a timer or the context",
		TextEdits: []analysis.TextEdit{{Pos: stmt.Pos(), End: stmt.End(), NewText: []byte(text)}},
	}, true
}

// mayLeave reports whether the function may be left from the loop: it is so already, or what follows is the way out. Otherwise
// something may stand behind the loop that must not be left out, such as an Unlock or an answer.
func mayLeave(l *loop.Loop) bool {
	leaves, results := false, results(l).NumFields() > 0
	if results {
		loop.Walk(l.Body, func(n ast.Node) {
			_, is := n.(*ast.ReturnStmt)
			leaves = leaves || is
		})
	}
	next, known := l.Next()
	return leaves || known && isWayOut(next, results)
}

// isWayOut reports whether a statement returns, where there are results also under a condition. Nil is the end of the function.
func isWayOut(stmt ast.Stmt, results bool) bool {
	switch stmt := stmt.(type) {
	case nil:
		return !results
	case *ast.ReturnStmt:
		return true
	case *ast.IfStmt:
		list := stmt.Body.List
		return results && len(list) > 0 && isWayOut(list[len(list)-1], results)
	}
	return false
}

// returns returns a return statement for pos with the error of the context, and false where the function has no error to
// return.
func returns(pass *check.Pass, l *loop.Loop, context string, pos token.Pos) (string, bool) {
	list := results(l)
	if list.NumFields() == 0 {
		return "return", true
	}
	var values []string
	for _, field := range list.List {
		t := pass.TypesInfo.TypeOf(field.Type)
		value, ok := rewrite.Zero(pass, field.Type, t)
		if !ok || !rewrite.MeansAt(pass, field.Type, pos) {
			return "", false
		}
		for range max(1, len(field.Names)) {
			values = append(values, value)
		}
	}
	last := list.List[len(list.List)-1]
	if !types.Identical(pass.TypesInfo.TypeOf(last.Type), types.Universe.Lookup("error").Type()) {
		return "", false
	}
	values[len(values)-1] = context + ".Err()"
	return "return " + strings.Join(values, ", "), true
}

func results(l *loop.Loop) *ast.FieldList {
	switch f := l.Func.(type) {
	case *ast.FuncDecl:
		return f.Type.Results
	case *ast.FuncLit:
		return f.Type.Results
	}
	return nil
}
