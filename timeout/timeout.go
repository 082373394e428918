package timeout

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/hold"
	"github.com/go-resilience/resilience/policy"
)

// ErrTimeout is matched by the error of a call or an attempt that a timeout of this package ended. Such an error
// also matches [context.DeadlineExceeded]. The end of the caller's own context does not match ErrTimeout.
var ErrTimeout = errors.New("timeout")

// Timeout bounds a call or an attempt. It is made by [Total] or [PerAttempt] and safe for concurrent use.
type Timeout struct {
	limit   time.Duration
	stage   policy.Stage
	cause   *Error
	expired atomic.Uint64
}

var (
	_ policy.Guard   = (*Timeout)(nil)
	_ policy.Checker = (*Timeout)(nil)
)

// Total returns a timeout for a whole call: all attempts and all waits between them. It stands at
// [policy.StageTotalTimeout]. It panics with a [*policy.ConfigError] when limit is not positive.
func Total(limit time.Duration) *Timeout {
	return newTimeout("timeout.Total", limit, policy.StageTotalTimeout)
}

// PerAttempt returns a timeout for each attempt. It stands at [policy.StageAttemptTimeout], inside the limiter and
// the bulkhead. It panics with a [*policy.ConfigError] when limit is not positive.
func PerAttempt(limit time.Duration) *Timeout {
	return newTimeout("timeout.PerAttempt", limit, policy.StageAttemptTimeout)
}

// Validate returns the [*policy.ConfigError] that [Total] and [PerAttempt] would panic with, or nil.
func Validate(limit time.Duration) error { return validate("timeout", limit) }

func validate(constructor string, limit time.Duration) error {
	problems := policy.ConfigError{Policy: constructor}
	if limit <= 0 {
		problems.Add("limit %v: must be positive", limit)
	}
	return problems.Err()
}

func newTimeout(constructor string, limit time.Duration, stage policy.Stage) *Timeout {
	if err := validate(constructor, limit); err != nil {
		panic(err)
	}
	return &Timeout{limit: limit, stage: stage, cause: &Error{Limit: limit, scope: stage.String()}}
}

// Limit returns the time that the timeout grants.
func (t *Timeout) Limit() time.Duration { return t.limit }

// Stage returns [policy.StageTotalTimeout] or [policy.StageAttemptTimeout].
func (t *Timeout) Stage() policy.Stage { return t.stage }

// String returns scope and limit: "total timeout 2s" or "attempt timeout 300ms".
func (t *Timeout) String() string { return fmt.Sprintf("%s %v", t.stage, t.limit) }

// Admit derives the context of the attempt. Where the caller's own deadline is sooner, it derives nothing.
func (t *Timeout) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if deadline, ok := ctx.Deadline(); ok {
		switch left := time.Until(deadline); {
		case left <= 0: // the timer of the deadline has not run yet
			return ctx, policy.Ticket{}, context.DeadlineExceeded
		case left <= t.limit:
			return ctx, policy.Ticket{}, nil
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.limit, t.cause)
	return hold.New(ctx, cancel), policy.Ticket{Cancel: cancel}, nil
}

// Settle releases the derived context and its timer, unless the result of a success holds the context.
func (t *Timeout) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ticket.Cancel == nil { // ctx is not ours
		return
	}
	if !outcome.Succeeded() && context.Cause(ctx) == error(t.cause) {
		t.expired.Add(1)
	}
	ctx.(*hold.Context).Settle(outcome.Succeeded())
}

// Check reports a timeout further out that is not longer than this one, which therefore could never expire.
func (t *Timeout) Check(outer, _ []policy.Layer) error {
	for _, layer := range outer {
		if around, ok := layer.(*Timeout); ok && around.limit <= t.limit {
			return fmt.Errorf("must be below the %v around it", around)
		}
	}
	return nil
}

// Snapshot is what a timeout has done so far.
type Snapshot struct {
	Limit   time.Duration
	Expired uint64 // calls or attempts that it ended; those that succeeded all the same are not counted
}

// Snapshot returns what the timeout has done so far.
func (t *Timeout) Snapshot() Snapshot { return Snapshot{Limit: t.limit, Expired: t.expired.Load()} }

// Error is the error of a timeout that expired, and the cause of the context that it ended.
type Error struct {
	Limit time.Duration // the time that was granted
	scope string
}

// Error returns one line, such as "attempt timeout 300ms expired".
func (e *Error) Error() string { return fmt.Sprintf("%s %v expired", e.scope, e.Limit) }

// Is reports whether target is [ErrTimeout] or [context.DeadlineExceeded].
func (e *Error) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// Timeout returns true: the error is a net.Error, as [context.DeadlineExceeded] is.
func (e *Error) Timeout() bool { return true }

// Temporary returns true, as that of [context.DeadlineExceeded].
func (e *Error) Temporary() bool { return true }

// Policy is a [Timeout] as a policy for results of type T.
type Policy[T any] struct{ Timeout *Timeout }

var _ policy.Policy[int] = Policy[int]{}

// Do runs op within the timeout. It panics when the Timeout, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Timeout == nil {
		panic("timeout: Policy without a Timeout")
	}
	return engine.DoLayer(ctx, p.Timeout, op)
}
