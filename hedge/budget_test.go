package hedge_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// pay makes a call as the engine does it for the outermost user of a budget: a call that enters the operation deposits
// once, and the first success is the result.
func pay(ctx context.Context, h *hedge.Hedge, op policy.Func[int]) (result int, err error) {
	var entered sync.Once
	var mu sync.Mutex
	won := false
	err = h.Run(ctx, func(ctx context.Context) error {
		entered.Do(h.Budget().Deposit)
		value, err := op(ctx)
		mu.Lock()
		defer mu.Unlock()
		if !won {
			result, won = value, err == nil
		}
		return err
	})
	mu.Lock()
	defer mu.Unlock()
	return result, err
}

func TestFault154_BudgetUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10*ms, hedge.Limit(0.1, 0))
		extra := 0
		for i := range 100 {
			op, calls := script(step{takes: 50 * ms})
			value, err := pay(t.Context(), h, op)
			require.NoError(t, err, "the running attempt continues")
			require.Equal(t, 1, value)
			extra += int(calls.Load()) - 1
			require.LessOrEqual(t, float64(extra), 0.1*float64(i+1)+1)
		}
		require.Equal(t, 11, extra, "one at first, and one of ten calls")
		s := h.Snapshot()
		require.EqualValues(t, 11, s.Extra)
		require.EqualValues(t, 89, s.OverBudget)
	})
}

func TestTheFloorOfTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10*ms, hedge.Limit(0, 2))
		hedged := func(times int) (extra int) {
			for range times {
				op, calls := script(step{takes: 11 * ms})
				_, err := pay(t.Context(), h, op)
				require.NoError(t, err)
				extra += int(calls.Load()) - 1
			}
			return extra
		}
		require.Equal(t, 20, hedged(40))
		time.Sleep(time.Second)
		require.Equal(t, 3, hedged(40), "two, and what was earned during the calls: twice 0.88")
		time.Sleep(time.Hour)
		require.Equal(t, 20, hedged(20))
	})
}

// allOrNothing is a budget from elsewhere.
type allOrNothing struct {
	mu              sync.Mutex
	open            bool
	taken, returned int
}

func (b *allOrNothing) Deposit() {}

func (b *allOrNothing) Withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		b.taken++
	}
	return b.open
}

func (b *allOrNothing) Return() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned++
}

func TestABudgetFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &allOrNothing{open: true}
		h := after(10*ms, hedge.WithBudget(shared), hedge.MaxRunning(3))
		run := func() int64 {
			op, calls := script(step{takes: 50 * ms})
			_, err := resilience.Do(t.Context(), h, op)
			if err != nil {
				t.Error(err)
			}
			return calls.Load()
		}
		require.EqualValues(t, 2, run())
		require.Equal(t, 1, shared.taken)
		var both sync.WaitGroup
		var calls atomic.Int64
		for range 2 {
			both.Go(func() { calls.Add(run()) })
		}
		both.Wait()
		require.EqualValues(t, 3, calls.Load(), "room for three attempts at a time")
		require.Equal(t, 3, shared.taken)
		require.Equal(t, 1, shared.returned)
		shared.open = false
		require.EqualValues(t, 1, run())
	})
}

// TestFault154_ARejectionDoesNotSayThatNothingWasMade: what an operation returns after it has sent its request may be the
// refusal of another client that it uses.
func TestFault154_ARejectionDoesNotSayThatNothingWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := &allOrNothing{open: true}
		op, calls := script(step{takes: 50 * ms}, step{err: &policy.Rejection{Reason: breaker.ErrOpen}})
		_, err := resilience.Do(t.Context(), after(10*ms, hedge.WithBudget(budget)), op)
		require.NoError(t, err)
		require.EqualValues(t, 2, calls.Load())
		require.Equal(t, 1, budget.taken)
		require.Zero(t, budget.returned)
	})
}

// TestFault234_OneBudgetForRetriesAndHedges: together they stay within it.
func TestFault234_OneBudgetForRetriesAndHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(0.1, 0)
		p := resilience.Compose(
			retry.New(retry.Attempts(3), retry.Constant(0), retry.WithBudget(budget)),
			after(10*ms, hedge.Extra(2), hedge.WithBudget(budget)),
		)
		op, attempts := script(step{takes: 25 * ms, err: errBackend})
		for range 1000 {
			_, err := resilience.Do(t.Context(), p, op)
			require.ErrorIs(t, err, errBackend)
		}
		require.LessOrEqual(t, attempts.Load(), int64(1000+100+1))
		require.Greater(t, attempts.Load(), int64(1000+90))
	})
}

// A budget of package retry is fed by the calls of the hedge that uses it, also where there is no retry.
func TestFault248_AHedgeFeedsItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10*ms, hedge.WithBudget(retry.NewBudget(0.5, 0)))
		op, attempts := script(step{takes: 25 * ms})
		for range 1000 {
			_, err := resilience.Do(t.Context(), h, op)
			require.NoError(t, err)
		}
		require.InDelta(t, 1500, attempts.Load(), 2)
		time.Sleep(time.Second)
	})
}
