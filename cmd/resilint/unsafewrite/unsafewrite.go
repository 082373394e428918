// Package unsafewrite is check RL5: a retry loop repeats a write that may have been done.
package unsafewrite

import (
	"go/ast"
	"go/constant"
	"go/types"
	"regexp"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
)

var rule = check.Check{ID: "RL5", Name: "unsafewrite", Doc: `find retry loops around writes that are not idempotent

If only the answer to a POST was lost, the loop places a second order. A request may be repeated if it has a key by which
the server recognises it, such as the header Idempotency-Key.

The check looks at POST and PATCH of net/http, and at methods of gRPC clients whose names begin like those of writes.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, loop.Analyzer)

// writes are the names of methods of gRPC clients that make something new.
var writes = regexp.MustCompile(`^(Create|Insert|Add|Append|Post|Send|Submit|Charge|Publish|Enqueue)`)

func run(pass *check.Pass) error {
	for _, l := range pass.ResultOf[loop.Analyzer].([]*loop.Loop) {
		if what, ok := write(pass, l); ok {
			pass.Report(analysis.Diagnostic{
				Pos: l.Call.Pos(), End: l.Call.End(),
				Message: "this loop repeats " + what + " that is not idempotent: when only the answer was lost, it is done twice",
			})
		}
	}
	return nil
}

// write says what the call of a loop writes.
func write(pass *check.Pass, l *loop.Loop) (what string, ok bool) {
	callee := loop.Callee(pass.TypesInfo, l.Call)
	if callee == nil || callee.Pkg() == nil {
		return "", false
	}
	if callee.Pkg().Path() == "net/http" {
		switch callee.Name() {
		case "Post", "PostForm":
			return "a POST", true
		case "Do", "RoundTrip":
			method := method(pass, l)
			return "a " + method, method != "" && !hasKey(pass, l)
		}
		return "", false
	}
	if writes.MatchString(callee.Name()) && isRPC(callee.Signature()) {
		return "the call " + callee.Name(), true
	}
	return "", false
}

// isRPC reports whether a method has the form of a unary call of a generated gRPC client.
func isRPC(s *types.Signature) bool {
	n := s.Params().Len()
	if s.Recv() == nil || !s.Variadic() || n != 3 || s.Results().Len() != 2 || !loop.IsContext(s.Params().At(0).Type()) {
		return false
	}
	options, ok := s.Params().At(2).Type().(*types.Slice)
	return ok && strings.HasSuffix(options.Elem().String(), "google.golang.org/grpc.CallOption")
}

// method returns POST or PATCH if the only requests that the function makes are such.
func method(pass *check.Pass, l *loop.Loop) (method string) {
	unknown := false
	ast.Inspect(l.Func, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		callee := loop.Callee(pass.TypesInfo, call)
		if callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "net/http" || !strings.HasPrefix(callee.Name(), "NewRequest") {
			return true
		}
		at := len(call.Args) - 3
		if at < 0 { // http.NewRequest(f())
			unknown = true
			return true
		}
		value := pass.TypesInfo.Types[call.Args[at]].Value
		if value == nil || method != "" {
			unknown = true
			return true
		}
		method = constant.StringVal(value)
		return true
	})
	if unknown || method != "POST" && method != "PATCH" {
		return ""
	}
	return method
}

// hasKey reports whether the function sets a header that makes a request idempotent.
func hasKey(pass *check.Pass, l *loop.Loop) (has bool) {
	ast.Inspect(l.Func, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok {
			if value := pass.TypesInfo.Types[e].Value; value != nil && value.Kind() == constant.String {
				text := strings.ToLower(constant.StringVal(value))
				has = has || strings.Contains(text, "idempoten") || strings.Contains(text, "request-id")
			}
		}
		return !has
	})
	return has
}
