package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/retry"
)

func Example() {
	again := retry.New(retry.Attempts(4), retry.Exponential(time.Millisecond, 50*time.Millisecond))

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
	again := retry.New(retry.Constant(0))

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
	again := retry.New(retry.Constant(0), retry.If(func(err error) bool { return errors.Is(err, errBusy) }))

	_, err := resilience.Do(context.Background(), again, func(ctx context.Context) (string, error) {
		fmt.Println("attempt", retry.Attempt(ctx))
		if retry.Attempt(ctx) == 1 {
			return "", errBusy
		}
		return "", errors.New("bad request")
	})
	fmt.Println(err)
	// Output:
	// attempt 1
	// attempt 2
	// bad request
}

// A loop, where a function does not fit.
func ExampleRetrier_Tries() {
	again := retry.New(retry.Constant(time.Millisecond))

	var user string
	tries := again.Tries(context.Background())
	for try := range tries.All() {
		if retry.Attempt(try.Context()) == 1 {
			try.Failed(errors.New("connection reset"))
			continue
		}
		user = "Ada"
	}
	fmt.Println(user, tries.Err())
	// Output: Ada <nil>
}

// Delays from package backoff: a new source for each call, no time limit of its own.
func ExampleBackOff() {
	again := retry.New(retry.Attempts(5), retry.BackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(time.Millisecond),
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
