package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func Example() {
	db := breaker.New(breaker.Name("users-db"), breaker.ConsecutiveFailures(3), breaker.OpenFor(5*time.Second))
	fetchUser := func(context.Context) (string, error) { return "", errors.New("connection refused") }

	for range 4 {
		_, err := resilience.Do(context.Background(), db, fetchUser)
		if errors.Is(err, breaker.ErrOpen) {
			fmt.Println("refused:", db.State())
			continue
		}
		fmt.Println("failed:", err)
	}
	// Output:
	// failed: connection refused
	// failed: connection refused
	// failed: connection refused
	// refused: open
}

// Without retries or anything else a breaker can be used by itself, as a policy for results of one type.
func ExamplePolicy() {
	users := breaker.Policy[string]{Breaker: breaker.New()}
	user, err := users.Do(context.Background(), func(context.Context) (string, error) { return "Ada", nil })
	fmt.Println(user, err)
	// Output: Ada <nil>
}

// What a caller did wrong says nothing about the health of the dependency.
func ExampleClassify() {
	errNotFound := errors.New("not found")
	errBadRequest := errors.New("bad request")
	db := breaker.New(breaker.Name("users-db"), breaker.Classify(func(err error) policy.Class {
		switch {
		case errors.Is(err, errNotFound):
			return policy.Expected // the dependency answered, and well
		case errors.Is(err, errBadRequest):
			return policy.Ignored // it did not have to work for this answer
		}
		return policy.Unclassified // as the pipeline or the error says
	}))
	for _, answer := range []error{errNotFound, errBadRequest, errNotFound, errBadRequest} {
		_, _ = resilience.Do(context.Background(), db, func(context.Context) (int, error) { return 0, answer })
	}
	s := db.Snapshot()
	fmt.Println(s.State, s.Successes, s.Neutral, s.Failures)
	// Output: closed 2 2 0
}

// For callers whose deadlines no healthy dependency could meet: their own deadline is not held against it.
func ExampleClassify_deadlines() {
	db := breaker.New(breaker.FailureRate(0.5, 20), breaker.Classify(func(err error) policy.Class {
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, timeout.ErrTimeout) {
			return policy.Ignored // the caller's own deadline; the library's timeouts name themselves
		}
		return policy.Unclassified
	}))
	backend := resilience.Compose(db, timeout.PerAttempt(time.Second))
	for range 100 {
		_, _ = resilience.Do(context.Background(), backend, func(context.Context) (int, error) {
			return 0, context.DeadlineExceeded
		})
	}
	s := db.Snapshot()
	fmt.Println(s.State, s.Neutral, s.Failures)
	// Output: closed 100 0
}

func ExampleOnChange() {
	db := breaker.New(breaker.Name("users-db"), breaker.OnChange(func(c breaker.Change) {
		fmt.Printf("%s: %v to %v: %v (%v)\n", c.Snapshot.Name, c.From, c.To, c.Reason, c.Snapshot.Cause)
	}))
	for range 5 {
		_, _ = resilience.Do(context.Background(), db, func(context.Context) (int, error) {
			return 0, errors.New("connection refused")
		})
	}
	// Output: users-db: closed to open: consecutive failures (connection refused)
}

// In shadow, rules can be tried on real traffic: nothing is refused, and the breaker says what it would have refused.
func ExampleShadow() {
	db := breaker.New(breaker.Shadow(), breaker.FailureRate(0.5, 20), breaker.OnChange(func(c breaker.Change) {
		fmt.Printf("%v to %v, shadow %v\n", c.From, c.To, c.Shadow)
	}))
	for range 22 {
		_, _ = resilience.Do(context.Background(), db, func(context.Context) (int, error) { return 0, errors.New("down") })
	}
	s := db.Snapshot()
	fmt.Printf("%v, would have refused %d\n", s.State, s.ShadowRejected)
	db.Enforce()
	fmt.Println(db.Ready(context.Background()) != nil)
	// Output:
	// closed to open, shadow true
	// open, would have refused 2
	// true
}

// Two steps, where a function does not fit: a stream, a connection that is handed on.
func Example_twoSteps() {
	db := breaker.New()
	permit, err := policy.Acquire(context.Background(), db)
	if err != nil {
		fmt.Println(err)
		return
	}
	permit.Done(errors.New("stream broke"))
	fmt.Println(db.Snapshot().Failures)
	// Output: 1
}
