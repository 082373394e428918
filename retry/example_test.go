package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func Example() {
	again := retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, 2*time.Second))

	fetchUser := func(ctx context.Context) (string, error) {
		if retry.Attempt(ctx) < 3 {
			return "", errors.New("connection reset")
		}
		return "Ada", nil
	}
	user, err := resilience.Do(context.Background(), again, fetchUser)
	fmt.Println(user, err)
	// Output: Ada <nil>
}

// What the caller gets when there is no further attempt.
func ExampleError() {
	again := retry.New()

	_, err := resilience.Do(context.Background(), again, func(context.Context) (string, error) {
		return "", errors.New("connection reset")
	})
	if gave, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(gave.Attempts, "attempts:", gave.Reason)
		fmt.Println("last error:", gave.Last)
	}
	// Output:
	// 3 attempts: attempts exhausted
	// last error: connection reset
}

func ExamplePermanent() {
	errNotFound := errors.New("not found")
	attempts := 0

	_, err := resilience.Do(context.Background(), retry.New(), func(context.Context) (string, error) {
		attempts++
		return "", fmt.Errorf("user 42: %w", retry.Permanent(errNotFound))
	})
	fmt.Println(attempts, "attempt:", err)
	fmt.Println(errors.Is(err, errNotFound))
	// Output:
	// 1 attempt: user 42: not found
	// true
}

func ExampleIf() {
	errBusy := errors.New("busy")
	again := retry.New(retry.If(func(err error) bool { return errors.Is(err, errBusy) }))

	_, err := resilience.Do(context.Background(), again, func(ctx context.Context) (string, error) {
		fmt.Println("attempt", retry.Attempt(ctx))
		if retry.Attempt(ctx) == 1 {
			return "", errBusy
		}
		return "", errors.New("bad request")
	})
	fmt.Println(errors.Is(err, retry.ErrFinal))
	// Output:
	// attempt 1
	// attempt 2
	// true
}

// A loop, where a function does not fit. The breaker is told of every pass.
func ExampleRetrier_Tries() {
	fetchUser := func(ctx context.Context) (string, error) {
		if retry.Attempt(ctx) == 1 {
			return "", errors.New("connection reset")
		}
		return "Ada", nil
	}
	again, db := retry.New(), breaker.New()
	ctx := context.Background()

	var user string
	var err error
	tries := again.Tries(ctx, db)
	for try := range tries.All() {
		user, err = fetchUser(try.Context())
		try.Done(err)
	}
	err = tries.Err()
	fmt.Println(user, err)
	// Output: Ada <nil>
}

// A failed attempt returns a response beside its error. Its body is closed when another attempt follows.
func ExampleOnDiscard() {
	again := retry.New(
		retry.OnDiscard(func(value any) {
			if resp, ok := value.(*http.Response); ok {
				resp.Body.Close()
				fmt.Println("closed", resp.StatusCode)
			}
		}),
	)
	get := func(ctx context.Context) (*http.Response, error) {
		if retry.Attempt(ctx) == 1 {
			return &http.Response{StatusCode: 503, Body: http.NoBody}, errors.New("unavailable")
		}
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	}

	resp, err := resilience.Do(context.Background(), again, get)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output:
	// closed 503
	// 200
}

// A delay from the number and the error of the attempt.
func ExampleDelay() {
	errLocked := errors.New("row is locked")
	again := retry.New(retry.Delay(func(ended policy.Attempt) time.Duration {
		if errors.Is(ended.Outcome.Err, errLocked) {
			return 20 * time.Millisecond // soon
		}
		return time.Duration(ended.Number) * time.Second
	}))

	_, err := resilience.Do(context.Background(), again, func(ctx context.Context) (string, error) {
		fmt.Println("attempt", retry.Attempt(ctx))
		return "", errLocked
	})
	fmt.Println(errors.Is(err, retry.ErrExhausted))
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
	// true
}

// As many retries at a time as a fifth of the attempts in flight, and always 3.
func ExampleNewConcurrencyBudget() {
	budget := retry.NewConcurrencyBudget(0.2, 3)
	backend := resilience.Compose(retry.New(retry.WithBudget(budget)), budget, breaker.New())

	fmt.Println(backend)
	// Output: retry 3 > retry concurrency budget 0.2, at least 3 > breaker
}

// Delays from package backoff: a new source for each call, no time limit of its own.
func ExampleBackOff() {
	again := retry.New(retry.Attempts(5), retry.BackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(50*time.Millisecond),
			backoff.WithRandomizationFactor(0), // the Retrier spreads the delays
			backoff.WithMaxElapsedTime(0),
		)
	}))

	user, err := resilience.Do(context.Background(), again, func(ctx context.Context) (string, error) {
		if retry.Attempt(ctx) < 4 {
			return "", errors.New("connection reset")
		}
		return "Ada", nil
	})
	fmt.Println(user, err)
	// Output: Ada <nil>
}

// busy is what an operation makes of an answer such as "429 Too Many Requests" with a Retry-After.
type busy struct{ wait time.Duration }

func (busy) Error() string                       { return "busy" }
func (b busy) RetryAfter() (time.Duration, bool) { return b.wait, true }

// A server's hint raises the delay. One that asks for too much ends the call, and stays visible.
func ExampleMaxRetryAfter() {
	again := retry.New(retry.MaxRetryAfter(10 * time.Second))

	_, err := resilience.Do(context.Background(), again, func(context.Context) (string, error) {
		return "", fmt.Errorf("list users: %w", busy{wait: time.Minute})
	})
	wait, _ := policy.RetryAfter(err)
	fmt.Println(errors.Is(err, retry.ErrRetryAfter), wait)
	// Output: true 1m0s
}

// One budget for all that retries against one dependency.
func ExampleNewBudget() {
	budget := retry.NewBudget(0.1, 1) // 10 % of the calls, and 1 per second
	reads := retry.New(retry.Attempts(5), retry.WithBudget(budget))
	writes := retry.New(retry.Attempts(2), retry.WithBudget(budget))

	var attempts atomic.Int64
	down := func(context.Context) (string, error) { attempts.Add(1); return "", errors.New("connection refused") }
	var calls sync.WaitGroup
	for range 500 {
		calls.Go(func() { _, _ = resilience.Do(context.Background(), reads, down) })
		calls.Go(func() { _, _ = resilience.Do(context.Background(), writes, down) })
	}
	calls.Wait()
	fmt.Println("1000 calls, fewer than 1150 attempts:", attempts.Load() < 1150)
	// Output: 1000 calls, fewer than 1150 attempts: true
}

// The retry throttling that services configure for gRPC.
func ExampleNewTokenBudget() {
	again := retry.New(retry.WithBudget(retry.NewTokenBudget(10, 0.1)))
	fmt.Println(again.Snapshot().Budget.Tokens)
	// Output: 10
}

// A consumer of a queue has time, and nobody else to hand the message to: it waits until the breaker lets it through.
func ExampleAwaitRecovery() {
	patient := retry.New(retry.AwaitRecovery(2 * time.Second))
	db := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(100*time.Millisecond))
	backend := resilience.Compose(patient, db)

	err := backend.Run(context.Background(), func(ctx context.Context) error {
		if retry.Attempt(ctx) == 1 {
			return errors.New("restarting") // opens the breaker
		}
		return nil
	})
	fmt.Println(err)
	// Output: <nil>
}

// A payment is repeated only if it is certain that nothing was sent.
func ExampleNotIdempotent() {
	again := retry.New()
	ctx := retry.NotIdempotent(context.Background())

	pay := func(err error) (attempts int) {
		_, _ = resilience.Do(ctx, again, func(context.Context) (string, error) {
			attempts++
			return "", err
		})
		return attempts
	}
	fmt.Println(pay(errors.New("connection lost while waiting for the answer")))
	fmt.Println(pay(retry.NotSent(errors.New("connection refused"))))
	// Output:
	// 1
	// 3
}
