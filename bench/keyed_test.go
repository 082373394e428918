package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	sethvargo "github.com/sethvargo/go-limiter"
	sethvargostore "github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	ululestore "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/ratelimit"
)

// keyedLimiters is a limiter per key, with that many keys that are all there, asked for in random order.
func keyedLimiters(count int) []subject {
	return []subject{
		{"keyed-limiter", ours, perKey(count, func() func(context.Context, string) bool {
			limiters := keyed.New(func(string) *ratelimit.Limiter {
				return ratelimit.New(unlimitedRate, unlimitedBurst)
			}, keyed.Max(2*count))
			return func(ctx context.Context, key string) bool {
				return fetched(resilience.Do(ctx, limiters.Get(key), fetch))
			}
		})},
		{"keyed-limiter", "x-time-rate-mutex-map", perKey(count, func() func(context.Context, string) bool {
			var mu sync.Mutex
			limiters := make(map[string]*rate.Limiter)
			return func(ctx context.Context, key string) bool {
				mu.Lock()
				limiter, ok := limiters[key]
				if !ok {
					limiter = rate.NewLimiter(unlimitedRate, unlimitedBurst)
					limiters[key] = limiter
				}
				mu.Unlock()
				return limiter.Allow() && fetched(fetch(ctx))
			}
		})},
		{"keyed-limiter", "x-time-rate-sync-map", perKey(count, func() func(context.Context, string) bool {
			var limiters sync.Map
			return func(ctx context.Context, key string) bool {
				limiter, ok := limiters.Load(key)
				if !ok {
					limiter, _ = limiters.LoadOrStore(key, rate.NewLimiter(unlimitedRate, unlimitedBurst))
				}
				return limiter.(*rate.Limiter).Allow() && fetched(fetch(ctx))
			}
		})},
		{"keyed-limiter", "sethvargo-limiter", perKey(count, func() func(context.Context, string) bool {
			return sethvargoAllows(newSethvargoStore(unlimitedBurst, time.Hour), fetched)
		})},
		{"keyed-limiter", "throttled", perKey(count, func() func(context.Context, string) bool {
			return throttledAllows(newThrottled(0, throttledUnlimited), fetched)
		})},
		{"keyed-limiter", "throttled-lru", perKey(count, func() func(context.Context, string) bool {
			return throttledAllows(newThrottled(2*count, throttledUnlimited), fetched)
		})},
		{"keyed-limiter", "ulule-limiter", perKey(count, func() func(context.Context, string) bool {
			return ululeAllows(newUlule(ulule.Rate{Period: time.Second, Limit: unlimitedBurst}), fetched)
		})},
	}
}

// sethvargoStore closes a store of go-limiter, which keeps a goroutine that sweeps it, when nobody uses it any more.
type sethvargoStore struct{ sethvargo.Store }

// newSethvargoStore allows that many calls per interval. Version 0.7.1, the newest that could be had, refills too little
// where there are many tokens (its issue 29): intervals are so long here that no benchmark sees the end of one.
func newSethvargoStore(tokens uint64, interval time.Duration) *sethvargoStore {
	store, err := sethvargostore.New(&sethvargostore.Config{Tokens: tokens, Interval: interval})
	mustBe(err, nil)
	s := &sethvargoStore{store}
	runtime.AddCleanup(s, func(store sethvargo.Store) { _ = store.Close(context.Background()) }, store)
	return s
}

func sethvargoAllows(store *sethvargoStore, as func(int, error) bool) func(context.Context, string) bool {
	return func(ctx context.Context, key string) bool {
		_, _, _, ok, err := store.Take(ctx, key)
		if err != nil {
			return false
		}
		if !ok {
			return as(0, errNoToken)
		}
		return as(fetch(ctx))
	}
}

var throttledUnlimited = throttled.RateQuota{MaxRate: throttled.PerSec(unlimitedRate), MaxBurst: unlimitedBurst - 1}

// newThrottled keeps at most maxKeys keys, or any number if that is 0. It tries until nobody comes in between: by default it
// fails after ten times, which can happen where every core uses the same key.
func newThrottled(maxKeys int, quota throttled.RateQuota) *throttled.GCRARateLimiterCtx {
	store, err := memstore.NewCtx(maxKeys)
	mustBe(err, nil)
	limiter, err := throttled.NewGCRARateLimiterCtx(store, quota)
	mustBe(err, nil)
	limiter.SetMaxCASAttemptsLimit(math.MaxInt)
	return limiter
}

func throttledAllows(limiter *throttled.GCRARateLimiterCtx, as func(int, error) bool) func(context.Context, string) bool {
	return func(ctx context.Context, key string) bool {
		limited, _, err := limiter.RateLimitCtx(ctx, key, 1)
		if err != nil {
			return false
		}
		if limited {
			return as(0, errNoToken)
		}
		return as(fetch(ctx))
	}
}

// newUlule sweeps its keys every 30 seconds, as it does by default, until it is garbage.
func newUlule(rate ulule.Rate) *ulule.Limiter { return ulule.New(ululestore.NewStore(), rate) }

func ululeAllows(limiter *ulule.Limiter, as func(int, error) bool) func(context.Context, string) bool {
	return func(ctx context.Context, key string) bool {
		state, err := limiter.Get(ctx, key)
		if err != nil {
			return false
		}
		if state.Reached {
			return as(0, errNoToken)
		}
		return as(fetch(ctx))
	}
}

// perKey makes the calls of a subject for one key after the other, each goroutine in an order of its own.
func perKey(count int, make func() func(context.Context, string) bool) func() func() call {
	return func() func() call {
		use := make()
		useKeys(count, use)
		keys := keysOf(count) // a key that comes with a request is equal to the one that is kept, but not the same string
		return func() call {
			next := rand.Uint32()
			return func(ctx context.Context) bool {
				next = next*1664525 + 1013904223 // a linear congruential generator: the high bits are random enough
				return use(ctx, keys[uint64(next)*uint64(len(keys))>>32])
			}
		}
	}
}

func keysOf(count int) []string {
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf("tenant-%07d", i)
	}
	return keys
}
