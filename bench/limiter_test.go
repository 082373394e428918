package bench

import (
	"context"
	"errors"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/throttled/throttled/v2"
	ulule "github.com/ulule/limiter/v3"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/ratelimit"
)

var errNoToken = errors.New("no token")

// busyLimiter is never full again once it was used, and never empty.
func busyLimiter() *ratelimit.Limiter { return ratelimit.New(1, ratelimit.MaxBurst) }

func limiters() []subject {
	return []subject{
		{"limiter-allow", ours, shared(func() call {
			pipeline := resilience.Compose(ratelimit.New(unlimitedRate, unlimitedBurst))
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"limiter-allow", "x-time-rate", shared(func() call {
			return allowed(rate.NewLimiter(unlimitedRate, unlimitedBurst), fetched)
		})},
		{"limiter-allow", "failsafe-go", failsafeExecutor(func() []failsafe.Policy[int] {
			return []failsafe.Policy[int]{failsafeLimiter()}
		})},
		{"limiter-allow", "failsafe-go-bare", shared(func() call {
			limiter := failsafeLimiter()
			return func(ctx context.Context) bool {
				if !limiter.TryAcquirePermit() {
					return false
				}
				return fetched(fetch(ctx))
			}
		})},
		{"limiter-allow", "uber-ratelimit", shared(func() call {
			limiter := uber.New(unlimitedRate) // one per nanosecond: it never sleeps
			return func(ctx context.Context) bool {
				limiter.Take()
				return fetched(fetch(ctx))
			}
		})},
		{"limiter-allow", "sethvargo-limiter", oneKey(func() func(context.Context, string) bool {
			return sethvargoAllows(newSethvargoStore(unlimitedBurst, time.Hour), fetched)
		})},
		{"limiter-allow", "throttled", oneKey(func() func(context.Context, string) bool {
			return throttledAllows(newThrottled(0, throttledUnlimited), fetched)
		})},
		{"limiter-allow", "ulule-limiter", oneKey(func() func(context.Context, string) bool {
			return ululeAllows(newUlule(ulule.Rate{Period: time.Second, Limit: unlimitedBurst}), fetched)
		})},

		{"limiter-busy", ours, shared(func() call {
			pipeline := resilience.Compose(busyLimiter())
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"limiter-busy", "x-time-rate", shared(func() call {
			return allowed(rate.NewLimiter(1, ratelimit.MaxBurst), fetched)
		})},

		{"limiter-reject", ours, shared(func() call {
			pipeline := resilience.Compose(ratelimit.Every(1000*time.Hour, 1))
			_, err := resilience.Do(context.Background(), pipeline, fetch)
			mustBe(err, nil)
			_, err = resilience.Do(context.Background(), pipeline, fetch)
			mustBe(err, ratelimit.ErrLimited)
			return func(ctx context.Context) bool { return refused(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"limiter-reject", "x-time-rate", shared(func() call {
			limiter := rate.NewLimiter(rate.Every(1000*time.Hour), 1)
			must(limiter.Allow(), "the first token")
			return allowed(limiter, refused)
		})},
		{"limiter-reject", "failsafe-go", shared(func() call {
			limiter := ratelimiter.NewBursty[int](1, 1000*time.Hour)
			must(limiter.TryAcquirePermit(), "the first token")
			executor := failsafe.With[int](limiter)
			_, err := executor.Get(func() (int, error) { return answer, nil })
			mustBe(err, ratelimiter.ErrExceeded)
			return func(ctx context.Context) bool {
				return refused(executor.WithContext(ctx).Get(func() (int, error) { return fetch(ctx) }))
			}
		})},
		{"limiter-reject", "failsafe-go-bare", shared(func() call {
			limiter := ratelimiter.NewBursty[int](1, 1000*time.Hour)
			must(limiter.TryAcquirePermit(), "the first token")
			return func(ctx context.Context) bool { return !limiter.TryAcquirePermit() }
		})},
		{"limiter-reject", "sethvargo-limiter", oneKey(func() func(context.Context, string) bool {
			store := newSethvargoStore(1, 1000*time.Hour)
			must(sethvargoAllows(store, fetched)(context.Background(), theKey), "the first token")
			return sethvargoAllows(store, refused)
		})},
		{"limiter-reject", "throttled", oneKey(func() func(context.Context, string) bool {
			limiter := newThrottled(0, throttled.RateQuota{MaxRate: throttled.PerDuration(1, 1000*time.Hour)})
			must(throttledAllows(limiter, fetched)(context.Background(), theKey), "the first token")
			return throttledAllows(limiter, refused)
		})},
		{"limiter-reject", "ulule-limiter", oneKey(func() func(context.Context, string) bool {
			limiter := newUlule(ulule.Rate{Period: 1000 * time.Hour, Limit: 1})
			must(ululeAllows(limiter, fetched)(context.Background(), theKey), "the first token")
			return ululeAllows(limiter, refused)
		})},
	}
}

// theKey is that of those who only know limiters per key.
const theKey = "tenant-0000000"

func oneKey(make func() func(context.Context, string) bool) func() func() call {
	return shared(func() call {
		use := make()
		return func(ctx context.Context) bool { return use(ctx, theKey) }
	})
}

func failsafeLimiter() ratelimiter.RateLimiter[int] {
	return ratelimiter.NewBursty[int](unlimitedBurst, time.Second)
}

// allowed is a call behind rate.Limiter, as one writes it by hand.
func allowed(limiter *rate.Limiter, as func(int, error) bool) call {
	return func(ctx context.Context) bool {
		if !limiter.Allow() {
			return as(0, errNoToken)
		}
		return as(fetch(ctx))
	}
}
