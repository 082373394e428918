package keyed_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// A pipeline per host.
func ExampleNew() {
	ctx := context.Background()
	host := "a.example.com"
	fetchUser := func(context.Context) (string, error) { return "Ada", nil }

	hosts := keyed.New(func(host string) *resilience.Pipeline {
		return resilience.Compose(retry.New(), breaker.New(), bulkhead.New(16))
	}, keyed.Max(1000), keyed.Idle(time.Hour))

	user, err := resilience.Do(ctx, hosts.Get(host), fetchUser)

	fmt.Println(user, err)
	fmt.Println(hosts, "-", hosts.Get(host))
	// Output:
	// Ada <nil>
	// keyed 1/1000 - retry 3 > breaker > bulkhead 16
}

type tenantKey struct{}

// One pipeline for all tenants, with a bulkhead for each of them inside it.
func ExampleBy() {
	tenantOf := func(ctx context.Context) string {
		tenant, _ := ctx.Value(tenantKey{}).(string)
		return tenant
	}

	tenants := keyed.New(func(string) *bulkhead.Bulkhead { return bulkhead.New(4) })
	backend := resilience.Compose(
		retry.New(),
		breaker.New(),               // one for all: it is one dependency
		keyed.By(tenantOf, tenants), // four calls in flight for each tenant
	)

	ctx := context.WithValue(context.Background(), tenantKey{}, "acme")
	err := backend.Run(ctx, func(context.Context) error { return nil })
	fmt.Println(backend)
	fmt.Println(err, tenants.Len())
	// Output:
	// retry 3 > breaker > per key bulkhead 4
	// <nil> 1
}

// connection is a value that should not be forgotten while it is in use.
type connection struct{ users int }

func (c *connection) Idle() bool { return c.users == 0 }

// What happens when no value may be forgotten.
func ExampleRegistry_Overflow() {
	r := keyed.New(func(string) *connection { return &connection{} }, keyed.Max(1))
	r.Get("a").users = 1
	fmt.Println(r.Get("b") == r.Overflow(), r.Snapshot().Overflowed)

	r.Get("a").users = 0
	fmt.Println(r.Get("b") == r.Overflow(), r.Snapshot().Evicted)
	// Output:
	// true 1
	// false 1
}

// A share for each tenant inside a bound for all: no tenant can take everything, and together they do not exceed what the
// database can take.
func ExampleBy_shares() {
	tenantOf := func(ctx context.Context) string {
		tenant, _ := ctx.Value(tenantKey{}).(string)
		return tenant
	}

	all := bulkhead.New(64, bulkhead.Name("all"))
	shares := keyed.New(func(string) *bulkhead.Bulkhead {
		return bulkhead.New(16, bulkhead.Name("tenant"))
	}, keyed.Max(10_000), keyed.Idle(time.Hour))
	backend := resilience.Compose(
		timeout.Total(2*time.Second),
		policy.At(policy.StageShed, keyed.By(tenantOf, shares)), // a greedy tenant costs nothing
		retry.New(),
		breaker.New(),
		all,
	)
	fmt.Println(backend)
	// Output: per key bulkhead "tenant" 16 > total timeout 2s > retry 3 > breaker > bulkhead "all" 64
}
