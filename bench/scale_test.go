package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/sony/gobreaker/v2"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

// BenchmarkGuards is a success through more and more guards, on one goroutine.
func BenchmarkGuards(b *testing.B) {
	for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 8, 10, 15} {
		b.Run("resilience-idle/"+label(n), func(b *testing.B) { runSerial(b, throughLayers(n, newIdleGuard)) })
		b.Run("resilience/"+label(n), func(b *testing.B) {
			runSerial(b, throughLayers(n, func() policy.Layer { return bulkhead.New(unlimitedSlots) }))
		})
		b.Run("failsafe-go/"+label(n), func(b *testing.B) {
			worker := failsafeExecutor(func() (all []failsafe.Policy[int]) {
				for range n {
					all = append(all, failsafebulkhead.New[int](unlimitedSlots))
				}
				return all
			})()
			runSerial(b, worker())
		})
	}
}

func throughLayers(n int, make func() policy.Layer) call {
	var layers []policy.Layer
	for range n {
		layers = append(layers, make())
	}
	pipeline := resilience.Compose(layers...)
	return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
}

// idleGuard admits everything and remembers nothing, so that only the engine costs.
type idleGuard struct{ _ int }

func newIdleGuard() policy.Layer { return &idleGuard{} }

func (*idleGuard) Stage() policy.Stage { return policy.StageBulkhead }

func (*idleGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (*idleGuard) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// BenchmarkGoroutines is a success of the four policies on more and more goroutines on each core.
func BenchmarkGoroutines(b *testing.B) {
	for _, perCore := range []int{1, 4, 16, 64, 256, 1024} {
		for _, s := range pipelines() {
			if s.work == "four" && s.name != "failsafe-go-fixed-context" {
				b.Run(s.name+"/"+label(perCore), func(b *testing.B) { runParallel(b, s.make(), perCore) })
			}
		}
	}
}

// BenchmarkKeys is a success of a limiter per key with more and more keys, on all cores, by hand and ours.
func BenchmarkKeys(b *testing.B) {
	for _, count := range []int{1, 100, 1_000, 10_000, 100_000} {
		for _, s := range keyedLimiters(count) {
			if s.name != ours && !strings.HasPrefix(s.name, "x-time-rate-") {
				continue
			}
			b.Run(s.name+"/"+label(count), func(b *testing.B) {
				worker := s.make()
				b.Run("parallel", func(b *testing.B) { runParallel(b, worker, 1) })
			})
		}
	}
}

// BenchmarkBuckets is a success, and a failure that trips nothing, of a breaker whose time window of 100 s has more and
// more buckets, on one goroutine.
func BenchmarkBuckets(b *testing.B) {
	const window = 100 * time.Second
	for _, n := range []int{1, 10, 100, 1_000, 10_000} {
		rolling := func() *resilience.Pipeline {
			return resilience.Compose(breaker.New(breaker.FailureRate(1, 1<<40), breaker.TimeWindow(window, n)))
		}
		settings := gobreaker.Settings{
			Interval:     window,
			BucketPeriod: window / time.Duration(n),
			ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.Requests >= 1<<31 },
		}
		for _, outcome := range []struct {
			name string
			op   operation
			as   func(int, error) bool
		}{{"success", fetch, fetched}, {"failure", fail, refused}} {
			b.Run("resilience-"+outcome.name+"/"+label(n), func(b *testing.B) {
				pipeline := rolling()
				runSerial(b, func(ctx context.Context) bool { return outcome.as(resilience.Do(ctx, pipeline, outcome.op)) })
			})
			b.Run("gobreaker-"+outcome.name+"/"+label(n), func(b *testing.B) {
				cb := gobreaker.NewCircuitBreaker[int](settings)
				runSerial(b, func(ctx context.Context) bool {
					return outcome.as(cb.Execute(func() (int, error) { return outcome.op(ctx) }))
				})
			})
		}
	}
}
