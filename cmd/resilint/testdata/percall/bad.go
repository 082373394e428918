package percall

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/retry"
)

func load(ctx context.Context) (string, error) { return "", ctx.Err() }

func inPlace(ctx context.Context) (string, error) {
	return resilience.Do(ctx, resilience.Compose(retry.New(), breaker.New()), load) // want "RL6: resilience.Compose is called for each call of inPlace: what it makes forgets everything between calls"
}

func inAVariable(ctx context.Context) (string, error) {
	b := breaker.New(breaker.OpenFor(time.Second)) // want "RL6: breaker.New is called for each call of inAVariable"
	if b.State() == breaker.Open {
		return "", nil
	}
	return resilience.Do(ctx, b, load)
}

func handler(w http.ResponseWriter, r *http.Request) {
	limiter := rate.NewLimiter(10, 1) // want "RL6: rate.NewLimiter is called for each call of handler"
	if !limiter.Allow() {
		w.WriteHeader(http.StatusTooManyRequests)
	}
}
