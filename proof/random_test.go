package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

const ms = time.Millisecond

// random is a pipeline of policies that chance has chosen, and what is known of the calls through it.
type random struct {
	pipeline *resilience.Pipeline
	plain    *resilience.Pipeline // the guards alone, for Acquire; nil if there are none
	rest     []func() error       // what must be at rest in the end
	tally    tally

	mu       sync.Mutex
	contexts []context.Context // that operations were given
	problems []string

	made, got, discarded atomic.Int64 // results
	calls, ended         atomic.Int64
	opened               atomic.Int64
}

// tally is an observer that counts what began and ended.
type tally struct{ calls, settled atomic.Int64 }

func (t *tally) Observe(_ context.Context, event policy.Event) {
	switch event.Kind {
	case policy.EventCall:
		t.calls.Add(1)
	case policy.EventSettled:
		t.settled.Add(1)
	}
}

func newRandom(chance *rand.Rand) *random {
	r := &random{}
	pick := func() bool { return chance.IntN(3) > 0 }
	var guards, layers []policy.Layer
	atRest := func(what string, ok func() bool, snapshot func() any) {
		r.rest = append(r.rest, func() error {
			if !ok() {
				return fmt.Errorf("%s at rest: %+v", what, snapshot())
			}
			return nil
		})
	}
	discard := func(any) { r.discarded.Add(1) }
	if pick() {
		guards = append(guards, timeout.Total(time.Duration(100+chance.IntN(400))*ms))
	}
	if pick() {
		layers = append(layers, retry.New(retry.Attempts(2+chance.IntN(2)), retry.Constant(5*ms), retry.NoBudget()))
	}
	if pick() {
		guards = append(guards, throttle.New(throttle.Window(time.Second, 5), throttle.Padding(2)))
	}
	if pick() {
		h := hedge.New(hedge.Idempotent(), hedge.After(time.Duration(1+chance.IntN(30))*ms), hedge.Extra(1+chance.IntN(2)),
			hedge.AfterFailure(), hedge.Limit(1, 1000), hedge.MaxRunning(20), hedge.OnDiscard(discard))
		layers = append(layers, h)
		atRest("the hedge", func() bool { s := h.Snapshot(); return s.Running == 0 && s.Left == 0 }, func() any { return h.Snapshot() })
	}
	probes := 1 + chance.IntN(2)
	breakers := keyed.New(func(int) *breaker.Breaker {
		return breaker.New(breaker.FailureRate(0.6, 5), breaker.CountWindow(10), breaker.OpenFor(20*ms), breaker.Probes(probes),
			breaker.ProbeLease(time.Second))
	}, keyed.Max(4))
	check := func(b *breaker.Breaker) error {
		if s := b.Snapshot(); s.InFlight != 0 || s.Requests != s.Successes+s.Failures+s.Neutral+s.Stale {
			return fmt.Errorf("the breaker at rest: %+v", s)
		}
		return nil
	}
	switch chance.IntN(3) {
	case 0:
		guards = append(guards, breakers.Get(0))
	case 1:
		guards = append(guards, keyed.By(func(context.Context) int { return rand.IntN(4) }, breakers))
	}
	r.rest = append(r.rest, func() error {
		for _, b := range breakers.All() {
			if err := check(b); err != nil {
				return err
			}
		}
		return nil
	})
	if pick() {
		l := ratelimit.New(400, 20, ratelimit.MaxWait(time.Duration(1+chance.IntN(50))*ms))
		guards = append(guards, l)
		atRest("the limiter", func() bool { s := l.Snapshot(); return s.Waiting == 0 && s.Returned <= s.Admitted }, func() any { return l.Snapshot() })
	}
	if chance.IntN(4) == 0 {
		a := timeout.Abandon(time.Duration(71+chance.IntN(29))*ms, timeout.MaxRunning(20), timeout.OnDiscard(discard))
		layers = append(layers, a)
		atRest("the abandoner", func() bool { s := a.Snapshot(); return s.Running == 0 && s.Abandoned == 0 }, func() any { return a.Snapshot() })
	}
	if pick() {
		b := bulkhead.New(2+chance.IntN(6), bulkhead.Queue(chance.IntN(5)+1, 30*ms))
		if chance.IntN(3) == 0 {
			b = bulkhead.Adaptive(bulkhead.AIMD(20*ms), 2, 8, bulkhead.Queue(3, 30*ms))
		}
		if chance.IntN(4) == 0 {
			b = bulkhead.New(4, bulkhead.Shadow())
		}
		guards = append(guards, b)
		atRest("the bulkhead", func() bool { s := b.Snapshot(); return s.InFlight == 0 && s.Waiting == 0 }, func() any { return b.Snapshot() })
	}
	if pick() {
		guards = append(guards, timeout.PerAttempt(time.Duration(10+chance.IntN(60))*ms))
	}
	r.pipeline = resilience.Compose(append(append(layers, guards...), resilience.Observe(&r.tally))...)
	r.plain = resilience.Compose(append(guards, resilience.Observe(&r.tally))...)
	return r
}

func (r *random) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// answered is an error that is an answer, which is still to be read.
type answered struct{ error }

func (answered) Live() bool      { return true }
func (a answered) Unwrap() error { return a.error }

// canceled is when the caller of a call has cancelled it, in nanoseconds of Unix time, or 0. Contexts of calls carry a pointer.
type canceled struct{ at atomic.Int64 }

// endedBefore reports whether the caller's context had ended before now. A context that ends at the very moment at which an
// attempt begins may end on either side of the last look at it.
func endedBefore(ctx context.Context, now time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(now) {
		return true
	}
	at := ctx.Value((*canceled)(nil)).(*canceled).at.Load()
	return at != 0 && at < now.UnixNano()
}

// op ends in one of the ways in which operations end.
func (r *random) op(ctx context.Context) (context.Context, error) {
	r.mu.Lock()
	r.contexts = append(r.contexts, ctx)
	r.mu.Unlock()
	if endedBefore(ctx, time.Now()) {
		r.problem("entered under a context that had ended")
	}
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch rand.IntN(20) {
	case 0:
		panic(panicValue)
	case 1:
		runtime.Goexit()
	case 2, 3, 4:
		return ctx, errDown
	case 5, 6:
		return ctx, answered{errDown}
	case 7:
		return ctx, permanent{errIgnored}
	case 8: // does not look at its context
		time.Sleep(time.Duration(rand.IntN(100)) * ms)
	case 9: // hangs until somebody has had enough
		if err := wait(5 * time.Second); err != nil {
			return ctx, err
		}
	default:
		if err := wait(time.Duration(rand.IntN(30)) * ms); err != nil {
			return ctx, err
		}
	}
	r.made.Add(1)
	return ctx, nil
}

// settle ends a permit in one of the ways in which that happens.
func (r *random) settle(permit *policy.Permit, cancel context.CancelFunc) {
	time.Sleep(time.Duration(rand.IntN(200)) * ms)
	first := false
	switch rand.IntN(7) {
	case 0:
		first = permit.Done(errDown)
	case 1:
		first = permit.Settle(policy.Outcome{Kind: policy.Panicked})
	case 2:
		first = permit.Settle(policy.Outcome{Kind: policy.Exited})
	case 3:
		cancel()
		first = permit.Done(permit.Context().Err())
	default:
		first = permit.Done(nil)
	}
	if !first || permit.Done(nil) {
		r.problem("a permit is not settled once")
	}
}

// call makes a call of some kind. Everything has ended, or will, when it returns.
func (r *random) call(ctx context.Context, later *sync.WaitGroup) {
	record := new(canceled)
	ctx, end := context.WithCancel(context.WithValue(ctx, (*canceled)(nil), record))
	cancel := func() {
		record.at.CompareAndSwap(0, time.Now().UnixNano())
		end()
	}
	switch rand.IntN(20) {
	case 0: // a call that comes too late
		cancel()
		time.Sleep(ms)
	case 1, 2, 3, 4:
		time.AfterFunc(time.Duration(rand.IntN(60))*ms, cancel)
	}
	r.calls.Add(1)
	keep := false
	defer func() {
		_ = recover()
		r.ended.Add(1)
		if !keep {
			cancel()
		}
	}()
	switch rand.IntN(4) {
	case 0:
		if _, err := resilience.Do(ctx, r.pipeline, r.op); err == nil {
			r.got.Add(1)
		}
	case 1:
		permit, err := r.plain.Acquire(ctx)
		if (err == nil) != (permit != nil) {
			r.problem("Acquire: %v and a permit: %v", err, permit != nil)
		}
		if err == nil {
			r.mu.Lock()
			r.contexts = append(r.contexts, permit.Context())
			r.mu.Unlock()
			keep = true
			later.Go(func() { defer cancel(); r.settle(permit, cancel) })
		}
	default:
		work, permit, err := resilience.Open(ctx, r.pipeline, r.op)
		if err == nil {
			r.got.Add(1)
		}
		var live answered
		switch {
		case permit == nil && err == nil:
			r.problem("a success without a permit")
		case permit == nil:
			if permit.Done(nil) {
				r.problem("a nil permit was settled")
			}
		case err != nil && !errors.As(err, &live) && ctx.Err() == nil:
			r.problem("a permit beside %v", err)
		default:
			if work != permit.Context() {
				r.problem("the permit has not the context of the operation: %v", err)
			}
			r.opened.Add(1)
			keep = true
			later.Go(func() { defer cancel(); r.settle(permit, cancel) })
		}
	}
}

// Random pipelines, all kinds of calls at once: every call ends, ledgers balance, every result has one owner, gauges are zero at
// the end, every context has ended, and no goroutine is left, or the bubble would not end.
func TestRandomPipelines(t *testing.T) {
	pipelines := testsize.Pick(200, 5000)
	var calls, opened int64
	for i := range pipelines {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(uint64(i), 13))
			r := newRandom(chance)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var callers, later sync.WaitGroup
			for range 8 {
				callers.Go(func() {
					for range 6 {
						done := make(chan struct{})
						go func() {
							defer close(done)
							r.call(ctx, &later)
						}()
						<-done
						time.Sleep(time.Duration(rand.IntN(20)) * ms)
					}
				})
			}
			callers.Wait()
			later.Wait()
			time.Sleep(time.Minute) // what was left behind
			synctest.Wait()
			require.Empty(t, r.problems, "%d: %v", i, r.pipeline)
			for _, rest := range r.rest {
				require.NoError(t, rest(), "%d: %v", i, r.pipeline)
			}
			for _, ctx := range r.contexts {
				require.Error(t, ctx.Err(), "%d: a context lives on: %v", i, r.pipeline)
			}
			require.Equal(t, r.calls.Load(), r.ended.Load())
			require.Equal(t, r.calls.Load(), r.tally.calls.Load(), "%d: events of calls: %v", i, r.pipeline)
			require.Equal(t, r.made.Load(), r.got.Load()+r.discarded.Load(), "%d: owners of results: %v", i, r.pipeline)
			calls += r.calls.Load()
			opened += r.opened.Load()
		})
	}
	t.Logf("%d calls, %d open results in %d pipelines: ledgers balance", calls, opened, pipelines)
}
