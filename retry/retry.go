package retry

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// Retrier decides whether a failed attempt is followed by another one, and when. It is a [policy.Repeater]: the
// pipeline that it is composed into makes the attempts, waits, and asks the gates.
//
// A Retrier keeps nothing about a single call, is safe for concurrent use, and may be part of several pipelines. The
// first attempt of a call costs next to nothing when it succeeds: no allocation, no lock, no reading of the clock; an
// atomic addition only while the [Budget] is not full.
type Retrier struct {
	config
	clock stopwatch.Stopwatch

	scheduled atomic.Uint64 // retries
	gaveUp    atomic.Uint64 // calls
}

var (
	_ policy.Repeater    = (*Retrier)(nil)
	_ policy.Policy[any] = Policy[any]{}
	_ fmt.Stringer       = (*Retrier)(nil)
)

// New returns a Retrier. Without options it makes 3 attempts, with delays of up to 100 ms and 200 ms between them, as
// long as its budget lasts: retries for 20 % of the calls, and 10 per second.
//
// New panics with a [*policy.ConfigError] that lists every option that makes no sense; see [Validate].
func New(opts ...Option) *Retrier {
	c, err := configure(opts)
	if err != nil {
		panic(err)
	}
	return &Retrier{config: c, clock: stopwatch.Start()}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	_, err := configure(opts)
	return err
}

// Stage returns [policy.StageRetry].
func (r *Retrier) Stage() policy.Stage { return policy.StageRetry }

// Succeeded is told of a first attempt that succeeded, in place of Next.
func (r *Retrier) Succeeded() {
	if r.budget != nil {
		r.budget.rule.heard(true, true)
	}
}

// Next implements [policy.Repeater].
func (r *Retrier) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	asked := ended.Asked > 0 // not for the first time about this attempt
	entered := ended.Outcome.Kind == policy.Returned
	if r.budget != nil && entered && !asked {
		r.budget.rule.heard(ended.Number == 1, ended.Outcome.Err == nil)
	}
	if ended.Outcome.Succeeded() {
		return policy.Decision{}
	}
	if ended.Number == 1 && !entered && !asked && len(r.rejections) == 0 && r.patience == 0 {
		return policy.Decision{} // refused at once, and to stay so: the bare rejection, without keeping anything
	}
	c := r.resume(&ended)
	if entered && !asked {
		c.note(ended.Outcome.Err)
	}
	wait, reason := r.decide(ctx, c, &ended)
	if reason != nil {
		return r.stop(c, &ended, reason)
	}
	if !asked {
		r.scheduled.Add(1)
	}
	return policy.Decision{Again: true, Wait: wait, State: c}
}

// resume returns what is known about the call.
func (r *Retrier) resume(ended *policy.Attempt) *call {
	c, ok := ended.State.(*call)
	if !ok {
		c = &call{}
	}
	if ended.Number == 1 && ended.Asked == 0 {
		c.failed = r.clock.Elapsed()
	}
	return c
}

// errFinal is the reason of a call that ends with the attempt's own error, because no retry was ever in question.
var errFinal = errors.New("final")

// decide returns the wait before the next attempt, or the reason why there is none.
func (r *Retrier) decide(ctx context.Context, c *call, ended *policy.Attempt) (wait time.Duration, reason error) {
	if ctx.Err() != nil {
		return 0, policy.ContextError(ctx)
	}
	f := failureOf(ended.Outcome.Err)
	if ended.Asked == 0 {
		if reason := r.judge(ctx, c, ended, f); reason != nil {
			return 0, reason
		}
	}
	if ended.Blocked != nil {
		return r.await(ctx, c, ended.Blocked)
	}
	return r.backOff(ctx, c, f)
}

// judge returns why the attempt must not be followed by another one, whatever the wait, or nil.
func (r *Retrier) judge(ctx context.Context, c *call, ended *policy.Attempt, f failure) (reason error) {
	entered := ended.Outcome.Kind == policy.Returned
	refused := !entered || f.refused() // the operation may itself be a call that is refused
	switch {
	case !entered && ended.Blocked != nil && r.patience > 0:
		return nil // the gate can be waited for, and nothing was done yet
	case refused && !r.retriesRejection(f.err):
		return refusal(f.err)
	case entered && !repeatable(ctx, f.err):
		return errFinal
	case !refused && !r.retries(f):
		return errFinal
	case r.attempts == 1:
		return errFinal
	case c.awaited && ended.Blocked != nil:
		return ended.Blocked
	case c.awaited, ended.Number >= r.attempts:
		return ErrExhausted
	}
	return nil
}

// retries reports whether a failure of the operation may be retried at all. If so, the budget hears of it.
func (r *Retrier) retries(f failure) bool {
	if f.permanent() || r.retryable != nil && !r.retryable(f.err) {
		return false
	}
	if r.budget != nil {
		r.budget.rule.failed()
	}
	return true
}

func (r *Retrier) retriesRejection(err error) bool {
	for _, reason := range r.rejections {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// backOff returns the delay before the next attempt after a failure, or the reason why there is none.
func (r *Retrier) backOff(ctx context.Context, c *call, f failure) (wait time.Duration, reason error) {
	wait, ok := r.delay(c)
	if !ok {
		return 0, ErrExhausted
	}
	if hint, ok := f.retryAfter(); ok {
		if hint > r.maxRetryAfter {
			return 0, ErrRetryAfter
		}
		wait = max(wait, hint)
	}
	switch {
	case !fits(ctx, wait):
		return 0, ErrDeadline
	case !r.pay(c):
		return 0, ErrBudget
	}
	return wait, nil
}

// fits reports whether there will be time left for an attempt after wait. It reads the clock, because Done of a context
// whose deadline has passed may close a little later.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || wait < time.Until(deadline)
}

// pay takes a token for the next attempt, unless the call holds one for an attempt that was not made. A call that has
// not entered the operation yet adds no load, and pays nothing.
func (r *Retrier) pay(c *call) bool {
	if r.budget == nil || c.paid || c.attempts == 0 {
		return true
	}
	c.paid = r.budget.Withdraw()
	return c.paid
}

// stop ends the call: with the attempt's own error when that says it all, otherwise with an [*Error].
func (r *Retrier) stop(c *call, ended *policy.Attempt, reason error) policy.Decision {
	if c.paid { // for an attempt that is not made after all
		r.budget.Return()
	}
	switch {
	case reason == errFinal:
		return policy.Decision{}
	case c.attempts == 0 && ended.Asked == 0:
		return policy.Decision{}
	case c.attempts == 0:
		return policy.Decision{Err: reason}
	case ended.Number == 1 && match.Is(ended.Outcome.Err, reason):
		return policy.Decision{}
	}
	r.gaveUp.Add(1)
	return policy.Decision{Err: c.giveUp(r.name, reason, r.clock.Elapsed())}
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
	Attempts int            // the most attempts of a call, the first included
	Retries  uint64         // further attempts that were scheduled since the Retrier was made
	GaveUp   uint64         // calls that ended with an [*Error]
	Budget   BudgetSnapshot // zero without a budget
}

// Snapshot returns what the Retrier is and has done: the retries of every call that is among those that gave up are
// counted. The budget, which may be shared, is read a moment earlier. It changes nothing.
func (r *Retrier) Snapshot() Snapshot {
	s := Snapshot{Name: r.name, Attempts: r.attempts}
	if r.budget != nil {
		s.Budget = r.budget.Snapshot()
	}
	s.GaveUp = r.gaveUp.Load() // before the retries: see above
	s.Retries = r.scheduled.Load()
	return s
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
