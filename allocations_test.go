package resilience_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestAllocations(t *testing.T) {
	ctx := t.Context()
	op := answer(1, nil)
	quiet := resilience.Compose(&quietGuard{}, &quietRepeater{}, &quietGuard{}, &quietGuard{})
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, quiet, op) }))
	single := &quietGuard{}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(ctx, single, op) }))
	number := 0
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, _ = resilience.Do(ctx, quiet, func(context.Context) (int, error) { number++; return number, nil })
	}), 1.0, "the caller's own closure")
}

type quietGuard struct{}

func (*quietGuard) Stage() policy.Stage { return policy.StageBreaker }

func (*quietGuard) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (*quietGuard) Settle(context.Context, policy.Ticket, policy.Outcome) {}

type quietRepeater struct{}

func (*quietRepeater) Stage() policy.Stage                                  { return policy.StageRetry }
func (*quietRepeater) Next(context.Context, policy.Attempt) policy.Decision { return policy.Decision{} }

func TestAllocationsOfRealPipelines(t *testing.T) {
	ctx := context.Background()
	four := resilience.Compose(retry.New(), breaker.New(breaker.FailureRate(0.5, 20)), ratelimit.New(noLimit, 1<<29), bulkhead.New(8))
	require.Zero(t, testing.AllocsPerRun(200, func() { _, _ = resilience.Do(ctx, four, fetch) }))
	number := 0
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		_, _ = resilience.Do(ctx, four, func(context.Context) (int, error) { number++; return number, nil })
	}), 1.0, "the caller's own closure")

	open := opensAt(1, time.Hour)
	open.Trip()
	for layer, allocations := range map[policy.Layer]float64{
		open: 0,
		resilience.Compose(timeout.PerAttempt(time.Second), open, bulkhead.New(3)): 0,
		// FAULT 237: the gate is asked for the attempt that would come, whose context has a number of its own.
		resilience.Compose(retry.New(), open): 1,
	} {
		require.Equal(t, allocations, testing.AllocsPerRun(200, func() {
			if _, err := resilience.Do(ctx, layer, fetch); !errors.Is(err, breaker.ErrOpen) {
				t.Error(err)
			}
		}))
	}
}
