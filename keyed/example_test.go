package keyed_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// A pipeline per host.
func ExampleNew() {
	hosts := keyed.New(func(host string) *resilience.Pipeline {
		return resilience.Compose(retry.New(), throttle.New(throttle.Name(host)), timeout.PerAttempt(time.Second))
	}, keyed.Max(1000), keyed.Idle(time.Hour))

	for _, host := range []string{"a.example.com", "b.example.com", "a.example.com"} {
		answer, err := resilience.Do(context.Background(), hosts.Get(host), func(context.Context) (string, error) {
			return "hello from " + host, nil
		})
		fmt.Println(answer, err)
	}
	fmt.Println(hosts, "-", hosts.Get("a.example.com"))
	// Output:
	// hello from a.example.com <nil>
	// hello from b.example.com <nil>
	// hello from a.example.com <nil>
	// keyed 2/1000 - retry 3 > throttle "a.example.com" > attempt timeout 1s
}

type tenantKey struct{}

// One pipeline for all tenants, with a throttle for each of them inside it.
func ExampleBy() {
	tenantOf := func(ctx context.Context) string {
		tenant, _ := ctx.Value(tenantKey{}).(string)
		return tenant
	}
	tenants := keyed.New(func(string) *throttle.Throttle { return throttle.New(throttle.Name("tenant")) })
	backend := resilience.Compose(
		timeout.Total(2*time.Second),
		keyed.By(tenantOf, tenants),
	)
	fmt.Println(backend)

	ctx := context.WithValue(context.Background(), tenantKey{}, "acme")
	err := backend.Run(ctx, func(context.Context) error { return nil })
	fmt.Println(err, tenants.Len(), tenants.Get("acme").Snapshot().Accepts)
	// Output:
	// total timeout 2s > per key throttle "tenant"
	// <nil> 1 1
}

// connection is a value that should not be forgotten while it is in use.
type connection struct{ users int }

func (c *connection) Idle() bool { return c.users == 0 }

// What happens when no value may be forgotten.
func ExampleRegistry_Overflow() {
	r := keyed.New(func(string) *connection { return &connection{} }, keyed.Max(1))
	r.Get("a").users = 1
	fmt.Println(r.Get("b") == r.Overflow(), r.Snapshot().Refused)

	r.Get("a").users = 0
	fmt.Println(r.Get("b") == r.Overflow(), r.Snapshot().Evicted)
	// Output:
	// true 1
	// false 1
}
