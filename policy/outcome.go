package policy

import (
	"context"
	"errors"
	"fmt"
)

// Kind says in which way an admitted attempt ended.
type Kind uint8

const (
	// NotCalled: a layer further in refused, or the context had ended; the operation was never entered.
	NotCalled Kind = iota
	// Returned: the operation was entered and returned, with or without an error.
	Returned
	// Panicked: the attempt ended with a panic, which goes on to the caller.
	Panicked
	// Exited: the attempt ended with [runtime.Goexit], as t.FailNow does.
	Exited
)

// String returns the name of the kind in lower case.
func (k Kind) String() string {
	switch k {
	case NotCalled:
		return "not called"
	case Returned:
		return "returned"
	case Panicked:
		return "panicked"
	case Exited:
		return "exited"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Outcome is what an admitted attempt ended with.
type Outcome struct {
	Kind Kind
	Err  error // the error, for Returned and NotCalled; nil means success when Returned
}

// Succeeded reports whether the operation returned without an error.
func (o Outcome) Succeeded() bool { return o.Kind == Returned && o.Err == nil }

// Verdict is what an outcome says about the health of the dependency.
type Verdict uint8

const (
	// Failure counts against the dependency. It is the zero value: what nobody judged is a failure.
	Failure Verdict = iota
	// Success counts in favour of the dependency.
	Success
	// Neutral says nothing about the dependency and is not counted.
	Neutral
)

// String returns the name of the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case Failure:
		return "failure"
	case Success:
		return "success"
	case Neutral:
		return "neutral"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Verdict judges an outcome, in this order:
//
//   - never called is neutral: a local refusal says nothing about the dependency;
//   - a panic and [runtime.Goexit] are failures, and no error is a success;
//   - an error after ctx was cancelled is neutral, whatever the error is: the caller left. This is decided by ctx,
//     which must be the context that the guard admitted, since drivers turn a cancellation into errors of their own.
//     A deadline is no cancellation: an error after ctx's deadline is judged as any other;
//   - an error that is nothing but a [*Rejection], possibly wrapped, is neutral: the operation was itself a call
//     that some policy refused;
//   - any other error is what classify says; a nil classify says [Failure].
func (o Outcome) Verdict(ctx context.Context, classify func(error) Verdict) Verdict {
	switch {
	case o.Kind == NotCalled:
		return Neutral
	case o.Kind != Returned:
		return Failure
	case o.Err == nil:
		return Success
	case errors.Is(ctx.Err(), context.Canceled):
		return Neutral
	case refused(o.Err):
		return Neutral
	case classify == nil:
		return Failure
	}
	return classify(o.Err)
}

// refused reports whether err is a rejection and nothing else. It follows plain wrapping only: an error that joins a
// rejection with another error (a retry that was stopped by an open breaker after failed attempts) is not one.
func refused(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if _, ok := err.(*Rejection); ok {
			return true
		}
	}
	return false
}
