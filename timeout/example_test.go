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
	_, err := resilience.Do(context.Background(), timeout.Total(100*time.Millisecond), slow)
	fmt.Println(err)
	fmt.Println(errors.Is(err, timeout.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// total timeout 100ms expired: context deadline exceeded
	// true true
}

func ExamplePerAttempt() {
	backend := resilience.Compose(timeout.Total(time.Second), timeout.PerAttempt(100*time.Millisecond))
	fmt.Println(backend)
	// Output:
	// total timeout 1s > attempt timeout 100ms
}

// The call returns in time, although the operation does not look at its context.
func ExampleAbandon() {
	limit := timeout.Abandon(100*time.Millisecond, timeout.OnDiscard(func(value any) { fmt.Println("discarded:", value) }))
	release, released := make(chan struct{}), make(chan struct{})
	deaf := func(context.Context) (string, error) {
		defer close(released)
		<-release
		return "late", nil
	}
	_, err := resilience.Do(context.Background(), limit, deaf)
	fmt.Println(err)
	fmt.Println("abandoned:", limit.Snapshot().Abandoned)
	close(release)
	<-released
	for limit.Snapshot().Running > 0 {
		time.Sleep(time.Millisecond)
	}
	// Output:
	// abandoning timeout 100ms expired
	// abandoned: 1
	// discarded: late
}

func ExampleFromLatency() {
	limit := timeout.FromLatency(0.99, 3, 50*time.Millisecond, 2*time.Second)
	fmt.Println(limit)
	fmt.Println("until enough is known:", limit.Snapshot().Limit)
	// Output:
	// attempt timeout 3×p99 from 50ms to 2s
	// until enough is known: 2s
}
