package resilience_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

type User struct{ Name string }

type Order struct{ ID int }

var errDB = errors.New("connection refused")

func fetchUser(context.Context) (User, error)      { return User{Name: "Ada"}, nil }
func fetchOrders(context.Context) ([]Order, error) { return []Order{{ID: 1}, {ID: 2}}, nil }
func ping(context.Context) error                   { return nil }

// A pipeline is made once for each dependency, and every call goes through it. The operation fails once here.
func Example() {
	backend := resilience.Compose(
		resilience.Name("users"),
		timeout.Total(2*time.Second),
		retry.New(retry.Attempts(3)),
		breaker.New(),
		timeout.PerAttempt(300*time.Millisecond),
	)

	fetchUser := func(ctx context.Context) (User, error) {
		if retry.Attempt(ctx) == 1 {
			return User{}, errors.New("connection reset")
		}
		return User{Name: "Ada"}, nil
	}

	user, err := resilience.Do(context.Background(), backend, fetchUser)
	switch {
	case errors.Is(err, policy.ErrRejected): // a policy refused; see policy.RetryAfter(err)
	case err != nil: // the operation failed
	default:
		fmt.Println(user.Name)
	}
	// Output: Ada
}

// The order of the arguments does not matter: each layer has a stage.
func ExampleCompose() {
	backend := resilience.Compose(
		bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond)),
		timeout.PerAttempt(300*time.Millisecond),
		breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.OpenFor(5*time.Second)),
		ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
		timeout.Total(2*time.Second),
		retry.New(retry.Attempts(4), retry.Exponential(50*time.Millisecond, 2*time.Second)),
	)
	fmt.Println(backend)
	// Output: total timeout 2s > retry 4 > breaker "users-db" > rate limit 100/s burst 10 > bulkhead 16+8 > attempt timeout 300ms
}

// What gobreaker and cenkalti/backoff did by default, for those who move from them.
func ExampleCompose_asBefore() {
	backend := resilience.Compose(
		retry.New(
			retry.Attempts(4), // 3 retries
			retry.Exponential(500*time.Millisecond, time.Minute), retry.Multiplier(1.5),
			retry.ProportionalJitter(0.5), // NoJitter where there was none
			retry.NoBudget(),
		),
		breaker.New(
			breaker.ConsecutiveFailures(6),
			breaker.OpenFor(time.Minute), breaker.Jitter(0),
			breaker.Probes(1), breaker.Successes(1),
		),
	)
	fmt.Println(backend)
	// Output: retry 4 > breaker
}

// Pipelines may share a policy, and a pipeline serves operations of any result type.
func ExampleCompose_shared() {
	ctx := context.Background()
	db := breaker.New(breaker.Name("db"))
	reads := resilience.Compose(retry.New(), db)
	writes := resilience.Compose(db, bulkhead.New(16))

	user, err := resilience.Do(ctx, reads, fetchUser) // User
	fmt.Println(user.Name, err)
	orders, err := resilience.Do(ctx, reads, fetchOrders) // []Order, same breaker
	fmt.Println(len(orders), err)
	err = writes.Run(ctx, ping) // func(context.Context) error
	fmt.Println(err)
	// Output:
	// Ada <nil>
	// 2 <nil>
	// <nil>
}

// A bulkhead at the front door bounds callers, those that a retry is asleep in too; its usual place bounds attempts.
func ExampleCompose_moved() {
	front := resilience.Compose(
		policy.At(policy.StageShed, bulkhead.New(200)), // bounds callers, also those that retry is asleep in
		retry.New(),
		breaker.New(),
		bulkhead.New(16), // bounds attempts
	)
	fmt.Println(front)
	// Output: bulkhead 200 > retry 3 > breaker > bulkhead 16
}

// A pipeline that makes no sense is refused when it is composed, with every problem that it has.
func ExampleValidate() {
	err := resilience.Validate(
		timeout.Total(time.Second),
		timeout.PerAttempt(2*time.Second),
		retry.New(),
		retry.New(),
	)
	fmt.Println(err)
	// Output: resilience.Compose: retry 3 and retry 3 are both at stage "retry": they would multiply each other's attempts; attempt timeout 2s: must be below the total timeout 1s around it
}

// The typed face of a pipeline, or of a single policy, is for injection.
func ExampleFor() {
	db := breaker.New(breaker.Name("db"))
	reads := resilience.Compose(retry.New(), db)

	var users policy.Policy[User] = resilience.For[User](reads)
	var one policy.Policy[User] = breaker.Policy[User]{Breaker: db} // so do retry.Policy, ratelimit.Policy, bulkhead.Policy

	user, err := users.Do(context.Background(), fetchUser)
	fmt.Println(user.Name, err)
	user, err = one.Do(context.Background(), fetchUser)
	fmt.Println(user.Name, err)
	// Output:
	// Ada <nil>
	// Ada <nil>
}

// get returns an operation that makes one request. A status that means failure becomes an error where the call is written,
// so that every policy sees it. Nobody else sees the failed response, so it is closed here.
func get(client *http.Client, url string) policy.Func[*http.Response] {
	send := func(ctx context.Context) (*http.Response, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return nil, err
		}
		return client.Do(request)
	}
	return policy.Check(send, func(r *http.Response) error {
		if r.StatusCode >= http.StatusInternalServerError {
			r.Body.Close() // nobody else will see this response
			return fmt.Errorf("status %d", r.StatusCode)
		}
		return nil
	})
}

// download writes the body of an answer to w.
func download(ctx context.Context, backend *resilience.Pipeline, get policy.Func[*http.Response], w io.Writer) error {
	response, permit, err := resilience.Open(ctx, backend, get)
	if err != nil {
		return err
	}
	defer permit.Done(nil)
	defer response.Body.Close()
	_, err = io.Copy(w, response.Body)
	return err
}

// A result that outlives the operation: while the body is read, the slot of the bulkhead is taken and the context lives.
// The first request is answered with 503 here.
func ExampleOpen() {
	server, client := unreliableServer()
	defer server.Close()
	backend := resilience.Compose(
		retry.New(),
		breaker.New(),
		bulkhead.New(64),
		timeout.PerAttempt(2*time.Second), // until the headers are there
	)

	err := download(context.Background(), backend, get(client, server.URL), os.Stdout)
	fmt.Println(err)
	// Output: hello, <nil>
}

// One judgement for all policies of a pipeline: no rows is an answer, so it is neither retried nor held against the
// database.
func ExampleClassify() {
	backend := resilience.Compose(
		resilience.Classify(func(err error) policy.Class {
			if errors.Is(err, sql.ErrNoRows) {
				return policy.Expected
			}
			return policy.Unclassified // ask the error itself; otherwise it is transient
		}),
		retry.New(),
		breaker.New(),
	)
	call, calls := policytest.Script(User{}, sql.ErrNoRows)

	_, err := resilience.Do(context.Background(), backend, call)
	fmt.Println(err, calls())
	// Output: sql: no rows in result set 1
}

// A pipeline with a name counts its calls, and reports what each of its layers is and does.
func ExamplePipeline_Report() {
	backend := resilience.Compose(resilience.Name("users"), retry.New(), breaker.New())
	for range 3 {
		_, _ = resilience.Do(context.Background(), backend, fetchUser)
	}

	report := backend.Report()
	fmt.Println(report.Name, report.Calls.Succeeded)
	for _, layer := range report.Layers {
		fmt.Printf("%s %q\n", layer.Kind, layer.State.Name)
	}
	// Output:
	// users 3
	// retry ""
	// breaker "closed"
}

// Work that is no function: the message of a consumer, the stream of a server.
func ExamplePipeline_Acquire() {
	intake := resilience.Compose(breaker.New(), bulkhead.New(16))
	consume := func(ctx context.Context, handle func(context.Context) error) error {
		permit, err := intake.Acquire(ctx)
		if err != nil {
			return err
		}
		defer permit.Settle(policy.Outcome{Kind: policy.Exited}) // does nothing after Done
		err = handle(permit.Context())
		permit.Done(err)
		return err
	}
	fmt.Println(consume(context.Background(), ping))
	// Output: <nil>
}

// Errors say who refused, when to come back, and what the operation said last.
func ExampleDo_errors() {
	ctx := context.Background()
	backend := resilience.Compose(
		retry.New(retry.Attempts(6), retry.Exponential(10*time.Millisecond, time.Second)),
		breaker.New(), // opens after 5 failures in a row
	)
	call, calls := policytest.Script(User{}, errDB, errDB, errDB, errDB, errDB, errDB)

	_, err := resilience.Do(ctx, backend, call)
	switch {
	case errors.Is(err, breaker.ErrOpen): // also matches policy.ErrRejected
		fmt.Println("the circuit is open")
	case errors.Is(err, policy.ErrRejected): // some policy refused
		fmt.Println("refused")
	}
	if wait, ok := policy.RetryAfter(err); ok {
		fmt.Println("try again later:", wait > 0)
	}
	if gave, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(gave.Attempts, "attempts, the last:", gave.Last)
	}
	fmt.Println(errors.Is(err, errDB), calls())
	// Output:
	// the circuit is open
	// try again later: true
	// 5 attempts, the last: connection refused
	// true 5
}

// Two steps, where a function does not fit: a stream, a connection that is handed on.
func Example_acquire() {
	ctx := context.Background()
	db := breaker.New()

	permit, err := policy.Acquire(ctx, db) // any Guard
	if err != nil {
		fmt.Println(err)
		return
	}
	user, err := fetchUser(permit.Context())
	fmt.Println(user.Name, permit.Done(err))
	fmt.Println(permit.Done(err)) // one-shot: a second Done reports false
	// Output:
	// Ada true
	// false
}

// A hand-written retry loop, replaced without turning its body into a function.
func Example_tries() {
	ctx := context.Background()
	again := retry.New()
	fetchUser, _ := policytest.Script(User{Name: "Ada"}, errDB)

	var user User
	var err error
	tries := again.Tries(ctx)
	for try := range tries.All() {
		user, err = fetchUser(try.Context())
		try.Done(err)
	}
	fmt.Println(user.Name, tries.Err())
	// Output: Ada <nil>
}

// Code that uses policies is tested in virtual time: nothing here sleeps for real.
func TestBackendGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := resilience.Compose(retry.New(), breaker.New())
		call, calls := policytest.Script(User{}, errDB, errDB, errDB)

		_, err := resilience.Do(t.Context(), backend, call)
		require.ErrorIs(t, err, errDB)
		require.Equal(t, 3, calls())
	})
}
