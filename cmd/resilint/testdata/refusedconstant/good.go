package refusedconstant

import (
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func configured(rate float64, attempts int, options ...retry.Option) {
	_ = breaker.New(breaker.FailureRate(0.5, 10), breaker.CountWindow(10))
	_ = breaker.New(breaker.FailureRate(rate, 0)) // not a constant: Validate is for that
	_ = retry.New(retry.Attempts(attempts))
	_ = retry.New(options...)
	_ = ratelimit.New(100, 10, ratelimit.MaxWait(time.Second))
	_ = timeout.Total(time.Second)
}
