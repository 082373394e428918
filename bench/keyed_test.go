package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

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
	}
}

// perKey makes the calls of a subject for one key after the other, each goroutine in an order of its own.
func perKey(count int, make func() func(context.Context, string) bool) func() func() call {
	return func() func() call {
		use := make()
		for _, key := range keysOf(count) {
			must(use(context.Background(), key), "the first call of a key")
		}
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
