package bench

import (
	"context"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// perKeyLimiters is ratelimit.PerKey, asked directly and through Do, with that many keys whose buckets are never full again
// and never empty.
func perKeyLimiters(count int) []subject {
	newLimiter := func() *ratelimit.PerKey[string] {
		return ratelimit.NewPerKey(1, unlimitedBurst, keyInContext, ratelimit.Keys(count))
	}
	return []subject{
		{"keyed-limiter", "resilience-per-key", perKey(count, func() func(context.Context, string) bool {
			return throughDo(newLimiter())
		})},
		{"keyed-limiter", "resilience-per-key-allow", perKey(count, func() func(context.Context, string) bool {
			limiter := newLimiter()
			return func(ctx context.Context, key string) bool { return limiter.Allow(key) && fetched(fetch(ctx)) }
		})},
	}
}

func throughDo(guard policy.Guard) func(context.Context, string) bool {
	return func(ctx context.Context, key string) bool {
		if c, ok := ctx.(*keyedContext); ok {
			c.key = key // as if there were a context for each request, which is not what is measured
			return fetched(resilience.Do(ctx, guard, fetch))
		}
		return fetched(resilience.Do(&keyedContext{ctx, key}, guard, fetch))
	}
}

// keyedContext is a context with the key of a request.
type keyedContext struct {
	context.Context
	key string
}

func keyInContext(ctx context.Context) string { return ctx.(*keyedContext).key }

// leastGuard does the least that any limiter per key does: it reads the clock, hashes the key, and swaps a word. It limits
// nobody. What it takes is what there is to gain.
type leastGuard struct {
	seed  maphash.Seed
	start time.Time
	words []struct{ hash, word atomic.Int64 }
}

func newLeastGuard(count int) *leastGuard {
	g := &leastGuard{seed: maphash.MakeSeed(), start: time.Now()}
	g.words = make([]struct{ hash, word atomic.Int64 }, 1<<bits.Len(uint(count+count/4)))
	return g
}

func (g *leastGuard) allow(key string) bool {
	now := int64(time.Since(g.start))
	word := &g.words[maphash.Comparable(g.seed, key)&uint64(len(g.words)-1)].word
	for {
		if was := word.Load(); word.CompareAndSwap(was, max(was, now)+1) {
			return true
		}
	}
}

func (g *leastGuard) Stage() policy.Stage { return policy.StageRateLimit }

func (g *leastGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	g.allow(keyInContext(ctx))
	return ctx, policy.Ticket{}, nil
}

func (g *leastGuard) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// leastPerKey is leastGuard, asked directly and through Do.
func leastPerKey(count int) []subject {
	return []subject{
		{"keyed-limiter", "least", perKey(count, func() func(context.Context, string) bool {
			return throughDo(newLeastGuard(count))
		})},
		{"keyed-limiter", "least-allow", perKey(count, func() func(context.Context, string) bool {
			least := newLeastGuard(count)
			return func(ctx context.Context, key string) bool { return least.allow(key) && fetched(fetch(ctx)) }
		})},
	}
}

// BenchmarkPerKey is a success of a limiter per key with more and more keys, in random order, by everybody.
func BenchmarkPerKey(b *testing.B) {
	for _, count := range []int{1, 1_000, 100_000, 1_000_000} {
		for _, s := range slices.Concat(perKeyLimiters(count), leastPerKey(count), keyedLimiters(count)) {
			b.Run(s.name+"/"+label(count), func(b *testing.B) {
				worker := s.make()
				b.Run("serial", func(b *testing.B) {
					use, ctx := worker(), &keyedContext{Context: context.Background()}
					b.ReportAllocs()
					for b.Loop() {
						if !use(ctx) {
							b.Fatal("wrong result")
						}
					}
				})
				b.Run("parallel", func(b *testing.B) {
					b.ReportAllocs()
					b.RunParallel(func(pb *testing.PB) {
						use, ctx := worker(), &keyedContext{Context: context.Background()}
						for pb.Next() {
							if !use(ctx) {
								b.Error("wrong result")
								return
							}
						}
					})
				})
			})
		}
	}
}

// BenchmarkPerKeyInAFlood is a success of 1,000 keys that are there, while another goroutine brings ever new ones, and while
// it does the same to a limiter of its own.
func BenchmarkPerKeyInAFlood(b *testing.B) {
	const residents = 1_000
	for _, room := range []int{10_000, 1_000_000} {
		for _, flooded := range []string{"its own", "another"} {
			b.Run(flooded+"/"+label(room), func(b *testing.B) {
				newLimiter := func() *ratelimit.PerKey[uint64] {
					return ratelimit.NewPerKey[uint64](1, unlimitedBurst, nil, ratelimit.Keys(room))
				}
				limiter := newLimiter()
				target := limiter
				if flooded == "another" {
					target = newLimiter()
				}
				for key := range uint64(residents) {
					limiter.Allow(key)
				}
				for key := range uint64(2 * room) { // it is full
					target.Allow(1<<40 + key)
				}
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					for key := uint64(1 << 50); ; key++ {
						select {
						case <-stop:
							return
						default:
							target.Allow(key)
						}
					}
				}()
				next := uint32(1)
				b.ResetTimer()
				for b.Loop() {
					next = next*1664525 + 1013904223
					if !limiter.Allow(uint64(next) * residents >> 32) {
						b.Fatal("a resident was refused")
					}
				}
				close(stop)
				<-done
			})
		}
	}
}

func TestPerKeySubjects(t *testing.T) {
	for _, s := range perKeyLimiters(100) {
		if !strings.HasPrefix(s.name, ours) {
			t.Errorf("%s is not ours", s.name)
		}
	}
	for _, s := range append(perKeyLimiters(100), leastPerKey(100)...) {
		use := s.make()()
		for range 300 {
			if !use(t.Context()) {
				t.Fatalf("%s: wrong result", s.name)
			}
		}
	}
}
