package retry

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/policy"
)

// failure is the error of an attempt, as a Retrier reads it.
type failure struct {
	err  error
	bare bool // it wraps nothing and says nothing about itself, as most errors: there is no tree to search, 4 times
}

func failureOf(err error) failure {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error },
		interface{ Is(error) bool }, interface{ As(any) bool },
		interface{ RetryAfter() (time.Duration, bool) }:
		return failure{err: err}
	}
	return failure{err: err, bare: true}
}

// refused reports whether a policy has refused.
func (f failure) refused() bool {
	if f.bare {
		return f.err == policy.ErrRejected
	}
	return errors.Is(f.err, policy.ErrRejected)
}

// permanent reports whether another attempt cannot mend the failure.
func (f failure) permanent() bool {
	if f.bare {
		return false
	}
	if _, ok := errors.AsType[*permanent](f.err); ok {
		return true
	}
	_, ok := errors.AsType[*backoff.PermanentError](f.err)
	return ok
}

// retryAfter returns for how long the failure asks to wait.
func (f failure) retryAfter() (wait time.Duration, ok bool) {
	if f.bare {
		return 0, false
	}
	return policy.RetryAfter(f.err)
}

// refusal returns the rejection in err's tree, or err when it is one in a way of its own.
func refusal(err error) error {
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return rejection
	}
	return err
}
