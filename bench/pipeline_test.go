package bench

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	failsafefallback "github.com/failsafe-go/failsafe-go/fallback"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/fallback"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

const (
	totalLimit   = 30 * time.Second
	attemptLimit = 2 * time.Second
	substitute   = 7 // the fallback's answer
)

// pipelines is retry, breaker with a failure rate over a time window, limiter and bulkhead ("four"); the same between a
// total and an attempt timeout, whose operation waits for its context ("six-waiting") or does not look at it ("six"); and
// that inside a fallback.
func pipelines() []subject {
	return []subject{
		{"six-waiting", ours, shared(func() call {
			pipeline := resilience.Compose(six()...)
			return leaving(func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, await)) })
		})},
		{"six-waiting", "failsafe-go", shared(func() call {
			return leaving(failsafeDerivedCall(failsafe.With(failsafeSix()...), await))
		})},
		{"six-waiting", "by-hand", shared(func() call {
			h := newByHand()
			return leaving(func(ctx context.Context) bool { return fetched(h.six(ctx, await)) })
		})},

		{"four", ours, shared(func() call {
			pipeline := resilience.Compose(four()...)
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"four", "resilience-busy", shared(func() call {
			pipeline := resilience.Compose(retry.New(), rateBreaker(), busyLimiter(), bulkhead.New(unlimitedSlots))
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"four", "failsafe-go", failsafeExecutor(failsafeFour)},
		{"four", "failsafe-go-fixed-context", shared(func() call {
			executor := failsafe.With(failsafeFour()...)
			return func(ctx context.Context) bool {
				return fetched(executor.Get(func() (int, error) { return fetch(ctx) }))
			}
		})},
		{"four", "by-hand", shared(func() call {
			h := newByHand()
			return func(ctx context.Context) bool { return fetched(h.four(ctx, fetch)) }
		})},

		{"six", ours, shared(func() call {
			pipeline := resilience.Compose(six()...)
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"six", "failsafe-go", failsafeDerived(failsafeSix)},
		{"six", "failsafe-go-fixed-context", shared(func() call {
			executor := failsafe.With(failsafeSix()...)
			return func(context.Context) bool {
				return fetched(executor.GetWithExecution(func(e failsafe.Execution[int]) (int, error) {
					return fetch(e.Context())
				}))
			}
		})},
		{"six", "by-hand", shared(func() call {
			h := newByHand()
			return func(ctx context.Context) bool { return fetched(h.six(ctx, fetch)) }
		})},

		{"six-fallback", ours, shared(func() call {
			guarded := fallback.Value(resilience.For[int](resilience.Compose(six()...)), substitute)
			return func(ctx context.Context) bool { return fetched(guarded.Do(ctx, fetch)) }
		})},
		{"six-fallback", "failsafe-go", failsafeDerived(func() []failsafe.Policy[int] {
			return append([]failsafe.Policy[int]{failsafefallback.NewWithResult(substitute)}, failsafeSix()...)
		})},
		{"six-fallback", "by-hand", shared(func() call {
			h := newByHand()
			return func(ctx context.Context) bool {
				value, err := h.six(ctx, fetch)
				if err != nil {
					value, err = substitute, nil
				}
				return fetched(value, err)
			}
		})},
	}
}

func four() []policy.Layer {
	return []policy.Layer{retry.New(), rateBreaker(), ratelimit.New(unlimitedRate, unlimitedBurst), bulkhead.New(unlimitedSlots)}
}

func six() []policy.Layer {
	return append(four(), timeout.Total(totalLimit), timeout.PerAttempt(attemptLimit))
}

func failsafeFour() []failsafe.Policy[int] {
	return []failsafe.Policy[int]{
		retrypolicy.NewBuilder[int]().WithBackoff(100*time.Millisecond, 10*time.Second).Build(),
		failsafeRateBreaker(),
		failsafeLimiter(),
		failsafebulkhead.New[int](unlimitedSlots),
	}
}

func failsafeSix() []failsafe.Policy[int] {
	all := append([]failsafe.Policy[int]{failsafetimeout.New[int](totalLimit)}, failsafeFour()...)
	return append(all, failsafetimeout.New[int](attemptLimit))
}

// byHand is what one writes without a library for all of it.
type byHand struct {
	breaker *gobreaker.CircuitBreaker[int]
	limiter *rate.Limiter
	slots   *semaphore.Weighted
}

func newByHand() *byHand {
	return &byHand{
		breaker: gobreaker.NewCircuitBreaker[int](rollingSettings),
		limiter: rate.NewLimiter(unlimitedRate, unlimitedBurst),
		slots:   semaphore.NewWeighted(unlimitedSlots),
	}
}

func (h *byHand) four(ctx context.Context, op operation) (int, error) {
	attempt := func() (int, error) {
		return h.breaker.Execute(func() (int, error) {
			if !h.limiter.Allow() {
				return 0, errNoToken
			}
			if !h.slots.TryAcquire(1) {
				return 0, errFull
			}
			defer h.slots.Release(1)
			return op(ctx)
		})
	}
	delays := backoff.WithContext(backoff.WithMaxRetries(backoff.NewExponentialBackOff(), 2), ctx)
	return backoff.RetryWithData(attempt, delays)
}

func (h *byHand) six(ctx context.Context, op operation) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, totalLimit)
	defer cancel()
	return h.four(ctx, func(ctx context.Context) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, attemptLimit)
		defer cancel()
		return op(ctx)
	})
}
