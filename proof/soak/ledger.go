package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-resilience/resilience/policy"
)

// fate is what became of a call or an attempt.
type fate int

const (
	succeeded fate = iota
	failed
	refused
	cancelled
	panicked
	exited
	fates
)

var fateNames = [fates]string{"successes", "failures", "rejections", "cancellations", "panics", "exits"}

// account counts calls or attempts: how many began, and what became of them.
type account struct {
	begun atomic.Uint64
	ended [fates]atomic.Uint64
}

func (a *account) end(f fate) { a.ended[f].Add(1) }

func (a *account) sum() (sum uint64) {
	for i := range a.ended {
		sum += a.ended[i].Load()
	}
	return sum
}

func (a *account) String() string {
	text := fmt.Sprint(a.begun.Load())
	for i := range a.ended {
		text += fmt.Sprintf("  %s %d", fateNames[i], a.ended[i].Load())
	}
	return text
}

// ledger is what callers and operations saw, and what the observer of the pipeline was told.
type ledger struct {
	calls, attempts         account
	toldCalls, toldAttempts account
	toldRejections          atomic.Uint64
}

func (l *ledger) String() string {
	return fmt.Sprintf("calls     %v\nattempts  %v\nrejected attempts  %d\n", &l.calls, &l.attempts, l.toldRejections.Load())
}

// balance returns what does not add up.
func (l *ledger) balance() (problems []error) {
	for name, a := range map[string]*account{"calls": &l.calls, "attempts": &l.attempts} {
		if begun, ended := a.begun.Load(), a.sum(); begun != ended {
			problems = append(problems, fmt.Errorf("%d %s began and %d ended", begun, name, ended))
		}
		if a.begun.Load() == 0 {
			problems = append(problems, fmt.Errorf("there were no %s", name))
		}
	}
	for name, pair := range map[string][2]*account{"calls": {&l.calls, &l.toldCalls}, "attempts": {&l.attempts, &l.toldAttempts}} {
		for f := range fates {
			if seen, told := pair[0].ended[f].Load(), pair[1].ended[f].Load(); seen != told {
				problems = append(problems, fmt.Errorf("%s: %d %s were seen, and the observer was told of %d", name, seen, fateNames[f], told))
			}
		}
	}
	return problems
}

// Observe implements [policy.Observer].
func (l *ledger) Observe(_ context.Context, event policy.Event) {
	switch event.Kind {
	case policy.EventCall:
		l.toldCalls.end(fateOf(event.Outcome))
	case policy.EventAttempt:
		l.toldAttempts.end(fateOf(event.Outcome))
	case policy.EventRejected:
		l.toldRejections.Add(1)
	}
}

func fateOf(outcome policy.Outcome) fate {
	switch {
	case outcome.Kind == policy.Panicked:
		return panicked
	case outcome.Kind == policy.Exited:
		return exited
	}
	return fateOfError(outcome.Err)
}

// fateOfError tells how a call ended from its error. A retry that was stopped by a refusal or a cancellation after failed
// attempts counts as that.
func fateOfError(err error) fate {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, policy.ErrRejected):
		return refused
	case errors.Is(err, context.Canceled):
		return cancelled
	}
	return failed
}
