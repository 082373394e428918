package retry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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
// first attempt of a call costs next to nothing when it succeeds: no allocation, no lock, no reading of the clock.
type Retrier struct {
	config   atomic.Pointer[config]
	changing sync.Mutex // held by Reconfigure, not while functions of the user run
	clock    stopwatch.Stopwatch

	scheduled atomic.Uint64 // how many retries were
	gaveUp    atomic.Uint64 // how many calls ended as Snapshot.GaveUp says
}

var (
	_ policy.Repeater    = (*Retrier)(nil)
	_ policy.Checker     = (*Retrier)(nil)
	_ policy.Discarder   = (*Retrier)(nil)
	_ policy.BudgetUser  = (*Retrier)(nil)
	_ policy.Idler       = (*Retrier)(nil)
	_ policy.Reporter    = (*Retrier)(nil)
	_ policy.Policy[any] = Policy[any]{}
	_ fmt.Stringer       = (*Retrier)(nil)
)

// New returns a Retrier. Without options it makes 3 attempts, with delays of up to 100 ms and 200 ms between them, as
// long as its budget lasts: retries for 20 % of the calls, and 10 per second.
//
// New panics with a [*policy.ConfigError] that lists everything that is wrong with the options; see [Validate].
func New(opts ...Option) *Retrier {
	c, problems := apply(opts)
	if err := c.complete(nil, problems); err != nil {
		panic(err)
	}
	r := &Retrier{clock: stopwatch.Start()}
	r.config.Store(c)
	return r
}

// Validate returns the [*policy.ConfigError] that [New] would panic with, or nil.
func Validate(opts ...Option) error {
	c, problems := apply(opts)
	return c.complete(nil, problems)
}

// Reconfigure changes the options while calls are running; it takes those of [New]. An option that is data and is not
// given has its default again. One that takes a function or another object, and is not given, stays, and so does the
// name. A call that is waiting goes on waiting, and is judged by the new options from then on.
//
// It returns a [*policy.ConfigError], and changes nothing, when New would refuse the options, and when they give another
// [Name] or another budget: a budget has a Reconfigure of its own.
func (r *Retrier) Reconfigure(opts ...Option) error {
	r.current()
	c, problems := apply(opts)
	r.changing.Lock()
	defer r.changing.Unlock()
	if err := c.complete(r.current(), problems); err != nil {
		return err
	}
	r.config.Store(c)
	return nil
}

func (r *Retrier) current() *config {
	c := r.config.Load()
	if c == nil {
		panic("retry: a Retrier must be made with New")
	}
	return c
}

// Stage returns [policy.StageRetry].
func (r *Retrier) Stage() policy.Stage { return policy.StageRetry }

// Budget returns the budget that retries are paid from, nil if there is none.
func (r *Retrier) Budget() policy.Budget { return r.current().budget }

// Idle reports whether the Retrier may be forgotten: a new one would allow no retry that this one denies for lack of
// budget.
func (r *Retrier) Idle() bool {
	budget, ok := r.current().budget.(policy.Idler)
	return !ok || budget.Idle()
}

// Succeeded is what the engine calls in place of Next after a first attempt that succeeded. It is not for other callers.
func (r *Retrier) Succeeded(engine.Caller) {
	if feedback := r.current().feedback; feedback != nil {
		feedback.Succeeded()
	}
}

// Discards is what the engine asks before it calls Discard. It is not for other callers.
func (r *Retrier) Discards(engine.Caller) bool { return r.current().discard != nil }

// Discard hands a value that another attempt supersedes to the function given to [OnDiscard].
func (r *Retrier) Discard(value any) {
	if discard := r.current().discard; discard != nil {
		discard(value)
	}
}

// Next implements [policy.Repeater].
func (r *Retrier) Next(ctx context.Context, ended policy.Attempt) policy.Decision {
	c := r.current()
	switch {
	case ended.Outcome.Succeeded():
		r.Succeeded(engine.Caller{})
		return policy.Decision{}
	case c.endsAtOnce(&ended):
		return policy.Decision{}
	}
	k, ok := ended.State.(*call)
	if !ok {
		k = &call{clock: &r.clock}
	}
	decided := false
	defer func() {
		if !decided { // a function of the user has panicked: the attempt that the call still holds a token for is not made
			k.giveBack()
		}
	}()
	if entered(&ended) {
		k.note(ended.Number, ended.Outcome)
	}
	wait, reason := c.decide(ctx, k, &ended)
	decided = true
	if reason != nil {
		return r.stop(k, &ended, reason)
	}
	if ended.Asked == 0 {
		r.scheduled.Add(1)
	}
	return policy.Decision{Again: true, Wait: wait, State: k}
}

// entered reports whether the attempt entered the operation.
func entered(ended *policy.Attempt) bool { return ended.Outcome.Kind == policy.Returned }

// stop ends the call for a reason. What the caller gets depends on how far the call has come:
//
//	the call                                                          the caller gets
//	no retry was in question                                          the error of the attempt, and there is no event
//	no attempt entered the operation, and the last was refused        that refusal
//	no attempt entered the operation, and a wait has ended the call   what ended it: a gate's refusal, or the context's error
//	any other                                                         an [*Error]
//
// No retry was in question if the first attempt has failed with an error that is final, or that says the reason itself, such
// as the error of a context that has ended. (An error that says less, such as context.Canceled where the context has a cause
// of its own, does not.)
func (r *Retrier) stop(k *call, ended *policy.Attempt, reason error) policy.Decision {
	k.giveBack()
	waited := ended.Asked > 0
	inQuestion := ended.Number > 1 || waited || reason != ErrFinal && !match.Is(ended.Outcome.Err, reason)
	switch {
	case !inQuestion:
		return policy.Decision{}
	case k.entered == 0 && !waited:
		return policy.Decision{Reason: reason}
	case k.entered == 0:
		return policy.Decision{Err: reason, Reason: reason}
	}
	r.gaveUp.Add(1)
	return policy.Decision{Err: k.giveUp(r.current().name, reason), Reason: reason}
}

// String returns the name and the number of attempts, such as `retry 4` or `retry "users" 4`.
func (r *Retrier) String() string {
	c := r.current()
	if c.name != "" {
		return fmt.Sprintf("retry %q %d", c.name, c.attempts)
	}
	return fmt.Sprintf("retry %d", c.attempts)
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
