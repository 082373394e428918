package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func Example() {
	api := ratelimit.Every(time.Hour, 2, ratelimit.Name("weather"))
	fetch := func(context.Context) (string, error) { return "sunny", nil }
	for range 3 {
		weather, err := resilience.Do(context.Background(), api, fetch)
		if errors.Is(err, ratelimit.ErrLimited) {
			wait, _ := policy.RetryAfter(err)
			fmt.Println("come back in", wait.Round(time.Minute))
			continue
		}
		fmt.Println(weather, err)
	}
	// Output:
	// sunny <nil>
	// sunny <nil>
	// come back in 1h0m0s
}

func ExampleNew() {
	backend := resilience.Compose(ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)))
	fmt.Println(backend)
	// Output: rate limit 100/s burst 10
}

func ExamplePer() {
	fmt.Println(ratelimit.Per(600, time.Minute, 20))
	fmt.Println(ratelimit.Every(90*time.Second, 1))
	// Output:
	// rate limit 10/s burst 20
	// rate limit 1 per 1m30s burst 1
}

// tokensKey marks a context with how many tokens of a language model a prompt will use.
type tokensKey struct{}

// Two quotas of one dependency, in different units: requests, and tokens of a language model.
func ExampleCostOf() {
	requests := ratelimit.Per(60, time.Minute, 10)
	tokens := ratelimit.Per(90_000, time.Minute, 10_000, ratelimit.CostOf(func(ctx context.Context) int {
		n, _ := ctx.Value(tokensKey{}).(int)
		return n
	}))
	model := resilience.Compose(requests, tokens)

	ctx := context.WithValue(context.Background(), tokensKey{}, 4000)
	err := model.Run(ctx, func(context.Context) error { return nil })
	fmt.Println(err, int(requests.Snapshot().Tokens), tokens.Snapshot().Tokens >= 6000)

	ctx = context.WithValue(context.Background(), tokensKey{}, 20_000)
	err = model.Run(ctx, func(context.Context) error { return nil })
	_, again := policy.RetryAfter(err)
	fmt.Println(err, again)
	// Output:
	// <nil> 9 true
	// rate limiter: no token: the cost is above the burst false
}

func ExampleLimiter_Reconfigure() {
	api := ratelimit.New(100, 10)
	fmt.Println(api.Reconfigure(-1, 10))
	fmt.Println(api.Reconfigure(50, 10), api)
	// Output:
	// ratelimit: rate -1 per second: must be 0, from 1e-09 to 1e+09, or math.Inf(1) for no limit
	// <nil> rate limit 50/s burst 10
}

// A quota for each client, of which there can be very many.
func ExampleNewPerKey() {
	type clientID struct{}
	clients := ratelimit.NewPerKey(10, 20, func(ctx context.Context) string {
		id, _ := ctx.Value(clientID{}).(string)
		return id
	}, ratelimit.Name("client"), ratelimit.Keys(1_000_000))
	front := resilience.Compose(clients)
	fmt.Println(front)

	greedy := context.WithValue(context.Background(), clientID{}, "greedy")
	for range 30 {
		err := front.Run(greedy, func(context.Context) error { return nil })
		if wait, ok := policy.RetryAfter(err); ok {
			fmt.Println("come back in", wait.Round(100*time.Millisecond))
			break
		}
	}
	modest := context.WithValue(context.Background(), clientID{}, "modest")
	fmt.Println(front.Run(modest, func(context.Context) error { return nil }))
	// Output:
	// rate limit per key "client" 10/s burst 20
	// come back in 100ms
	// <nil>
}

// Where there is no context, a limiter is asked with the key itself.
func ExamplePerKey_Allow() {
	logins := ratelimit.NewPerKey[netip.Addr](1.0/60, 3, nil) // three at once, then one a minute, for each address
	address := netip.MustParseAddr("192.0.2.7")
	for range 4 {
		fmt.Println(logins.Allow(address))
	}
	// Output:
	// true
	// true
	// true
	// false
}

// In shadow, a rate can be tried on real traffic: nothing is refused and nothing waits.
func ExampleShadow() {
	api := ratelimit.New(100, 10, ratelimit.Shadow()) // or api.Shadow(), and api.Enforce() to go on in earnest
	fetch := func(context.Context) (string, error) { return "sunny", nil }
	for range 1000 {
		_, _ = resilience.Do(context.Background(), api, fetch)
	}
	fmt.Println("would have refused some:", api.Snapshot().ShadowRejected > 0)
	// Output: would have refused some: true
}

// Policy is for injection where the type of the result is known.
func ExamplePolicy() {
	var names policy.Policy[string] = ratelimit.Policy[string]{Limiter: ratelimit.New(10, 10)}
	fmt.Println(names.Do(context.Background(), func(context.Context) (string, error) { return "Ada", nil }))
	// Output: Ada <nil>
}
