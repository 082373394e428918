package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// D is the open time of the breakers under test.
const D = 5 * time.Second

var errDown = errors.New("down")

// newBreaker returns a breaker with exact times.
func newBreaker(opts ...breaker.Option) *breaker.Breaker {
	return breaker.New(append([]breaker.Option{breaker.OpenFor(D), breaker.Jitter(0)}, opts...)...)
}

// tripAt is newBreaker with a threshold of n failures in a row.
func tripAt(n int, opts ...breaker.Option) *breaker.Breaker {
	return newBreaker(append([]breaker.Option{breaker.ConsecutiveFailures(n)}, opts...)...)
}

func do(b *breaker.Breaker, op func(context.Context) error) error {
	_, err := resilience.Do(context.Background(), b, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}

func ok(context.Context) error   { return nil }
func fail(context.Context) error { return errDown }

// admit asks for an attempt that the test settles itself.
func admit(t *testing.T, b *breaker.Breaker) *policy.Permit {
	t.Helper()
	permit, err := policy.Acquire(t.Context(), b)
	require.NoError(t, err)
	return permit
}

// refused asserts that an attempt is refused without reaching the operation, and returns the rejection.
func refused(t *testing.T, b *breaker.Breaker) *policy.Rejection {
	t.Helper()
	err := do(b, func(context.Context) error {
		t.Error("the operation was entered")
		return nil
	})
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.ErrorIs(t, err, policy.ErrRejected)
	rejection, isRejection := errors.AsType[*policy.Rejection](err)
	require.True(t, isRejection)
	return rejection
}

func failTimes(b *breaker.Breaker, n int) {
	for range n {
		_ = do(b, fail)
	}
}

// identity asserts that every request is in exactly one of its fates.
func identity(t interface {
	Helper()
	Fatalf(string, ...any)
}, s breaker.Snapshot) {
	t.Helper()
	if s.Requests != s.Successes+s.Failures+s.Neutral+s.Stale+s.InFlight {
		t.Fatalf("requests do not add up: %+v", s)
	}
}

// luck is a source whose Float64 is what the function says.
type luck func() float64

func (l luck) Uint64() uint64 { return uint64(l() * (1 << 53)) }
