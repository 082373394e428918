package bench

import (
	"context"
	"time"

	eapache "github.com/eapache/go-resiliency/deadline"
	"github.com/failsafe-go/failsafe-go"
	failsafetimeout "github.com/failsafe-go/failsafe-go/timeout"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/timeout"
)

func timeouts() []subject {
	return []subject{
		{"timeout", ours, shared(func() call {
			pipeline := resilience.Compose(timeout.PerAttempt(time.Minute))
			return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) }
		})},
		{"timeout", "context-by-hand", shared(func() call { return withTimeout })},
		{"timeout", "failsafe-go", failsafeDerived(func() []failsafe.Policy[int] {
			return []failsafe.Policy[int]{failsafetimeout.New[int](time.Minute)}
		})},
		{"timeout", "eapache", shared(func() call {
			limit := eapache.New(time.Minute)
			return func(ctx context.Context) bool {
				var value int
				err := limit.Run(func(<-chan struct{}) (err error) {
					value, err = fetch(ctx)
					return err
				})
				return fetched(value, err)
			}
		})},

		{"timeout-caller-sooner", ours, shared(func() call {
			pipeline := resilience.Compose(timeout.PerAttempt(time.Hour))
			return inTime(func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, fetch)) })
		})},
		{"timeout-caller-sooner", "context-by-hand", shared(func() call { return inTime(withTimeout) })},
		{"timeout-caller-sooner", "failsafe-go", shared(func() call {
			executor := failsafe.With[int](failsafetimeout.New[int](time.Hour))
			return inTime(failsafeDerivedCall(executor, fetch))
		})},

		{"timeout-waiting", ours, shared(func() call {
			pipeline := resilience.Compose(timeout.PerAttempt(time.Minute))
			return leaving(func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, await)) })
		})},
		{"timeout-waiting", "context-by-hand", shared(func() call {
			return leaving(func(ctx context.Context) bool {
				ctx, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				return fetched(await(ctx))
			})
		})},
		{"timeout-waiting", "failsafe-go", shared(func() call {
			return leaving(failsafeDerivedCall(failsafe.With[int](failsafetimeout.New[int](time.Minute)), await))
		})},
	}
}

func withTimeout(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	return fetched(fetch(ctx))
}

// await is an operation that waits for something or for its context, as those do that use the network.
func await(ctx context.Context) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	default:
		return fetch(ctx)
	}
}

// leaving makes the calls of a caller who could leave at any time, as the client of a server can.
func leaving(c call) call {
	ctx, cancel := context.WithCancel(context.Background())
	_ = cancel // it lasts as long as the process
	return func(context.Context) bool { return c(ctx) }
}

// inTime makes the calls of a caller who has a deadline, in half an hour.
func inTime(c call) call {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	_ = cancel // it lasts as long as the process
	return func(context.Context) bool { return c(ctx) }
}

// failsafeDerived is a pipeline of failsafe-go whose operation gets the context that the policies derived.
func failsafeDerived(make func() []failsafe.Policy[int]) func() func() call {
	return shared(func() call { return failsafeDerivedCall(failsafe.With(make()...), fetch) })
}

func failsafeDerivedCall(executor failsafe.Executor[int], op operation) call {
	return func(ctx context.Context) bool {
		return fetched(executor.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[int]) (int, error) {
			return op(e.Context())
		}))
	}
}
