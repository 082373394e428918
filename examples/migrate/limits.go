package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// call is an operation without a result.
type call func(context.Context) error

// limitsBefore returns a caller with a rate of 100 per second and 4 calls at a time. Both wait as long as the context
// allows, and each call has to release what it has acquired.
func limitsBefore() func(context.Context, call) error {
	limiter := rate.NewLimiter(100, 5)
	slots := semaphore.NewWeighted(4)
	return func(ctx context.Context, op call) error {
		if err := limiter.Wait(ctx); err != nil {
			return err
		}
		if err := slots.Acquire(ctx, 1); err != nil {
			return err
		}
		defer slots.Release(1)
		return op(ctx)
	}
}

// limitsAfter returns the same with a bound on the wait: a caller who would wait longer is refused at once, and learns
// when to come back if that is known.
func limitsAfter() func(context.Context, call) error {
	backend := resilience.Compose(
		ratelimit.New(100, 5, ratelimit.MaxWait(100*time.Millisecond)),
		bulkhead.New(4, bulkhead.Queue(4, 100*time.Millisecond)),
	)
	return func(ctx context.Context, op call) error { return backend.Run(ctx, op) }
}

// burst is what 40 callers who come at once see.
type burst struct {
	served, refused int
	longest         time.Duration // that a caller waited
}

// send makes 40 calls at once, which take 50 ms each.
func send(do func(context.Context, call) error) (b burst) {
	var mu sync.Mutex
	var callers sync.WaitGroup
	start := time.Now()
	for range 40 {
		callers.Go(func() {
			err := do(context.Background(), func(context.Context) error { time.Sleep(50 * time.Millisecond); return nil })
			mu.Lock()
			defer mu.Unlock()
			b.longest = max(b.longest, time.Since(start))
			if errors.Is(err, policy.ErrRejected) {
				b.refused++
			} else {
				b.served++
			}
		})
	}
	callers.Wait()
	return b
}

func showLimits() {
	fmt.Println("\nx/time/rate and x/sync/semaphore, a pipeline: 40 calls at once")
	for _, way := range []struct {
		name string
		do   func(context.Context, call) error
	}{{"before", limitsBefore()}, {"after", limitsAfter()}} {
		b := send(way.do)
		fmt.Printf("  %-8s %d served, %d refused; the last has waited %d ms\n", way.name, b.served, b.refused, b.longest.Milliseconds())
	}
}
