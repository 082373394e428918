package timeout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/detached"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
)

// Abandoner bounds how long an attempt may take, and does not wait for an operation that ignores its context. It is
// made by [Abandon]. It is a [policy.Wrapper] and safe for concurrent use.
type Abandoner struct {
	group    *detached.Group
	expired  atomic.Uint64
	rejected atomic.Uint64

	mu      sync.Mutex // held by Reconfigure
	config  atomic.Pointer[abandonConfig]
	changed atomic.Bool // by Reconfigure
}

var (
	_ policy.Opener      = (*Abandoner)(nil)
	_ policy.Discarder   = (*Abandoner)(nil)
	_ policy.Checker     = (*Abandoner)(nil)
	_ policy.Idler       = (*Abandoner)(nil)
	_ policy.TimeLimiter = (*Abandoner)(nil)
	_ policy.Reporter    = (*Abandoner)(nil)
	_ fmt.Stringer       = (*Abandoner)(nil)
	_ policy.Policy[int] = AbandonPolicy[int]{}
)

// crowded is the refusal of all Abandoners: they have no names.
var crowded = &policy.Rejection{Kind: scopeAbandoned.kind, Reason: ErrMaxRunning}

// Abandon returns a timeout for each attempt that returns when limit has passed, even if the operation goes on: its
// context has ended, but it does not look. Use it only for operations that cannot be made to honour their context;
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
// An Abandoner stands between the rate limiter and the bulkhead, so that an abandoned operation keeps its slot: no
// more operations than the bulkhead allows are ever running. So limit includes the wait in the bulkhead's queue.
// Composing refuses an Abandoner that is inside a bulkhead, unless there is another bulkhead inside.
//
// Of a result that stays open (resilience.Open) limit bounds the operation only.
//
// Abandon panics with a [*policy.ConfigError] when limit is not positive or an option is wrong; see
// [ValidateAbandon].
func Abandon(limit time.Duration, opts ...AbandonOption) *Abandoner {
	a := &Abandoner{}
	c, err := a.configure("timeout.Abandon", nil, limit, opts)
	if err != nil {
		panic(err)
	}
	a.group = detached.NewGroup(c.group)
	a.config.Store(c)
	return a
}

// ValidateAbandon returns the [*policy.ConfigError] that [Abandon] would panic with, or nil.
func ValidateAbandon(limit time.Duration, opts ...AbandonOption) error {
	_, err := new(Abandoner).configure("timeout.Abandon", nil, limit, opts)
	return err
}

// Reconfigure changes the limit and the options, as if the Abandoner had been made with them; functions that are not
// given stay. Operations that run already keep their limit, and are not cut short by a lower bound of [MaxRunning]. It
// returns the [*policy.ConfigError] that [Abandon] would panic with, and then changes nothing. It is safe while the
// Abandoner is in use.
func (a *Abandoner) Reconfigure(limit time.Duration, opts ...AbandonOption) error {
	a.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := a.configure("timeout.Abandoner.Reconfigure", a.current(), limit, opts)
	if err != nil {
		return err
	}
	a.changed.Store(true) // first: a new Abandoner would not have what changes
	a.group.Configure(c.group)
	a.config.Store(c)
	return nil
}

// current returns the configuration in force. It panics for the zero value.
func (a *Abandoner) current() *abandonConfig {
	if a != nil {
		if c := a.config.Load(); c != nil {
			return c
		}
	}
	panic("timeout: an Abandoner that was not made by Abandon")
}

// TimeLimit returns the time that an attempt is granted.
func (a *Abandoner) TimeLimit() time.Duration { return a.current().limit }

// Stage returns a stage between [policy.StageRateLimit] and [policy.StageBulkhead].
func (a *Abandoner) Stage() policy.Stage {
	a.current()
	return scopeAbandoned.stage
}

// String returns the limit: "abandoning timeout 300ms".
func (a *Abandoner) String() string {
	return fmt.Sprintf("%s %v", scopeAbandoned.kind, a.current().limit)
}

// Run implements [policy.Wrapper].
func (a *Abandoner) Run(caller context.Context, call func(context.Context) error) error {
	c := a.current()
	ctx, end := context.WithTimeoutCause(caller, c.limit, c.expiry)
	return a.run(caller, ctx, end, func() error {
		defer end()
		return call(ctx)
	})
}

// Open implements [policy.Opener]. The limit ends when the operation has returned.
func (a *Abandoner) Open(caller context.Context, call func(ctx context.Context, end context.CancelFunc) error) error {
	ctx, lift, end := withLiftable(caller, &a.current().grant)
	return a.run(caller, ctx, end, func() error {
		returned := false
		defer func() {
			if !returned {
				end()
			}
		}()
		err := call(ctx, end) // which ends ctx itself, unless there is something to be read in it
		returned = true
		lift()
		return err
	})
}

// run waits for operation, which runs under ctx, for as long as ctx lives. end ends ctx.
func (a *Abandoner) run(caller, ctx context.Context, end context.CancelFunc, operation func() error) error {
	runs := a.group.Runs(1)
	if !runs.Go(operation) {
		end()
		a.rejected.Add(1)
		return crowded
	}
	defer runs.Leave()
	select {
	case ending := <-runs.Endings():
		return a.ended(ctx, ending)
	case <-ctx.Done():
		return a.afterEnd(caller, ctx, runs)
	}
}

// afterEnd ends the attempt when ctx has ended, and the operation not yet or in the same moment. The first line that holds
// counts:
//
//	the operation has ended in the same moment          its result stands
//	the limit has passed                                the operation is abandoned
//	the operation has ended ctx itself, and returns     its result (by Run's end, or the one that Open hands over)
//	the caller's context has ended                      its result if it comes within the grace, otherwise that context's error
func (a *Abandoner) afterEnd(caller, ctx context.Context, runs *detached.Runs) error {
	select {
	case ending := <-runs.Endings():
		return a.ended(ctx, ending)
	default:
	}
	if expiry := expiryOf(ctx, a); expiry != nil {
		a.expired.Add(1)
		return expiry
	}
	select {
	case ending := <-runs.Endings():
		return a.ended(ctx, ending)
	case <-caller.Done():
	}
	timer := time.NewTimer(detached.Grace)
	defer timer.Stop()
	select {
	case ending := <-runs.Endings():
		return a.ended(ctx, ending)
	case <-timer.C:
		return policy.ContextError(caller)
	}
}

// ended ends the caller as the operation has ended. An error after the limit says so; for a [Timeout] the engine sees to that, see
// [Timeout.Settle].
func (a *Abandoner) ended(ctx context.Context, ending detached.Ending) error {
	err := ending.Resume()
	if err == nil {
		return nil
	}
	expiry := expiryOf(ctx, a)
	if expiry == nil {
		return err
	}
	a.expired.Add(1)
	if match.Is(err, expiry) {
		return err
	}
	return engine.CausedBy(expiry, err)
}

// Discard implements [policy.Discarder]: it hands the result of an abandoned operation to the function given to
// [OnDiscard].
func (a *Abandoner) Discard(value any) {
	a.current()
	a.group.Discard(value)
}

// Idle reports whether a new Abandoner in this one's place would be the same: no operation is running, and it was never
// reconfigured.
func (a *Abandoner) Idle() bool {
	a.current()
	return !a.changed.Load() && a.group.Counts().Running == 0
}

// Check reports a timeout outside that is not longer, and a bulkhead outside without one inside: it would give the slot
// of an abandoned operation to the next one.
func (a *Abandoner) Check(outer, inner []policy.Layer) error {
	problems := []error{below(a.TimeLimit(), outer)}
	if around := bulkhead(outer); around != nil && bulkhead(inner) == nil {
		problems = append(problems, fmt.Errorf(
			"is inside %v, which abandoned operations would outlive: leave it where it belongs, outside the bulkhead", around))
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

// AbandonPolicy is an [Abandoner] as a policy for results of type T.
type AbandonPolicy[T any] struct{ Abandoner *Abandoner }

// Do runs op and returns in time. It panics when the Abandoner, ctx or op is nil.
func (p AbandonPolicy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Abandoner == nil {
		panic("timeout: AbandonPolicy without an Abandoner")
	}
	return engine.DoLayer(ctx, p.Abandoner, op)
}
