// Package refusedconstant is check RL9f: a policy is configured with constants that it refuses.
package refusedconstant

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/types"
	"reflect"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/cmd/resilint/internal/api"
	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

var rule = check.Check{ID: "RL9f", Name: "refusedconstant", Doc: `find constants that a policy refuses

A constructor panics for an invalid configuration, such as a failure rate of 50 where .5 is meant. If all arguments are
constants, the check asks the library itself, so you learn of the problem before the program runs.`}

// Analyzer is the check.
var Analyzer = rule.Analyzer(run, inspect.Analyzer)

// A constructor is one of the library, and what says whether it accepts its arguments.
type constructor struct {
	validate any            // takes the data, and then options
	options  map[string]any // those that take data only; others have no part in what is refused
}

var constructors = map[string]constructor{
	"breaker.New": {breaker.Validate, map[string]any{
		"ConsecutiveFailures": breaker.ConsecutiveFailures, "CountWindow": breaker.CountWindow, "FailedProbes": breaker.FailedProbes,
		"FailureCount": breaker.FailureCount, "FailureRate": breaker.FailureRate, "Growth": breaker.Growth, "Jitter": breaker.Jitter,
		"OpenFor": breaker.OpenFor, "ProbeLease": breaker.ProbeLease, "Probes": breaker.Probes, "Ramp": breaker.Ramp,
		"RetryAfter": breaker.RetryAfter, "SlowCalls": breaker.SlowCalls, "Successes": breaker.Successes, "TimeWindow": breaker.TimeWindow,
	}},
	"retry.New": {retry.Validate, map[string]any{
		"Attempts": retry.Attempts, "AwaitRecovery": retry.AwaitRecovery, "Constant": retry.Constant, "Exponential": retry.Exponential,
		"MaxRetryAfter": retry.MaxRetryAfter, "Multiplier": retry.Multiplier, "ProportionalJitter": retry.ProportionalJitter,
	}},
	"hedge.New": {hedge.Validate, map[string]any{
		"After": hedge.After, "AfterFailure": hedge.AfterFailure, "Extra": hedge.Extra, "Idempotent": hedge.Idempotent, "Limit": hedge.Limit,
		"MaxRunning": hedge.MaxRunning, "Quantile": hedge.Quantile,
	}},
	"throttle.New":               {throttle.Validate, map[string]any{"K": throttle.K, "Padding": throttle.Padding, "Window": throttle.Window}},
	"bulkhead.New":               {bulkhead.Validate, map[string]any{"Queue": bulkhead.Queue}},
	"ratelimit.New":              {ratelimit.Validate, map[string]any{"MaxWait": ratelimit.MaxWait, "MaxWaiters": ratelimit.MaxWaiters}},
	"timeout.Total":              {timeout.Validate, nil},
	"timeout.PerAttempt":         {timeout.Validate, nil},
	"timeout.Abandon":            {timeout.ValidateAbandon, map[string]any{"MaxRunning": timeout.MaxRunning}},
	"retry.NewBudget":            {retry.ValidateBudget, nil},
	"retry.NewConcurrencyBudget": {retry.ValidateConcurrencyBudget, nil},
	"retry.NewTokenBudget":       {retry.ValidateTokenBudget, nil},
}

func run(pass *check.Pass) error {
	pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Preorder([]ast.Node{(*ast.CallExpr)(nil)}, func(n ast.Node) {
		call := n.(*ast.CallExpr)
		pkg, name := ours(pass.TypesInfo, call)
		c, ok := constructors[pkg+"."+name]
		if !ok || call.Ellipsis.IsValid() {
			return
		}
		args, ok := c.arguments(pass.TypesInfo, pkg, call)
		if !ok {
			return
		}
		if err, _ := reflect.ValueOf(c.validate).Call(args)[0].Interface().(error); err != nil {
			pass.Report(analysis.Diagnostic{Pos: call.Pos(), End: call.End(), Message: name + " panics: " + reason(err)})
		}
	})
	return nil
}

// ours returns the package below the root and the name of a function of the library that a call calls, empty otherwise.
func ours(info *types.Info, call *ast.CallExpr) (pkg, name string) {
	callee := loop.Callee(info, call)
	if callee == nil || callee.Pkg() == nil || callee.Signature().Recv() != nil {
		return "", ""
	}
	pkg, ok := strings.CutPrefix(callee.Pkg().Path(), api.Root+"/")
	if !ok {
		return "", ""
	}
	return pkg, callee.Name()
}

// arguments returns what validate is called with. It is false when something is not known that matters.
func (c constructor) arguments(info *types.Info, pkg string, call *ast.CallExpr) (args []reflect.Value, ok bool) {
	f := reflect.TypeOf(c.validate)
	data := f.NumIn()
	if f.IsVariadic() {
		data--
	}
	if len(call.Args) < data {
		return nil, false
	}
	for i, arg := range call.Args {
		if i < data {
			v, ok := convert(info.Types[arg].Value, f.In(i))
			if !ok {
				return nil, false
			}
			args = append(args, v)
			continue
		}
		inner, isCall := ast.Unparen(arg).(*ast.CallExpr)
		if !isCall {
			return nil, false
		}
		from, name := ours(info, inner)
		if from != pkg {
			return nil, false
		}
		option := c.options[name]
		if option == nil {
			continue // code, or a mode
		}
		v, ok := apply(info, option, inner)
		if !ok {
			return nil, false
		}
		args = append(args, v)
	}
	return args, true
}

// apply calls a function with the constants of a call. It is false when one of them is none.
func apply(info *types.Info, function any, call *ast.CallExpr) (_ reflect.Value, ok bool) {
	f := reflect.ValueOf(function)
	args := make([]reflect.Value, f.Type().NumIn())
	if len(call.Args) != len(args) {
		return reflect.Value{}, false
	}
	for i := range args {
		if args[i], ok = convert(info.Types[call.Args[i]].Value, f.Type().In(i)); !ok {
			return reflect.Value{}, false
		}
	}
	return f.Call(args)[0], true
}

func convert(value constant.Value, to reflect.Type) (reflect.Value, bool) {
	v := reflect.New(to).Elem()
	if value == nil {
		return v, false
	}
	switch to.Kind() {
	case reflect.Int, reflect.Int64:
		n, exact := constant.Int64Val(constant.ToInt(value))
		v.SetInt(n)
		return v, exact
	case reflect.Float64:
		x, _ := constant.Float64Val(value)
		v.SetFloat(x)
		return v, true
	}
	return v, false
}

// reason returns what is wrong, without the words around it.
func reason(err error) string {
	if problems, ok := errors.AsType[*policy.ConfigError](err); ok && len(problems.Problems) > 0 {
		return problems.Problems[0]
	}
	return err.Error()
}
