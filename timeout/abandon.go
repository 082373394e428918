package timeout

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/hold"
	"github.com/go-resilience/resilience/policy"
)

// ErrMaxRunning is the reason of the rejection of an attempt that finds the bound of [MaxRunning] reached.
var ErrMaxRunning = errors.New("too many operations are running, abandoned ones included")

// stageAbandon is inside the rate limiter and outside the bulkhead: an abandoned operation must keep its permit.
const stageAbandon = (policy.StageRateLimit + policy.StageBulkhead) / 2

// Abandoner bounds how long an attempt may take, and does not wait for an operation that ignores its context. It is
// made by [Abandon]. It is a [policy.Wrapper] and safe for concurrent use.
type Abandoner struct {
	limit    time.Duration
	cause    *Error
	group    *detached.Group
	crowded  *policy.Rejection
	expired  atomic.Uint64
	rejected atomic.Uint64
}

var (
	_ policy.Wrapper   = (*Abandoner)(nil)
	_ policy.Discarder = (*Abandoner)(nil)
	_ policy.Checker   = (*Abandoner)(nil)
	_ fmt.Stringer     = (*Abandoner)(nil)
)

// Abandon returns a timeout for each attempt that returns when limit has passed, even if the operation goes on: its
// context has ended, but it does not look. Use it only for operations that cannot be made to heed their context;
// [PerAttempt] leaves nothing behind.
//
// The price is that each operation runs on a goroutine of its own, and that an abandoned one goes on, behind the
// caller's back: what it does may still take effect, it must not touch what belongs to the caller, and its result is
// dropped, see [OnDiscard]. Abandoned operations are counted in [AbandonSnapshot]. At most [MaxRunning] operations
// run at a time, abandoned ones included; further attempts are refused with [ErrMaxRunning], so the promise to return
// in time is kept for all that are admitted.
//
// A panic of the operation, and [runtime.Goexit], reach the caller on its own goroutine: what it recovers is the very
// value, and a crash prints the stack of the operation as well. After the attempt was abandoned a panic is contained,
// counted and handed to [OnPanic]. When the caller's own context ends, the attempt returns within 10 ms.
//
// An Abandoner stands between the rate limiter and the bulkhead, so that an abandoned operation keeps its permit: no
// more operations than the bulkhead allows are ever running. So limit includes the wait in the bulkhead's queue.
// Composing refuses an Abandoner that is inside a bulkhead, unless there is another bulkhead inside.
//
// Abandon panics with a [*policy.ConfigError] when limit is not positive or an option makes no sense; see
// [ValidateAbandon].
func Abandon(limit time.Duration, opts ...AbandonOption) *Abandoner {
	group, err := configure(limit, opts)
	if err != nil {
		panic(err)
	}
	a := &Abandoner{limit: limit, group: group, crowded: &policy.Rejection{Kind: "abandoning timeout", Reason: ErrMaxRunning}}
	a.cause = &Error{Limit: limit, scope: "abandoning timeout", by: a}
	return a
}

// ValidateAbandon returns the [*policy.ConfigError] that [Abandon] would panic with, or nil.
func ValidateAbandon(limit time.Duration, opts ...AbandonOption) error {
	_, err := configure(limit, opts)
	return err
}

// Limit returns the time that an attempt is granted.
func (a *Abandoner) Limit() time.Duration { return a.limit }

// Stage returns a stage between [policy.StageRateLimit] and [policy.StageBulkhead].
func (a *Abandoner) Stage() policy.Stage { return stageAbandon }

// String returns the limit: "abandoning timeout 300ms".
func (a *Abandoner) String() string { return fmt.Sprintf("abandoning timeout %v", a.limit) }

// Run implements [policy.Wrapper].
func (a *Abandoner) Run(caller context.Context, call func(context.Context) error) error {
	derived, cancel := context.WithTimeoutCause(caller, a.limit, a.cause)
	ctx := hold.New(derived, cancel)
	calls := a.group.Calls(1)
	if !calls.Go(func() error { return call(ctx) }) {
		cancel()
		a.rejected.Add(1)
		return a.crowded
	}
	defer calls.Leave()
	select {
	case ending := <-calls.Endings():
		return a.end(ctx, ending)
	case <-ctx.Done():
	}
	select {
	case ending := <-calls.Endings(): // both at once: a result stands
		return a.end(ctx, ending)
	default:
	}
	if causedBy(ctx, a) {
		a.expired.Add(1)
		return a.cause
	}
	timer := time.NewTimer(detached.Grace)
	defer timer.Stop()
	select {
	case ending := <-calls.Endings():
		return a.end(ctx, ending)
	case <-timer.C:
		return policy.ContextError(caller)
	}
}

// end ends the caller as the operation has ended. An error after the limit says so. Where the operation is abandoned
// instead, its context has ended already.
func (a *Abandoner) end(ctx *hold.Context, ending detached.Ending) error {
	expired := causedBy(ctx, a)
	ctx.Settle(ending.Returned() && ending.Err == nil)
	err := ending.Resume()
	if err == nil || !expired {
		return err
	}
	a.expired.Add(1)
	if errors.Is(err, a.cause) {
		return err
	}
	return &expiredError{cause: a.cause, err: err}
}

// expiredError is the error of an operation whose time was over.
type expiredError struct {
	cause *Error
	err   error
}

func (e *expiredError) Error() string   { return fmt.Sprintf("%v: %v", e.cause, e.err) }
func (e *expiredError) Unwrap() []error { return []error{e.cause, e.err} }

// Discard implements [policy.Discarder]: it hands the result of an abandoned operation to the function given to
// [OnDiscard].
func (a *Abandoner) Discard(value any) { a.group.Discard(value) }

// Check reports a timeout further out that is not longer, and a bulkhead further out without one further in: it would
// give the permit of an abandoned operation to the next one.
func (a *Abandoner) Check(outer, inner []policy.Layer) error {
	problems := []error{below(a.limit, outer)}
	if around := bulkhead(outer); around != nil && bulkhead(inner) == nil {
		problems = append(problems, fmt.Errorf("is inside %v, which abandoned operations would outlive: leave it where it belongs, outside the bulkhead", around))
	}
	return errors.Join(problems...)
}

// bulkhead returns the first of layers that is a bulkhead, wherever it was moved to.
func bulkhead(layers []policy.Layer) policy.Layer {
	for _, layer := range layers {
		if layer.Stage() == policy.StageBulkhead {
			return layer
		}
	}
	return nil
}

// AbandonSnapshot is what an [Abandoner] is and has done, at one moment.
type AbandonSnapshot struct {
	Limit     time.Duration
	Expired   uint64 // attempts that it ended
	Rejected  uint64 // attempts that it refused with ErrMaxRunning
	Running   int    // operations that run now
	Abandoned int    // those of them whose caller has left
	Discarded uint64 // successful results of abandoned operations
	Panics    uint64 // panics of abandoned operations, or in the function given to OnDiscard
}

// Snapshot returns what the Abandoner has done so far. It changes nothing.
func (a *Abandoner) Snapshot() AbandonSnapshot {
	counts := a.group.Counts()
	return AbandonSnapshot{
		Limit: a.limit, Expired: a.expired.Load(), Rejected: a.rejected.Load(),
		Running: counts.Running, Abandoned: counts.Left, Discarded: counts.Discarded, Panics: counts.Panics,
	}
}

// AbandonPolicy is an [Abandoner] as a policy for results of type T.
type AbandonPolicy[T any] struct{ Abandoner *Abandoner }

var _ policy.Policy[int] = AbandonPolicy[int]{}

// Do runs op and returns in time. It panics when the Abandoner, ctx or op is nil.
func (p AbandonPolicy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Abandoner == nil {
		panic("timeout: AbandonPolicy without an Abandoner")
	}
	return engine.DoLayer(ctx, p.Abandoner, op)
}
