package hedge_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		discarded := 0
		h := after(10*ms, hedge.Name("users"), hedge.Limit(0, 1), hedge.OnDiscard(func(any) { discarded++ }))
		require.True(t, h.Idle())
		for range 10 {
			require.True(t, h.Budget().Withdraw())
		}
		require.False(t, h.Idle(), "the budget is spent")

		before := h.Report()
		require.EqualError(t, h.Reconfigure(hedge.Extra(0), hedge.Name("orders")),
			`hedge.Reconfigure: Extra(0): must be from 1 to 10; Name("orders"): the name "users" cannot be changed`)
		require.Equal(t, before, h.Report(), "all or nothing")

		require.NoError(t, h.Reconfigure(hedge.Idempotent(), hedge.After(20*ms), hedge.Limit(0, 2)))
		require.Equal(t, `hedge "users" 1 after 20ms`, h.String())
		op, calls := script(step{takes: 100 * ms})
		_, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.EqualValues(t, 1, calls.Load(), "the budget is still spent")
		require.EqualValues(t, 1, h.Snapshot().OverBudget)
		time.Sleep(time.Second)
		op, calls = script(step{takes: 100 * ms, deaf: true}, step{takes: ms})
		start := time.Now()
		_, err = resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.Equal(t, 21*ms, time.Since(start))
		require.EqualValues(t, 2, calls.Load())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 1, discarded, "a function stays")
		require.EqualValues(t, 2, h.Snapshot().Calls, "counts stay")
		require.False(t, h.Idle(), "what was set by hand is not to be forgotten")

		require.NoError(t, h.Reconfigure(hedge.Name("users")))
		require.Equal(t, `hedge "users" 1 after p95`, h.String(), "data that is not given has its default")
		op, calls = script(step{takes: 100 * ms})
		_, err = resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.EqualValues(t, 1, calls.Load(), "not idempotent any more")
	})
}

func TestReconfigureTheQuantile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Idempotent(), hedge.Quantile(0.5))
		for range 150 {
			_, err := resilience.Do(t.Context(), h, func(context.Context) (int, error) { time.Sleep(20 * ms); return 0, nil })
			require.NoError(t, err)
		}
		require.NoError(t, h.Reconfigure(hedge.Idempotent(), hedge.Quantile(0.9)))
		require.InEpsilon(t, 0.020, h.Snapshot().Delay.Seconds(), 0.032, "what was learned stays")
		require.NoError(t, h.Reconfigure(hedge.Idempotent(), hedge.Quantile(0.99), hedge.After(time.Second)))
		require.Equal(t, time.Second, h.Snapshot().Delay, "too little for p99")
		require.NoError(t, h.Reconfigure(hedge.Idempotent(), hedge.After(time.Minute)))
		require.Equal(t, "hedge 1 after 1m0s", h.String())
	})
}

func TestReconfigureTheBudget(t *testing.T) {
	shared, other := &allOrNothing{open: true}, &allOrNothing{}
	h := after(10*ms, hedge.WithBudget(shared))
	require.Equal(t, policy.Budget(shared), h.Budget())
	require.NoError(t, h.Reconfigure(hedge.After(ms)))
	require.Equal(t, policy.Budget(shared), h.Budget(), "it is no data: it stays")
	require.NoError(t, h.Reconfigure(hedge.WithBudget(shared)))
	for _, exchange := range []hedge.Option{hedge.WithBudget(other), hedge.Limit(0.2, 1)} {
		require.ErrorContains(t, h.Reconfigure(exchange), "the budget cannot be replaced", "pipelines hold it")
		require.Equal(t, policy.Budget(shared), h.Budget())
	}

	h = hedge.New()
	own := h.Budget()
	require.NoError(t, h.Reconfigure(hedge.Limit(0.2, 1)))
	require.Same(t, own, h.Budget())
	require.Error(t, h.Reconfigure(hedge.WithBudget(shared)))
	require.NoError(t, h.Reconfigure())
	require.Same(t, own, h.Budget())
}

// incomparable is a budget on which == panics.
type incomparable struct{ _ []int }

func (incomparable) Deposit()       {}
func (incomparable) Withdraw() bool { return true }
func (incomparable) Return()        {}

func TestReconfigureABudgetThatCannotBeCompared(t *testing.T) {
	h := after(10*ms, hedge.WithBudget(incomparable{}))
	require.ErrorContains(t, h.Reconfigure(hedge.WithBudget(incomparable{})), "the budget cannot be replaced")
	require.ErrorContains(t, h.Reconfigure(hedge.WithBudget(nil)), "the budget is nil")
	require.NoError(t, h.Reconfigure(hedge.After(ms)))
	require.IsType(t, incomparable{}, h.Budget())
	require.Error(t, hedge.New().Reconfigure(hedge.WithBudget(incomparable{})))
}

func TestReconfigureMaxRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10*ms, hedge.Extra(3), hedge.Limit(10, 100))
		op, calls := script(step{takes: time.Minute, deaf: true}, step{takes: time.Minute, deaf: true}, step{takes: ms})
		_, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.EqualValues(t, 3, calls.Load())
		require.NoError(t, h.Reconfigure(hedge.Idempotent(), hedge.After(10*ms), hedge.MaxRunning(2)))
		require.Equal(t, 2, h.Snapshot().Running, "they go on")
		op, calls = script(step{takes: time.Second})
		_, err = resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		require.EqualValues(t, 1, calls.Load())
		require.EqualValues(t, 1, h.Snapshot().OverMaxRunning)
		time.Sleep(time.Minute)
	})
}

// A call keeps the options that it began with; no call fails because they change.
func TestReconfigureUnderLoad(t *testing.T) {
	h := after(time.Nanosecond, hedge.Limit(10, 1e9))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			opts := []hedge.Option{hedge.Idempotent(), hedge.After(time.Duration(1 + i%3)), hedge.Extra(1 + i%5), hedge.MaxRunning(20 + i%20)}
			if i%2 == 0 {
				opts = append(opts, hedge.Quantile(0.5+float64(i%4)/10), hedge.AfterFailure(), hedge.Limit(5, 1e8))
			} else {
				opts = append(opts, hedge.Limit(10, 1e9))
			}
			if err := h.Reconfigure(opts...); err != nil {
				t.Error(err)
			}
			_, _, _ = h.Report(), h.Snapshot(), h.String()
		}
	}()
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 500 {
				if value, err := resilience.Do(t.Context(), h, func(context.Context) (int, error) { return 7, nil }); value != 7 || err != nil {
					t.Error(value, err)
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	<-done
	require.Eventually(t, func() bool { return h.Snapshot().Running == 0 }, time.Minute, ms)
	require.Zero(t, h.Snapshot().Left)
}
