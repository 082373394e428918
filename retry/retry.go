package retry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Retrier decides whether a failed attempt is followed by another one, and when. It is a [policy.Repeater]: the
// pipeline that it is composed into makes the attempts and waits.
//
// A Retrier keeps nothing about a single call, is safe for concurrent use, and may be part of several pipelines. The
// first attempt of a call costs nothing when it succeeds: no allocation, no lock, no reading of the clock.
type Retrier struct {
	config

	mu     sync.Mutex
	counts counts
}

// counts is what Snapshot tells of the past.
type counts struct{ retries, gaveUp uint64 }

var (
	_ policy.Repeater    = (*Retrier)(nil)
	_ policy.Policy[any] = Policy[any]{}
	_ fmt.Stringer       = (*Retrier)(nil)
)

// New returns a Retrier. Without options it makes 3 attempts, with delays of up to 100 ms and 200 ms between them.
//
// New panics with a [*policy.ConfigError] that lists every option that makes no sense; see [Validate].
func New(opts ...Option) *Retrier {
	c, err := configure(opts)
	if err != nil {
		panic(err)
	}
	return &Retrier{config: c}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
	return err
}

// Stage returns [policy.StageRetry].
func (r *Retrier) Stage() policy.Stage { return policy.StageRetry }

// Next implements [policy.Repeater].
func (r *Retrier) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	if ended.Outcome.Succeeded() {
		return policy.Decision{}
	}
	c, ok := ended.State.(*call)
	if !ok {
		c = newCall()
	}
	if ended.Waited == 0 {
		c.note(ended.Outcome)
	}
	wait, reason := r.decide(ctx, c, ended)
	if reason != nil {
		return r.stop(c, ended, reason)
	}
	r.mu.Lock()
	r.counts.retries++
	r.mu.Unlock()
	return policy.Decision{Again: true, Wait: wait, State: c}
}

// errFinal is the reason of a call that ends with the attempt's own error, because no retry was ever in question.
var errFinal = errors.New("final")

// decide returns the wait before the next attempt, or the reason why there is none.
func (r *Retrier) decide(ctx context.Context, c *call, ended policy.Attempt) (wait time.Duration, reason error) {
	err := ended.Outcome.Err
	switch {
	case ctx.Err() != nil:
		return 0, policy.ContextError(ctx)
	case ended.Waited > 0: // the wait is over and a gate refuses
		return 0, ended.Blocked
	case ended.Outcome.Kind == policy.NotCalled:
		return 0, err
	case errors.Is(err, policy.ErrRejected): // the operation was itself a call that was refused
		return 0, refusal(err)
	case isPermanent(err) || r.retryable != nil && !r.retryable(err) || r.attempts == 1:
		return 0, errFinal
	case ended.Number >= r.attempts:
		return 0, ErrExhausted
	case ended.Blocked != nil:
		return 0, ended.Blocked
	}
	wait, ok := r.delay(c)
	if !ok {
		return 0, ErrExhausted
	}
	if !fits(ctx, wait) {
		return 0, ErrDeadline
	}
	return wait, nil
}

// fits reports whether there will be time left for an attempt after wait. It compares with the deadline itself,
// because Done of a context whose deadline has passed may close a little later.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || wait < time.Until(deadline)
}

// stop ends the call: with the attempt's own error when that says it all, otherwise with an [*Error].
func (r *Retrier) stop(c *call, ended policy.Attempt, reason error) policy.Decision {
	switch {
	case reason == errFinal, c.attempts == 0:
		return policy.Decision{}
	case ended.Number == 1 && errors.Is(ended.Outcome.Err, reason):
		return policy.Decision{}
	}
	r.mu.Lock()
	r.counts.gaveUp++
	r.mu.Unlock()
	return policy.Decision{Err: c.giveUp(r.name, reason)}
}

// refusal returns the rejection in err's tree, or [policy.ErrRejected] when err matches it in a way of its own.
func refusal(err error) error {
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return rejection
	}
	return policy.ErrRejected
}

// String returns the name and the number of attempts, such as `retry 4` or `retry "users" 4`.
func (r *Retrier) String() string {
	if r.name != "" {
		return fmt.Sprintf("retry %q %d", r.name, r.attempts)
	}
	return fmt.Sprintf("retry %d", r.attempts)
}

// Snapshot is what a [Retrier] is and has done, at one moment.
type Snapshot struct {
	Name     string
	Attempts int    // the most attempts of a call, the first included
	Retries  uint64 // waits before another attempt that were begun, since the Retrier was made
	GaveUp   uint64 // calls that ended with an [*Error]
}

// Snapshot returns one consistent value. It changes nothing.
func (r *Retrier) Snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Snapshot{Name: r.name, Attempts: r.attempts, Retries: r.counts.retries, GaveUp: r.counts.gaveUp}
}

// Attempt returns the number of the attempt that ctx belongs to, 1 for the first. An operation learns from it whether
// it is being retried. It returns 1 outside of any call.
func Attempt(ctx context.Context) int { return max(1, attempt.Number(ctx)) }

// Policy is a [Retrier] as a [policy.Policy] for results of type T. All views of a Retrier are one Retrier.
type Policy[T any] struct{ Retrier *Retrier }

// Do runs op, and again after a failure. It panics when the Retrier, ctx or op is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Retrier == nil {
		panic("retry: Policy.Do with a nil Retrier")
	}
	return engine.DoLayer(ctx, p.Retrier, op)
}
