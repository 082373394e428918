package bench

import (
	"context"
	"time"

	eapache "github.com/eapache/go-resiliency/breaker"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"github.com/throttled/throttled/v2"
	ulule "github.com/ulule/limiter/v3"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func instances() []instance {
	const n = 10_000
	return []instance{
		{"breaker-consecutive/resilience", n, many(func() *breaker.Breaker { return breaker.New() })},
		{"breaker-consecutive/gobreaker", n, many(func() *gobreaker.CircuitBreaker[int] {
			return gobreaker.NewCircuitBreaker[int](gobreaker.Settings{})
		})},
		{"breaker-consecutive/failsafe-go", n, many(func() circuitbreaker.CircuitBreaker[int] {
			return circuitbreaker.NewBuilder[int]().WithFailureThreshold(5).Build()
		})},
		{"breaker-consecutive/eapache", n, many(func() *eapache.Breaker { return eapache.New(5, 1, time.Second) })},
		{"breaker-consecutive/rubyist", n, many(func() *rubyist.Breaker { return rubyist.NewConsecutiveBreaker(5) })},
		{"breaker-count-window/resilience", n, many(func() *breaker.Breaker {
			return breaker.New(breaker.FailureRate(0.5, 20), breaker.CountWindow(100))
		})},
		{"breaker-count-window/failsafe-go", n, many(func() circuitbreaker.CircuitBreaker[int] {
			return circuitbreaker.NewBuilder[int]().WithFailureThresholdRatio(50, 100).Build()
		})},
		{"breaker-time-window/resilience", n, many(rateBreaker)},
		{"breaker-time-window/gobreaker", n, many(func() *gobreaker.CircuitBreaker[int] {
			return gobreaker.NewCircuitBreaker[int](rollingSettings)
		})},
		{"breaker-time-window/failsafe-go", n, many(failsafeRateBreaker)},
		{"breaker-time-window/rubyist", n, many(func() *rubyist.Breaker { return rubyist.NewRateBreaker(0.5, 20) })},
		{"retry/resilience", n, many(func() *retry.Retrier { return retry.New() })},
		{"retry/failsafe-go", n, many(func() retrypolicy.RetryPolicy[int] { return retrypolicy.NewWithDefaults[int]() })},
		{"limiter/resilience", n, many(func() *ratelimit.Limiter { return ratelimit.New(100, 10) })},
		{"limiter/x-time-rate", n, many(func() *rate.Limiter { return rate.NewLimiter(100, 10) })},
		{"limiter/failsafe-go", n, many(func() ratelimiter.RateLimiter[int] { return ratelimiter.NewBursty[int](100, time.Second) })},
		{"bulkhead/resilience", n, many(func() *bulkhead.Bulkhead { return bulkhead.New(16) })},
		{"bulkhead/x-sync-semaphore", n, many(func() *semaphore.Weighted { return semaphore.NewWeighted(16) })},
		{"bulkhead/failsafe-go", n, many(func() failsafebulkhead.Bulkhead[int] { return failsafebulkhead.New[int](16) })},
		{"timeout/resilience", n, many(func() *timeout.Timeout { return timeout.PerAttempt(time.Second) })},
		{"hedge/resilience", 100, many(func() *hedge.Hedge { return hedge.New() })},
		{"four-composed/resilience", n, many(func() *resilience.Pipeline { return resilience.Compose(four()...) })},
		{"four-composed/by-hand", n, many(newByHand)},
		{"keyed-limiter-per-key/resilience", 100_000, func(count int) any {
			limiters := keyed.New(func(string) *ratelimit.Limiter { return ratelimit.New(100, 10) }, keyed.Max(2*count))
			for _, key := range keysOf(count) {
				limiters.Get(key)
			}
			return limiters
		}},
		{"keyed-limiter-per-key/x-time-rate-mutex-map", 100_000, func(count int) any {
			limiters := make(map[string]*rate.Limiter)
			for _, key := range keysOf(count) {
				limiters[key] = rate.NewLimiter(100, 10)
			}
			return limiters
		}},
		{"keyed-limiter-per-key/sethvargo-limiter", 100_000, func(count int) any {
			store := newSethvargoStore(10, 100*time.Millisecond)
			useKeys(count, sethvargoAllows(store, fetched))
			return store
		}},
		{"keyed-limiter-per-key/throttled", 100_000, func(count int) any { return usedThrottled(count, 0) }},
		{"keyed-limiter-per-key/throttled-lru", 100_000, func(count int) any { return usedThrottled(count, 2*count) }},
		{"keyed-limiter-per-key/ulule-limiter", 100_000, func(count int) any {
			limiters := newUlule(ulule.Rate{Period: 100 * time.Millisecond, Limit: 10})
			useKeys(count, ululeAllows(limiters, fetched))
			return limiters
		}},
	}
}

func usedThrottled(count, maxKeys int) any {
	limiters := newThrottled(maxKeys, throttled.RateQuota{MaxRate: throttled.PerSec(100), MaxBurst: 9})
	useKeys(count, throttledAllows(limiters, fetched))
	return limiters
}

// useKeys makes a limiter keep that many keys.
func useKeys(count int, use func(context.Context, string) bool) {
	for _, key := range keysOf(count) {
		must(use(context.Background(), key), "the first call of a key")
	}
}
