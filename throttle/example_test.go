package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
)

func Example() {
	search := throttle.New(throttle.Name("search"))
	answer, err := resilience.Do(context.Background(), search, func(context.Context) (string, error) {
		return "42", nil
	})
	fmt.Println(search, answer, err)

	for range 1000 { // the dependency is overloaded and accepts nothing
		_, _ = resilience.Do(context.Background(), search, func(context.Context) (string, error) {
			return "", errors.New("503")
		})
	}
	snapshot := search.Snapshot()
	fmt.Printf("%d requests, %d accepted: an attempt is refused with probability %.2f\n", snapshot.Requests, snapshot.Accepts, snapshot.Probability)
	fmt.Println(search.Ready(context.Background()))
	// Output:
	// throttle "search" 42 <nil>
	// 1001 requests, 1 accepted: an attempt is refused with probability 0.99
	// throttle "search": throttled: too few attempts are accepted
}

// A retry around a throttle makes no further attempt while most would be rejected.
func ExampleNew() {
	backend := resilience.Compose(
		retry.New(),
		throttle.New(throttle.Name("search")),
	)
	fmt.Println(backend)
	// Output: retry 3 > throttle "search"
}

func ExampleClassify() {
	errNotFound := errors.New("not found")
	users := throttle.New(
		throttle.K(1.5),
		throttle.Window(10*time.Second, 20),
		throttle.Classify(func(err error) policy.Class {
			if errors.Is(err, errNotFound) {
				return policy.Expected // the dependency did its work
			}
			return policy.Unclassified
		}),
	)
	_, err := resilience.Do(context.Background(), users, func(context.Context) (int, error) { return 0, errNotFound })
	fmt.Println(err, users.Snapshot().Accepts)
	// Output: not found 1
}
