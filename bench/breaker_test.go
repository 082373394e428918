package bench

import (
	"context"
	"errors"
	"time"

	eapache "github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
)

func breakers() []subject {
	consecutive := func() *breaker.Breaker { return breaker.New() }
	lastCalls := func() *breaker.Breaker { return breaker.New(breaker.FailureRate(0.5, 20), breaker.CountWindow(100)) }
	failsafeConsecutive := func() circuitbreaker.CircuitBreaker[int] {
		return circuitbreaker.NewBuilder[int]().WithFailureThreshold(5).Build()
	}
	failsafeLastCalls := func() circuitbreaker.CircuitBreaker[int] {
		return circuitbreaker.NewBuilder[int]().WithFailureThresholdRatio(50, 100).Build()
	}
	return []subject{
		{"breaker-consecutive", ours, breakerInPipeline(consecutive)},
		{"breaker-consecutive", "resilience-single", shared(func() call {
			b := consecutive()
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, b, fetch)) }
		})},
		{"breaker-consecutive", "gobreaker", gobreakerClosed(gobreaker.Settings{})},
		{"breaker-consecutive", "failsafe-go", failsafeBreaker(failsafeConsecutive)},
		{"breaker-consecutive", "failsafe-go-bare", failsafeBareBreaker(failsafeConsecutive)},
		{"breaker-consecutive", "eapache", shared(func() call {
			b := eapache.New(5, 1, 5*time.Second)
			return func(ctx context.Context) bool {
				var value int
				err := b.Run(func() (err error) {
					value, err = fetch(ctx)
					return err
				})
				return fetched(value, err)
			}
		})},
		{"breaker-consecutive", "rubyist", rubyistClosed(rubyist.ConsecutiveTripFunc(5))},

		{"breaker-count-window", ours, breakerInPipeline(lastCalls)},
		{"breaker-count-window", "failsafe-go", failsafeBreaker(failsafeLastCalls)},
		{"breaker-count-window", "failsafe-go-bare", failsafeBareBreaker(failsafeLastCalls)},

		{"breaker-time-window", ours, breakerInPipeline(rateBreaker)},
		{"breaker-time-window", "gobreaker", gobreakerClosed(rollingSettings)},
		{"breaker-time-window", "failsafe-go", failsafeBreaker(failsafeRateBreaker)},
		{"breaker-time-window", "failsafe-go-bare", failsafeBareBreaker(failsafeRateBreaker)},
		{"breaker-time-window", "rubyist", rubyistClosed(rubyist.RateTripFunc(0.5, 20))}, // 10 s in 10 buckets by default

		{"breaker-open", ours, shared(func() call {
			b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Hour))
			pipeline := resilience.Compose(b)
			_, err := resilience.Do(context.Background(), pipeline, fail)
			mustBe(err, errBackend)
			_, err = resilience.Do(context.Background(), pipeline, fetch)
			mustBe(err, breaker.ErrOpen)
			return func(ctx context.Context) bool { return refused(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"breaker-open", "gobreaker", shared(func() call {
			b := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
				Timeout:     time.Hour,
				ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= 1 },
			})
			_, err := b.Execute(func() (int, error) { return 0, errBackend })
			mustBe(err, errBackend)
			_, err = b.Execute(func() (int, error) { return answer, nil })
			mustBe(err, gobreaker.ErrOpenState)
			return func(ctx context.Context) bool {
				return refused(b.Execute(func() (int, error) { return fetch(ctx) }))
			}
		})},
		{"breaker-open", "failsafe-go", shared(func() call {
			b := circuitbreaker.NewBuilder[int]().WithDelay(time.Hour).Build()
			b.Open()
			executor := failsafe.With[int](b)
			_, err := executor.Get(func() (int, error) { return answer, nil })
			mustBe(err, circuitbreaker.ErrOpen)
			return func(ctx context.Context) bool {
				return refused(executor.WithContext(ctx).Get(func() (int, error) { return fetch(ctx) }))
			}
		})},
		{"breaker-open", "eapache", shared(func() call {
			b := eapache.New(1, 1, time.Hour)
			mustBe(b.Run(func() error { return errBackend }), errBackend)
			mustBe(b.Run(func() error { return nil }), eapache.ErrBreakerOpen)
			return func(ctx context.Context) bool {
				var value int
				err := b.Run(func() (err error) {
					value, err = fetch(ctx)
					return err
				})
				return refused(value, err)
			}
		})},
		{"breaker-open", "rubyist", shared(func() call {
			b := newRubyist(rubyist.ConsecutiveTripFunc(1), time.Hour)
			ctx := context.Background()
			mustBe(b.CallContext(ctx, func() error { return errBackend }, 0), errBackend)
			mustBe(b.CallContext(ctx, func() error { return nil }, 0), rubyist.ErrBreakerOpen)
			return func(ctx context.Context) bool { return refused(throughRubyist(ctx, b)) }
		})},
	}
}

func newRubyist(trip rubyist.TripFunc, open time.Duration) *rubyist.Breaker {
	return rubyist.NewBreakerWithOptions(&rubyist.Options{ShouldTrip: trip, BackOff: openFor(open)})
}

// openFor keeps a breaker of rubyist open for the same time after each trip, as the others do. By default it computes a random
// one at each success.
type openFor time.Duration

func (o openFor) NextBackOff() time.Duration { return time.Duration(o) }
func (openFor) Reset()                       {}

func rubyistClosed(trip rubyist.TripFunc) func() func() call {
	return shared(func() call {
		b := newRubyist(trip, 5*time.Second)
		return func(ctx context.Context) bool { return fetched(throughRubyist(ctx, b)) }
	})
}

// throughRubyist is a call without the timeout of the breaker, which would take a goroutine and a timer.
func throughRubyist(ctx context.Context, b *rubyist.Breaker) (value int, err error) {
	err = b.CallContext(ctx, func() (err error) {
		value, err = fetch(ctx)
		return err
	}, 0)
	return value, err
}

// rateBreaker opens at half of at least 20 calls of the last 10 seconds; the peers' below too.
func rateBreaker() *breaker.Breaker { return breaker.New(breaker.FailureRate(0.5, 20)) }

var rollingSettings = gobreaker.Settings{
	Interval:     10 * time.Second,
	BucketPeriod: time.Second,
	ReadyToTrip: func(counts gobreaker.Counts) bool {
		return counts.Requests >= 20 && 2*counts.TotalFailures >= counts.Requests
	},
}

func failsafeRateBreaker() circuitbreaker.CircuitBreaker[int] {
	return circuitbreaker.NewBuilder[int]().WithFailureRateThreshold(0.5, 20, 10*time.Second).Build()
}

func breakerInPipeline(make func() *breaker.Breaker) func() func() call {
	return shared(func() call {
		pipeline := resilience.Compose(make())
		return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
	})
}

func gobreakerClosed(settings gobreaker.Settings) func() func() call {
	return shared(func() call {
		b := gobreaker.NewCircuitBreaker[int](settings)
		return func(ctx context.Context) bool {
			return fetched(b.Execute(func() (int, error) { return fetch(ctx) }))
		}
	})
}

func failsafeBreaker(make func() circuitbreaker.CircuitBreaker[int]) func() func() call {
	return failsafeExecutor(func() []failsafe.Policy[int] { return []failsafe.Policy[int]{make()} })
}

// failsafeExecutor is a pipeline of failsafe-go whose operation gets the caller's context: the cheapest way where no
// policy derives one.
func failsafeExecutor(make func() []failsafe.Policy[int]) func() func() call {
	return shared(func() call {
		executor := failsafe.With(make()...)
		return func(ctx context.Context) bool {
			return fetched(executor.WithContext(ctx).Get(func() (int, error) { return fetch(ctx) }))
		}
	})
}

// failsafeBareBreaker is the breaker of failsafe-go without its executor. A panic of the operation would not be counted.
func failsafeBareBreaker(make func() circuitbreaker.CircuitBreaker[int]) func() func() call {
	return shared(func() call {
		b := make()
		return func(ctx context.Context) bool {
			if !b.TryAcquirePermit() {
				return false
			}
			value, err := fetch(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				b.RecordFailure()
			} else {
				b.RecordSuccess()
			}
			return fetched(value, err)
		}
	})
}
