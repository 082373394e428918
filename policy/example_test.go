package policy_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

// What an error of a pipeline says.
func Example() {
	users := breaker.New(breaker.Name("users"), breaker.OpenFor(30*time.Second))
	backend := resilience.Compose(users, bulkhead.New(64))
	users.Trip() // as if the dependency had failed

	_, err := resilience.Do(context.Background(), backend, func(context.Context) (string, error) { return "ada", nil })
	_, known := policy.RetryAfter(err)
	fmt.Println("refused:", errors.Is(err, policy.ErrRejected))
	fmt.Println("by the breaker:", errors.Is(err, breaker.ErrOpen))
	fmt.Println("code:", policy.Code(err))
	fmt.Println("says when to come back:", known)
	// Output:
	// refused: true
	// by the breaker: true
	// code: breaker.open
	// says when to come back: true
}

// Work that is no function: a slot is taken, used, and given back.
func ExampleAcquire() {
	slots := bulkhead.New(64)
	permit, err := policy.Acquire(context.Background(), slots)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer permit.Settle(policy.Outcome{Kind: policy.Exited}) // does nothing after Done

	fmt.Println("in flight:", slots.Snapshot().InFlight)
	permit.Done(nil)
	fmt.Println("in flight:", slots.Snapshot().InFlight)
	// Output:
	// in flight: 1
	// in flight: 0
}

// An error that says by itself what it means to every policy.
type notFound struct{ key string }

func (e notFound) Error() string     { return fmt.Sprintf("%q was not found", e.key) }
func (notFound) Class() policy.Class { return policy.Expected }

func ExampleClassOf() {
	err := fmt.Errorf("load profile: %w", notFound{"ada"})
	fmt.Println(policy.ClassOf(err))
	fmt.Println(policy.ClassOf(errors.New("connection reset")))
	// Output:
	// expected
	// unclassified
}
