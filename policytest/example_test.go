package policytest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

var errDown = errors.New("connection refused")

// newBackend is the pipeline under test, as the service makes it.
func newBackend(layers ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append([]policy.Layer{
		timeout.Total(5 * time.Second),
		retry.New(retry.Attempts(3), retry.Exponential(100*time.Millisecond, time.Second)),
		breaker.New(breaker.ConsecutiveFailures(5), breaker.OpenFor(10*time.Second), breaker.Jitter(0)),
		timeout.PerAttempt(time.Second),
	}, layers...)...)
}

// Script says what the operation answers: here an error, and then a user for ever.
func ExampleScript() {
	fetchUser, calls := policytest.Script("Ada", errDown)

	user, err := resilience.Do(context.Background(), newBackend(), fetchUser)
	fmt.Println(user, err, calls())
	// Output: Ada <nil> 2
}

// Recorder keeps what happened.
func ExampleRecorder() {
	recorder := &policytest.Recorder{}
	backend := newBackend(resilience.Observe(recorder))
	fetchUser, _ := policytest.Script("Ada", errDown)

	_, _ = resilience.Do(context.Background(), backend, fetchUser)
	fmt.Println(recorder.Kinds())
	fmt.Println(recorder.Count(policy.EventAttempt))
	// Output:
	// [attempt retry attempt call]
	// 2
}

// The page about testing shows these tests.

func TestOutageOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newBackend()
		began := time.Now()
		calls := 0
		fetchUser := func(context.Context) (string, error) {
			calls++
			if time.Since(began) < time.Minute {
				return "", errDown
			}
			return "Ada", nil
		}

		failed := 0
		for range 90 { // a call a second
			if _, err := resilience.Do(t.Context(), backend, fetchUser); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}

		require.Less(t, calls, 60, "the breaker has kept most attempts away")
		require.Less(t, failed, 75, "it recovers within the open time")
	})
}

func TestSlowDependency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context) (string, error) {
			<-ctx.Done() // as net/http and drivers do
			return "", context.Cause(ctx)
		}

		began := time.Now()
		_, err := resilience.Do(t.Context(), newBackend(), hangs)

		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.Less(t, time.Since(began), 5*time.Second, "three attempts of a second, and the delays")
	})
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetchUser, calls := policytest.Script("Ada", errDown, errDown, errDown)
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()

		_, err := resilience.Do(ctx, newBackend(), fetchUser)

		require.ErrorIs(t, err, errDown)
		require.Equal(t, 1, calls(), "no delay that cannot fit is slept")
	})
}
