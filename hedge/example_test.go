package hedge_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func ExampleNew() {
	backend := resilience.Compose(
		timeout.Total(time.Second),
		hedge.New(hedge.After(10*time.Millisecond), hedge.Idempotent()),
	)
	fmt.Println(backend)

	// The first server does not answer; the extra attempt asks another one.
	servers := []string{"one", "two"}
	lookup := func(ctx context.Context) (string, error) {
		server := servers[hedge.Attempt(ctx)-1]
		if server == "one" {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "answer of server " + server, nil
	}
	fmt.Println(resilience.Do(context.Background(), backend, lookup))
	// Output:
	// total timeout 1s > hedge 1 after 10ms
	// answer of server two <nil>
}

// Of several calls to one dependency, only those that say so are hedged, when they take longer than 95 % of recent ones.
func ExampleQuantile() {
	backend := resilience.Compose(
		retry.New(),
		hedge.New(hedge.Quantile(0.95)),
		breaker.New(),
	)
	get := func(context.Context) (string, error) { return "user", nil }

	user, err := resilience.Do(retry.Idempotent(context.Background()), backend, get)
	fmt.Println(user, err)
	// Output:
	// user <nil>
}

// A result that must be closed is released by OnDiscard when it loses.
func ExampleOnDiscard() {
	released := make(chan string, 1)
	h := hedge.New(hedge.After(20*time.Millisecond), hedge.Idempotent(), hedge.OnDiscard(func(value any) {
		released <- value.(string)
	}))

	second := make(chan struct{})
	value, err := resilience.Do(context.Background(), h, func(ctx context.Context) (string, error) {
		if hedge.Attempt(ctx) == 2 {
			close(second)
			return "connection of the second attempt", nil
		}
		<-second
		<-ctx.Done() // it has lost
		return "connection of the first attempt", nil
	})
	fmt.Println(value, err)
	fmt.Println("released:", <-released)
	// Output:
	// connection of the second attempt <nil>
	// released: connection of the first attempt
}
