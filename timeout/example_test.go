package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/timeout"
)

func ExampleTotal() {
	slow := func(ctx context.Context) (string, error) {
		select {
		case <-time.After(time.Minute):
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	_, err := resilience.Do(context.Background(), timeout.Total(time.Millisecond), slow)
	fmt.Println(err)
	fmt.Println(errors.Is(err, timeout.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// total timeout 1ms expired: context deadline exceeded
	// true true
}

func ExamplePerAttempt() {
	backend := resilience.Compose(timeout.Total(time.Second), timeout.PerAttempt(100*time.Millisecond))
	fmt.Println(backend)
	// Output:
	// total timeout 1s > attempt timeout 100ms
}
