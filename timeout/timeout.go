package timeout

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/hold"
	"github.com/go-resilience/resilience/policy"
)

// Timeout bounds a call or an attempt. It is made by [Total], [PerAttempt] or [FromLatency] and safe for concurrent
// use.
type Timeout struct {
	limit   time.Duration // the most it grants
	stage   policy.Stage
	cause   *Error
	latency *latency // nil for a fixed limit
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
	t := &Timeout{limit: limit, stage: stage}
	t.cause = &Error{Limit: limit, scope: stage.String(), by: t}
	return t
}

// Limit returns the time that the timeout grants; the most that it ever grants if that is made [FromLatency].
func (t *Timeout) Limit() time.Duration { return t.limit }

// Stage returns [policy.StageTotalTimeout] or [policy.StageAttemptTimeout].
func (t *Timeout) Stage() policy.Stage { return t.stage }

// String returns scope and limit: "total timeout 2s", "attempt timeout 300ms" or
// "attempt timeout 3×p99 from 10ms to 1s".
func (t *Timeout) String() string {
	if t.latency != nil {
		return fmt.Sprintf("%s %v", t.stage, t.latency)
	}
	return fmt.Sprintf("%s %v", t.stage, t.limit)
}

// bounded is the slot of a ticket whose attempt got a context of its own.
const bounded = 1

// Admit derives the context of the attempt. Where the caller's own deadline is sooner, it derives nothing.
func (t *Timeout) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	cause, ticket := t.cause, policy.Ticket{}
	if t.latency != nil {
		cause = t.latency.grant()
		ticket.Start = t.latency.clock.Elapsed()
	}
	now := time.Now()
	if deadline, ok := ctx.Deadline(); ok {
		switch left := deadline.Sub(now); {
		case left <= 0: // the timer of the deadline has not run yet
			return ctx, policy.Ticket{}, context.DeadlineExceeded
		case left <= cause.Limit:
			return ctx, ticket, nil
		}
	}
	ticket.Number = bounded
	return hold.WithDeadline(ctx, now.Add(cause.Limit), cause), ticket, nil
}

// Settle releases the derived context and its timer, unless the result of a success holds the context.
func (t *Timeout) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	own := ticket.Number == bounded
	expired := own && !outcome.Succeeded() && causedBy(ctx, t)
	if t.latency != nil && (expired || outcome.Succeeded()) {
		t.latency.observe(t.latency.clock.Elapsed()-ticket.Start, expired)
	}
	if expired {
		t.expired.Add(1)
	}
	if own {
		ctx.(*hold.Context).Settle(outcome.Succeeded())
	}
}

// Check reports a timeout further out that is not longer than this one, which therefore could never expire.
func (t *Timeout) Check(outer, _ []policy.Layer) error { return below(t.limit, outer) }

// below returns an error if a timeout among outer is not longer than limit.
func below(limit time.Duration, outer []policy.Layer) error {
	for _, layer := range outer {
		if around, ok := layer.(interface{ Limit() time.Duration }); ok && around.Limit() <= limit {
			return fmt.Errorf("must be below the %v around it", around)
		}
	}
	return nil
}

// Snapshot is what a timeout has done so far.
type Snapshot struct {
	Limit   time.Duration // as of now
	Expired uint64        // calls or attempts that it ended; those that succeeded all the same are not counted
}

// Snapshot returns what the timeout has done so far.
func (t *Timeout) Snapshot() Snapshot {
	s := Snapshot{Limit: t.limit, Expired: t.expired.Load()}
	if t.latency != nil {
		s.Limit = t.latency.grant().Limit
	}
	return s
}

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
