package percall

import (
	"context"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
)

var shared = resilience.Compose(breaker.New())

func uses(ctx context.Context) (string, error) { return resilience.Do(ctx, shared, load) }

type client struct{ limiter *rate.Limiter }

// a constructor
func newClient(ctx context.Context) *client { return &client{limiter: rate.NewLimiter(10, 1)} }

// it leaves the function
func limiterFor(ctx context.Context, perSecond rate.Limit) *rate.Limiter {
	l := rate.NewLimiter(perSecond, 1)
	return l
}

// it is used by what outlives the call
func (c *client) reset(ctx context.Context) { c.limiter = rate.NewLimiter(10, 1) }

// it paces the work of one call
func paces(ctx context.Context, names []string) error {
	limiter := rate.NewLimiter(10, 1)
	for range names {
		if err := limiter.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// it bounds the goroutines of one call
func bounds(ctx context.Context, names []string) {
	slots := semaphore.NewWeighted(4)
	for range names {
		if slots.Acquire(ctx, 1) != nil {
			return
		}
		go func() { defer slots.Release(1) }()
	}
}
