package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(context.Context) (struct{}, error) { return struct{}{}, nil }

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// check runs f in virtual time as one run of a property. What f reports with fail fails the run, so that it shrinks.
func check(r *rapid.T, t *testing.T, f func(fail func(format string, args ...any))) {
	var problem any
	synctest.Test(t, func(*testing.T) {
		defer func() { problem = recover() }()
		f(func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) })
	})
	if problem != nil {
		r.Fatal(problem)
	}
}

// slice draws up to longest elements; left to itself, rapid prefers slices that are too short to get anywhere.
func slice[T any](r *rapid.T, element *rapid.Generator[T], longest int) []T {
	n := rapid.IntRange(1, longest).Draw(r, "length")
	return rapid.SliceOfN(element, n, n).Draw(r, "elements")
}

// admitted reports whether l admits an attempt, which is then spent.
func admitted(t *testing.T, l *ratelimit.Limiter) bool {
	t.Helper()
	permit, err := policy.Acquire(context.Background(), l)
	if err != nil {
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.ErrorIs(t, err, policy.ErrRejected)
		return false
	}
	require.True(t, permit.Done(nil))
	return true
}

// drain takes attempts until l refuses, and returns how many it admitted.
func drain(t *testing.T, l *ratelimit.Limiter) (n int) {
	t.Helper()
	for admitted(t, l) {
		n++
	}
	return n
}

func rejection(t *testing.T, err error) *policy.Rejection {
	t.Helper()
	r, ok := errors.AsType[*policy.Rejection](err)
	require.True(t, ok, "%v", err)
	return r
}

type costKey struct{}

func costing(ctx context.Context, n int) context.Context { return context.WithValue(ctx, costKey{}, n) }

func costMark(ctx context.Context) int {
	if n, ok := ctx.Value(costKey{}).(int); ok {
		return n
	}
	return 1
}

func acquire(t *testing.T, l *ratelimit.Limiter, cost int) *policy.Permit {
	t.Helper()
	permit, err := policy.Acquire(costing(context.Background(), cost), l)
	require.NoError(t, err)
	return permit
}

func in(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

var neverCalled = policy.Outcome{Kind: policy.NotCalled}

// setRate changes nothing but the rate, and setBurst nothing but the burst.
func setRate(l *ratelimit.Limiter, perSecond float64) error {
	return l.Reconfigure(perSecond, l.Snapshot().Burst, readBack(l)...)
}

func setBurst(l *ratelimit.Limiter, burst int) error {
	return l.Reconfigure(l.Snapshot().PerSecond, burst, readBack(l)...)
}

// readBack returns the options of a limiter that are data, as its report tells them.
func readBack(l *ratelimit.Limiter) (all []ratelimit.Option) {
	for _, s := range l.Report().Settings {
		switch s.Name {
		case "Name":
			all = append(all, ratelimit.Name(s.Args[0].Value.(string)))
		case "MaxWait":
			all = append(all, ratelimit.MaxWait(s.Args[0].Value.(time.Duration)))
		case "MaxWaiters":
			all = append(all, ratelimit.MaxWaiters(s.Args[0].Value.(int)))
		case "Shadow":
			all = append(all, ratelimit.Shadow())
		}
	}
	return all
}
