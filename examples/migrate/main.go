// Migrate shows code without this library, and the code that replaces it. It runs both and prints what callers see.
//
//	go run ./examples/migrate
//
// Where to read: main.go has a retry loop written by hand; breaker.go has sony/gobreaker and cenkalti/backoff together;
// limits.go has x/time/rate and x/sync/semaphore. The tests show the differences that docs/migrating.md warns of.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// User is what the dependency returns.
type User struct{ Name string }

// notFound is an answer, and says so to every policy: it is not retried and opens no breaker.
type notFound struct{}

func (notFound) Error() string       { return "no such user" }
func (notFound) Class() policy.Class { return policy.Expected }

var (
	errDown     = errors.New("connection refused")
	errNotFound = notFound{}
)

// fetch is one attempt.
type fetch func(context.Context) (User, error)

// before is the loop. It sleeps after its last try, sleeps on when the caller has left, and retries what cannot
// succeed; clients that failed together come back together.
//
//resilint:ignore RL1,RL2,RL3,RL4 what the example replaces
func before(ctx context.Context, fetchUser fetch) (user User, err error) {
	delay := 50 * time.Millisecond
	for range 3 {
		if user, err = fetchUser(ctx); err == nil {
			return user, nil
		}
		time.Sleep(delay)
		delay *= 2
	}
	return User{}, err
}

// again needs to know which errors must not be retried: errNotFound says so itself.
var again = retry.New(
	retry.Attempts(3),
	retry.Exponential(50*time.Millisecond, time.Second),
)

// between is the same loop: the body stays where it is, and the retrier says when to go round again.
func between(ctx context.Context, fetchUser fetch) (user User, err error) {
	tries := again.Tries(ctx)
	for try := range tries.All() {
		user, err = fetchUser(try.Context())
		try.Done(err)
	}
	return user, tries.Err()
}

var backend = resilience.Compose(again, breaker.New(breaker.ConsecutiveFailures(3)))

// after is a pipeline: with a breaker, which the retries consult.
func after(ctx context.Context, fetchUser fetch) (User, error) {
	return resilience.Do(ctx, backend, policy.Func[User](fetchUser))
}

func main() {
	showLoop()
	showBreaker()
	showLimits()
}

// mood is how the dependency behaves, and how long the caller waits.
type mood struct {
	name    string
	patient time.Duration
	failing int // how many attempts fail
	err     error
}

// way is one way to call.
type way struct {
	name string
	get  func(context.Context, fetch) (User, error)
}

func showLoop() {
	fmt.Println("a loop, the same loop with a retrier, a pipeline")
	show([]mood{
		{"fails once", time.Second, 1, errDown},
		{"no such user", time.Second, 3, errNotFound},
		{"down, and the caller leaves after 20 ms", 20 * time.Millisecond, 3, errDown},
		{"down", time.Second, 3, errDown},
		{"still down", time.Second, 3, errDown},
	}, []way{{"before", before}, {"between", between}, {"after", after}})
}

// show calls each way in each mood, and prints how many attempts were made and how long the caller waited.
func show(moods []mood, ways []way) {
	for _, mood := range moods {
		fmt.Println(" " + mood.name)
		for _, way := range ways {
			ctx, cancel := context.WithTimeout(context.Background(), mood.patient)
			attempts := 0
			start := time.Now()
			_, err := way.get(ctx, func(context.Context) (User, error) {
				if attempts++; attempts <= mood.failing {
					return User{}, mood.err
				}
				return User{Name: "Ada"}, nil
			})
			fmt.Printf("  %-8s %d attempts, %3d ms: %v\n", way.name, attempts, time.Since(start).Milliseconds(), err)
			cancel()
		}
	}
}
