package retry_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/attempt"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
)

// calls makes n calls at once, whose attempts each take a second and fail, and returns the most attempts after a first
// one that ran at the same time.
func failTogether(t *testing.T, n int, pipeline *resilience.Pipeline) (most, retries int, errs []error) {
	var mu sync.Mutex
	running := 0
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			err := pipeline.Run(t.Context(), func(ctx context.Context) error {
				if retry.Attempt(ctx) == 1 {
					time.Sleep(time.Second)
					return errBackend
				}
				mu.Lock()
				running++
				retries++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return errBackend
			})
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	group.Wait()
	return most, retries, errs
}

func TestConcurrencyBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewConcurrencyBudget(0.2, 3)
		pipeline := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Attempts(2), retry.Constant(100*time.Millisecond), retry.NoJitter()), budget)
		most, retries, _ := failTogether(t, 2, pipeline)
		require.Equal(t, 2, most, "the minimum")
		require.Equal(t, 2, retries)

		// 100 calls fail at once. While they wait none is in flight, so the minimum is what counts.
		most, retries, errs := failTogether(t, 100, pipeline)
		require.Equal(t, 3, most)
		require.Equal(t, 3, retries)
		spent := 0
		for _, err := range errs {
			require.ErrorIs(t, err, errBackend)
			if errors.Is(err, retry.ErrBudget) {
				spent++
				require.Equal(t, "retry.budget", policy.Code(err))
			}
		}
		require.Equal(t, 97, spent)
		require.True(t, budget.Idle())
		require.Equal(t, 3.0, budget.Snapshot().Tokens)
		require.Positive(t, budget.Snapshot().Denied)
	})
	synctest.Test(t, func(t *testing.T) { // 50 calls that hang make room for 10 retries
		budget := retry.NewConcurrencyBudget(0.2, 0)
		pipeline := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Attempts(2), retry.Constant(time.Second), retry.NoJitter()), budget)
		release := make(chan struct{})
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { _ = pipeline.Run(t.Context(), func(context.Context) error { <-release; return nil }) })
		}
		synctest.Wait()
		require.Equal(t, retry.BudgetSnapshot{Tokens: 10, Limit: 10}, budget.Snapshot())
		_, retries, _ := failTogether(t, 40, pipeline)
		require.GreaterOrEqual(t, retries, 10)
		require.LessOrEqual(t, retries, 12, "the retries are in flight too")
		require.False(t, budget.Idle())
		close(release)
		group.Wait()
		require.True(t, budget.Idle())
		require.Zero(t, budget.Snapshot().Limit)
	})
}

// Streams that a retry has opened stay open for hours. They are no retries in flight.
func TestOpenResultsAreNotInFlight(t *testing.T) {
	budget := retry.NewConcurrencyBudget(0.2, 3)
	pipeline := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Constant(0)), budget)
	for range 10 {
		_, permit, err := resilience.Open(t.Context(), pipeline, fails(errBackend).do)
		require.NoError(t, err)
		defer func() {
			require.True(t, permit.Done(errBackend))
			require.Equal(t, retry.BudgetSnapshot{Tokens: 3, Limit: 3}, budget.Snapshot(), "nothing is given back twice")
		}()
	}
	require.True(t, budget.Idle())
	require.Equal(t, retry.BudgetSnapshot{Tokens: 3, Limit: 3}, budget.Snapshot())
	_, err := resilience.Do(t.Context(), pipeline, fails(errBackend).do)
	require.NoError(t, err)
}

func TestTheShareOfAConcurrencyBudgetIsExact(t *testing.T) {
	for _, c := range []struct {
		share    float64
		n, limit int
	}{{0.2, 100, 20}, {0.29, 100, 29}, {0.57, 100, 57}, {0.07, 100, 7}, {0.3, 10, 3}, {0.3, 9, 2}, {1, 7, 7}} {
		budget := retry.NewConcurrencyBudget(c.share, 0)
		for range c.n {
			_, err := policy.Acquire(t.Context(), budget)
			require.NoError(t, err)
		}
		require.Equal(t, float64(c.limit), budget.Snapshot().Limit, "%v of %d", c.share, c.n)
	}
}

// As many retries as the limit says are in flight, and not one more, whoever is asked.
func TestTheLimitOfAConcurrencyBudgetIsExact(t *testing.T) {
	budget := retry.NewConcurrencyBudget(0.2, 2)
	again := &attempt.Context{Context: t.Context(), Number: 2}
	for left := 2; left > 0; left-- {
		require.Equal(t, retry.BudgetSnapshot{Tokens: float64(left), Limit: 2}, budget.Snapshot())
		require.NoError(t, budget.Ready(again))
		_, err := policy.Acquire(again, budget)
		require.NoError(t, err)
	}
	require.ErrorIs(t, budget.Ready(again), retry.ErrBudget)
	_, err := policy.Acquire(again, budget)
	require.ErrorIs(t, err, retry.ErrBudget)
	require.False(t, budget.Withdraw())
	require.Equal(t, retry.BudgetSnapshot{Limit: 2, Denied: 2}, budget.Snapshot())
	require.NoError(t, budget.Ready(t.Context()), "a first attempt is none")
	_, err = policy.Acquire(t.Context(), budget)
	require.NoError(t, err)
}

func TestConcurrencyBudgetHearsEveryExit(t *testing.T) {
	budget := retry.NewConcurrencyBudget(0.5, 5)
	pipeline := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Constant(0)), budget)
	second := func(f func() error) func(context.Context) error {
		return func(ctx context.Context) error {
			if retry.Attempt(ctx) == 1 {
				return errBackend
			}
			return f()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_ = pipeline.Run(ctx, second(func() error { cancel(); return errBackend }))
	_ = pipeline.Run(t.Context(), second(func() error { return nil }))
	require.Panics(t, func() { _ = pipeline.Run(t.Context(), second(func() error { panic("boom") })) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = pipeline.Run(t.Context(), second(func() error { runtime.Goexit(); return nil }))
	}()
	<-done
	inside := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Constant(0)), budget, &limited{admissions: 1})
	_ = inside.Run(t.Context(), func(context.Context) error { return errBackend })
	require.True(t, budget.Idle())
	require.Equal(t, 5.0, budget.Snapshot().Tokens)
}

func TestAConcurrencyBudgetMustBeComposed(t *testing.T) {
	budget := retry.NewConcurrencyBudget(0.2, 3)
	again := retry.New(retry.WithBudget(budget), retry.Constant(0))
	for name, layers := range map[string][]policy.Layer{
		"alone":        {again},
		"another one":  {again, retry.NewConcurrencyBudget(0.2, 3)},
		"outside":      {again, policy.At(policy.StageShed, budget)},
		"with a guard": {again, &witness{}},
	} {
		require.ErrorContains(t, resilience.Validate(layers...), "Compose(retry.New(retry.WithBudget(budget)), budget, …)", name)
	}
	require.NoError(t, resilience.Validate(again, budget))
	require.NoError(t, resilience.Validate(again, policy.At(policy.StageBreaker, budget)))
	require.NoError(t, resilience.Validate(resilience.Compose(budget, &witness{}), again))
	require.NoError(t, resilience.Validate(retry.New(), budget), "it only counts")

	op := always(errBackend)
	_, err := resilience.Do(t.Context(), again, op.do) // nothing validates a single layer
	require.ErrorIs(t, err, retry.ErrBudget)
	require.Equal(t, 1, op.entered)
}

func TestConcurrencyBudgetInALoop(t *testing.T) {
	budget := retry.NewConcurrencyBudget(0, 1)
	again := retry.New(retry.WithBudget(budget), retry.Constant(0))
	tries := again.Tries(t.Context(), budget)
	passes := 0
	for try := range tries.All() {
		passes++
		try.Done(errBackend)
	}
	require.Equal(t, 3, passes, "one retry at a time")
	require.True(t, budget.Idle())
}

func TestBadConcurrencyBudgets(t *testing.T) {
	for _, b := range []struct {
		share   float64
		minimum int
	}{{0, 0}, {-0.1, 1}, {1.1, 1}, {math.NaN(), 1}, {0.2, -1}, {0.2, 1e9 + 1}} {
		err := retry.ValidateConcurrencyBudget(b.share, b.minimum)
		require.IsType(t, &policy.ConfigError{}, err)
		require.PanicsWithError(t, err.Error(), func() { retry.NewConcurrencyBudget(b.share, b.minimum) })
		require.Error(t, retry.NewConcurrencyBudget(0.2, 3).Reconfigure(b.share, b.minimum))
	}
	budget := retry.NewConcurrencyBudget(0.2, 3)
	require.Equal(t, "retry concurrency budget 0.2, at least 3", budget.String())
	require.NoError(t, budget.Reconfigure(0.5, 7))
	require.Equal(t, 7.0, budget.Snapshot().Limit)
}

func TestConcurrencyBudgetKeepsTheContract(t *testing.T) {
	policytest.Guard(t, func() policy.Guard { return retry.NewConcurrencyBudget(0.5, 2) })
}
