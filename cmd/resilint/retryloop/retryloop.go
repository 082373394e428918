// Package retryloop is check RL2: a retry loop without a bound, without backoff or without jitter.
package retryloop

import (
	"fmt"
	"strings"

	"golang.org/x/tools/go/analysis"

	"github.com/go-resilience/resilience/cmd/resilint/internal/check"
	"github.com/go-resilience/resilience/cmd/resilint/internal/loop"
	"github.com/go-resilience/resilience/cmd/resilint/internal/rewrite"
)

var rule = check.Check{ID: "RL2", Name: "retryloop", Doc: `find retry loops without a bound, backoff or jitter

A loop that retries for ever keeps every caller while a dependency is down. One that waits the same time after each failure
sends at full rate to a failing dependency. Without jitter, clients that failed together come back together, and a
dependency that has just recovered gets all of them at once.

The check ignores a loop whose wait a context or a channel can end: it is polling, or its owner knows how to stop it.

The fix, with the flag -fix-with=tries, is a loop over the tries of a Retrier. It is offered for loops of the plain form with a
context in scope.`}

// Analyzer is the check.
var Analyzer = New()

// New returns the check with a flag of its own.
func New() *analysis.Analyzer {
	var fixWith string
	a := rule.Analyzer(func(pass *check.Pass) error { return run(pass, fixWith) }, loop.Analyzer)
	a.Flags.StringVar(&fixWith, "fix-with", "none", "what a fix makes of the loop: none, or tries of this library")
	return a
}

func run(pass *check.Pass, fixWith string) error {
	if fixWith != "none" && fixWith != "tries" {
		return fmt.Errorf("-fix-with=%s: must be none or tries", fixWith)
	}
	for _, l := range pass.ResultOf[loop.Analyzer].([]*loop.Loop) {
		if l.Wait.Aware {
			continue
		}
		bounded, delay := l.Bounded(pass.Pass), l.Delay(pass.Pass)
		var missing, so []string
		if !bounded {
			missing = append(missing, "a bound")
			so = append(so, "while the dependency is down every caller stays here and keeps sending")
		}
		if !delay.Grows && !delay.Jittered {
			missing = append(missing, "backoff")
			if bounded {
				so = append(so, "a sick dependency gets all retries at full rate")
			}
		}
		if !delay.Jittered {
			missing = append(missing, "jitter")
			so = append(so, "clients that failed together come back together")
		}
		if bounded && delay.Jittered {
			continue
		}
		d := analysis.Diagnostic{
			Pos: l.Stmt.Pos(), End: l.Body.Lbrace,
			Message: "this loop retries without " + list(missing, "or") + ": " + list(so, "and"),
		}
		if context := l.Context(pass.Pass); fixWith == "tries" && context != "" && l.Wait.Sleep != nil {
			if fix, ok := rewrite.Tries(pass, l, context); ok {
				d.SuggestedFixes = []analysis.SuggestedFix{fix}
			}
		}
		pass.Report(d)
	}
	return nil
}

// list joins words with commas, and the last two with a conjunction.
func list(words []string, conjunction string) string {
	last := len(words) - 1
	if last <= 0 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}
