package bench

import (
	"context"
	"time"

	avast "github.com/avast/retry-go/v5"
	backoff4 "github.com/cenkalti/backoff/v4"
	backoff5 "github.com/cenkalti/backoff/v5"
	eapache "github.com/eapache/go-resiliency/retrier"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	sethvargo "github.com/sethvargo/go-retry"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/retry"
)

// operation is what a caller hands to a policy.
type operation = func(context.Context) (int, error)

// retryFirst is the work of a call whose first attempt succeeds, with the delays that each library has by default;
// retryThird that of one whose first two attempts fail, without delays.
func retries() []subject {
	first := func(name string, make func() func(operation) call) subject {
		return subject{"retry-first-attempt", name, func() func() call {
			with := make()
			return func() call { return with(fetch) }
		}}
	}
	third := func(name string, make func() func(operation) call) subject {
		return subject{"retry-two-failures", name, func() func() call {
			with := make()
			return func() call { return with(thirdTime()) }
		}}
	}
	resilient := func(options ...retry.Option) func() func(operation) call {
		return func() func(operation) call {
			pipeline := resilience.Compose(retry.New(options...))
			return func(op operation) call {
				return func(ctx context.Context) bool { return fetched(resilience.Do(ctx, pipeline, op)) }
			}
		}
	}
	avastRetrier := func(options ...avast.Option) func() func(operation) call {
		return func() func(operation) call {
			retrier := avast.NewWithData[int](append(options, avast.Attempts(3))...)
			return func(op operation) call {
				return func(ctx context.Context) bool {
					return fetched(retrier.Do(func() (int, error) { return op(ctx) }))
				}
			}
		}
	}
	eapacheRetrier := func(delay time.Duration) func() func(operation) call {
		return func() func(operation) call {
			retrier := eapache.New(eapache.ExponentialBackoff(2, delay), nil)
			return func(op operation) call {
				return func(ctx context.Context) bool {
					var value int
					err := retrier.RunCtx(ctx, func(ctx context.Context) (err error) {
						value, err = op(ctx)
						return err
					})
					return fetched(value, err)
				}
			}
		}
	}
	failsafeRetry := func(make func() retrypolicy.RetryPolicy[int]) func() func(operation) call {
		return func() func(operation) call {
			executor := failsafe.With[int](make())
			return func(op operation) call {
				return func(ctx context.Context) bool {
					return fetched(executor.WithContext(ctx).Get(func() (int, error) { return op(ctx) }))
				}
			}
		}
	}
	backoffV4 := func(delays func() backoff4.BackOff) func() func(operation) call {
		return func() func(operation) call {
			return func(op operation) call {
				return func(ctx context.Context) bool {
					b := backoff4.WithContext(backoff4.WithMaxRetries(delays(), 2), ctx)
					return fetched(backoff4.RetryWithData(func() (int, error) { return op(ctx) }, b))
				}
			}
		}
	}
	backoffV5 := func(delays func() backoff5.BackOff) func() func(operation) call {
		return func() func(operation) call {
			return func(op operation) call {
				return func(ctx context.Context) bool {
					return fetched(backoff5.Retry(ctx, func() (int, error) { return op(ctx) },
						backoff5.WithBackOff(delays()), backoff5.WithMaxTries(3)))
				}
			}
		}
	}
	sethvargoRetry := func(delays func() sethvargo.Backoff, retryable func(error) error) func() func(operation) call {
		return func() func(operation) call {
			return func(op operation) call {
				return func(ctx context.Context) bool {
					return fetched(sethvargo.DoValue(ctx, sethvargo.WithMaxRetries(2, delays()), func(ctx context.Context) (int, error) {
						value, err := op(ctx)
						if err != nil {
							err = retryable(err)
						}
						return value, err
					}))
				}
			}
		}
	}
	zero := func(uint, error, avast.DelayContext) time.Duration { return 0 }
	return []subject{
		first(ours, resilient()),
		first("failsafe-go", failsafeRetry(func() retrypolicy.RetryPolicy[int] {
			return retrypolicy.NewBuilder[int]().WithBackoff(100*time.Millisecond, 10*time.Second).Build()
		})),
		first("backoff-v4", backoffV4(func() backoff4.BackOff { return backoff4.NewExponentialBackOff() })),
		first("backoff-v5", backoffV5(func() backoff5.BackOff { return backoff5.NewExponentialBackOff() })),
		first("avast-v5", avastRetrier()),
		first("sethvargo", sethvargoRetry(func() sethvargo.Backoff { return sethvargo.NewExponential(100 * time.Millisecond) }, sethvargo.RetryableError)),
		first("eapache", eapacheRetrier(100*time.Millisecond)),

		// Without a budget, as with the peers: it would run dry, since every call needs two retries.
		third(ours, resilient(retry.Constant(0), retry.NoJitter(), retry.NoBudget())),
		third("failsafe-go", failsafeRetry(func() retrypolicy.RetryPolicy[int] { return retrypolicy.NewWithDefaults[int]() })),
		third("backoff-v4", backoffV4(func() backoff4.BackOff { return &backoff4.ZeroBackOff{} })),
		third("backoff-v5", backoffV5(func() backoff5.BackOff { return &backoff5.ZeroBackOff{} })),
		third("avast-v5", avastRetrier(avast.DelayType(zero))),
		third("sethvargo", sethvargoRetry(func() sethvargo.Backoff {
			return sethvargo.BackoffFunc(func() (time.Duration, bool) { return 0, false })
		}, sethvargo.RetryableError)),
		third("eapache", eapacheRetrier(0)),
	}
}
