package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// circuit is a breaker of gobreaker. It needs to be told that not found is no failure, and so does backoff.
var circuit = gobreaker.NewCircuitBreaker[User](gobreaker.Settings{
	Name:         "users",
	Timeout:      5 * time.Second,
	ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 3 },
	IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, errNotFound) },
	IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
})

// breakerBefore retries around the breaker. backoff does not know that the circuit is open, so it sleeps and asks again.
func breakerBefore(ctx context.Context, fetchUser fetch) (User, error) {
	return backoff.Retry(ctx, func() (User, error) {
		user, err := circuit.Execute(func() (User, error) { return fetchUser(ctx) })
		if errors.Is(err, errNotFound) {
			return user, backoff.Permanent(err)
		}
		return user, err
	}, backoff.WithMaxTries(4), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: time.Second, RandomizationFactor: 0.5,
	}))
}

// users is the same with one pipeline. errNotFound states its own class (see main.go), and a caller's cancellation is
// never a failure.
var users = resilience.Compose(
	resilience.Name("users"),
	retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, time.Second)),
	breaker.New(breaker.ConsecutiveFailures(3), breaker.OpenFor(5*time.Second)),
)

func breakerAfter(ctx context.Context, fetchUser fetch) (User, error) {
	return resilience.Do(ctx, users, policy.Func[User](fetchUser))
}

func showBreaker() {
	fmt.Println("\ngobreaker and backoff, a pipeline")
	show([]mood{
		{"fails once", time.Second, 1, errDown},
		{"no such user", time.Second, 4, errNotFound},
		{"down", time.Second, 4, errDown},
		{"still down", time.Second, 4, errDown},
	}, []way{{"before", breakerBefore}, {"after", breakerAfter}})
}
