package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// ledger notes when calls were counted and when retries were scheduled, in virtual time.
type ledger struct {
	mu      sync.Mutex
	start   time.Time
	entries map[time.Duration]*entry
	order   []time.Duration // of the entries, rising
}

type entry struct{ calls, retries int }

func newLedger() *ledger { return &ledger{start: time.Now(), entries: map[time.Duration]*entry{}} }

func (l *ledger) at(now time.Time) *entry {
	at := now.Sub(l.start)
	if l.entries[at] == nil {
		l.entries[at] = &entry{}
		l.order = append(l.order, at)
	}
	return l.entries[at]
}

// Observe hears of retries when they are scheduled.
func (l *ledger) Observe(_ context.Context, event policy.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case event.Kind == policy.EventRetry:
		l.at(time.Now()).retries++
	case event.Kind == policy.EventAttempt && event.Attempt == 1:
		l.at(time.Now()).calls++
	}
}

// excess returns the largest number, over all periods, of retries − ratio × calls − perSecond × seconds, where calls are
// those of the period and of the ten seconds before the one in which it begins, and how many calls and retries there were
// in all.
func (l *ledger) excess(ratio, perSecond float64) (excess float64, calls, retries int) {
	excess = math.Inf(-1)
	least, banked, forgotten := math.Inf(1), 0, 0 // forgotten: the calls of entries before banked
	for _, at := range l.order {
		for ; at/time.Second-l.order[banked]/time.Second > 10; banked++ {
			forgotten += l.entries[l.order[banked]].calls
		}
		least = min(least, float64(retries)-ratio*float64(forgotten)-perSecond*at.Seconds()) // a period that begins here
		e := l.entries[at]
		calls, retries = calls+e.calls, retries+e.retries
		excess = max(excess, float64(retries)-ratio*float64(calls)-perSecond*at.Seconds()-least)
	}
	return excess, calls, retries
}

func TestFault112_234_RetriesStayWithinTheBudgetInEveryPeriod(t *testing.T) {
	patterns := map[string]func(random *rand.Rand, at time.Duration) bool{
		"nothing fails":    func(*rand.Rand, time.Duration) bool { return false },
		"all fail":         func(*rand.Rand, time.Duration) bool { return true },
		"one in three":     func(random *rand.Rand, _ time.Duration) bool { return random.IntN(3) == 0 },
		"one in a hundred": func(random *rand.Rand, _ time.Duration) bool { return random.IntN(100) == 0 },
		"bursts":           func(_ *rand.Rand, at time.Duration) bool { return at/(3*time.Second)%2 == 1 },
		"blips":            func(_ *rand.Rand, at time.Duration) bool { return at%time.Second < 20*time.Millisecond },
	}
	budgets := []struct{ ratio, perSecond float64 }{{0.2, 10}, {0.1, 0}, {0, 3}, {1, 1}}
	for name, fails := range patterns {
		for _, b := range budgets {
			t.Run(fmt.Sprintf("%s, %v + %v/s", name, b.ratio, b.perSecond), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const callers, callsEach = 200, 30
					book := newLedger()
					budget := retry.NewBudget(b.ratio, b.perSecond)
					var group sync.WaitGroup
					for caller := range callers {
						group.Go(func() {
							random := rand.New(rand.NewPCG(uint64(caller), 7))
							// Retriers differ, the budget is one.
							again := retry.New(retry.WithBudget(budget), retry.Attempts(2+caller%4), retry.Exponential(time.Duration(1+caller%50)*time.Millisecond, time.Second))
							pipeline := resilience.Compose(again, resilience.Observe(book))
							for range callsEach {
								time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
								_ = pipeline.Run(t.Context(), func(context.Context) error {
									time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
									if fails(random, time.Since(book.start)) {
										return errBackend
									}
									return nil
								})
							}
						})
					}
					group.Wait()
					excess, calls, retries := book.excess(b.ratio, b.perSecond)
					floor := max(1, 10*b.perSecond)
					require.Equal(t, callers*callsEach, calls)
					require.LessOrEqual(t, excess, floor+1e-6)
					if budget.Snapshot().Denied > 0 { // it refuses only when it has allowed what it must
						require.Greater(t, excess, floor-2)
					}
					if name == "all fail" {
						require.Positive(t, budget.Snapshot().Denied)
						require.Greater(t, float64(retries), b.ratio*float64(calls)-1)
					}
				})
			})
		}
	}
}

func TestFault112_TheDefaultBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := newLedger()
		pipeline := resilience.Compose(retry.New(retry.Constant(0), retry.Attempts(5)), resilience.Observe(book))
		var last error
		for range 1000 {
			last = pipeline.Run(t.Context(), func(context.Context) error { return errBackend })
		}
		_, calls, retries := book.excess(0.2, 10)
		require.Equal(t, 1000, calls)
		require.Equal(t, 100+200, retries, "100 at first, and one for five calls")
		require.ErrorIs(t, last, retry.ErrBudget)
		time.Sleep(3 * time.Second)
		for range 1000 {
			_ = pipeline.Run(t.Context(), func(context.Context) error { return errBackend })
		}
		_, _, retries = book.excess(0.2, 10)
		require.Equal(t, 100+400+30, retries, "10 per second")

		unbounded := retry.New(retry.Constant(0), retry.Attempts(5), retry.NoBudget())
		for range 1000 {
			_, _ = resilience.Do(t.Context(), unbounded, always(errBackend).do)
		}
		require.EqualValues(t, 4000, unbounded.Snapshot().Retries)
		require.Zero(t, unbounded.Snapshot().Budget)
	})
}

func TestFault092_LastErrorKeptWhenTheBudgetIsSpent(t *testing.T) {
	budget := retry.NewBudget(0.001, 0)
	again := retry.New(retry.WithBudget(budget), retry.Constant(0), retry.Attempts(5))
	op := always(errBackend)
	value, err := resilience.Do(t.Context(), again, op.do)
	require.Equal(t, 2, op.entered, "the one token there is")
	require.Equal(t, -2, value)
	gave, ok := errors.AsType[*retry.Error](err)
	require.True(t, ok)
	require.Equal(t, retry.ErrBudget, gave.Reason)
	require.Equal(t, errBackend, gave.Last)
	require.EqualValues(t, 1, budget.Snapshot().Denied)
}

func TestFault113_TheBudgetReturnsAndRefills(t *testing.T) {
	newBudget := func() *retry.Budget { return retry.NewBudget(0.25, 0) } // holds 1 token
	hold := []retry.Option{retry.Constant(time.Second), retry.NoJitter()}
	tokens := func(b *retry.Budget) float64 { return b.Snapshot().Tokens }

	t.Run("a cancelled wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			budget := newBudget()
			ctx, cancel := context.WithCancel(t.Context())
			var during float64
			time.AfterFunc(time.Millisecond, func() { during = tokens(budget); cancel() })
			_, err := resilience.Do(ctx, retry.New(append(hold, retry.WithBudget(budget))...), always(errBackend).do)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 0.25, during, "taken while the retry sleeps")
			require.Equal(t, 1.25, tokens(budget), "what there was, and what the call has earned")
		})
	})
	t.Run("a gate that begins to refuse during the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			budget := newBudget()
			breaker := &fakeBreaker{threshold: 10, openFor: time.Hour}
			time.AfterFunc(time.Millisecond, breaker.open)
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(append(hold, retry.WithBudget(budget))...), breaker), always(errBackend).do)
			require.ErrorIs(t, err, errOpen)
			require.Equal(t, 1.25, tokens(budget), "what there was, and what the call has earned")
		})
	})
	t.Run("an attempt that is refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			budget := newBudget()
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(append(hold, retry.WithBudget(budget))...), &limited{admissions: 1}), always(errBackend).do)
			require.ErrorIs(t, err, errFull)
			require.Equal(t, 1.25, tokens(budget), "what there was, and what the call has earned")
		})
	})
	t.Run("errors that are not retried", func(t *testing.T) {
		budget := newBudget()
		again := retry.New(retry.WithBudget(budget), retry.If(func(err error) bool { return err != errOpen }))
		for _, err := range []error{retry.Permanent(errBackend), errOpen} {
			for range 10 {
				_, _ = resilience.Do(t.Context(), again, always(err).do)
			}
		}
		for range 10 {
			_, _ = resilience.Do(t.Context(), resilience.Compose(retry.New(retry.WithBudget(budget)), &full{}), always(errBackend).do)
		}
		require.Equal(t, 1.0+20*0.25, tokens(budget), "calls that were refused locally earn nothing")
		require.Zero(t, budget.Snapshot().Denied)
	})
	t.Run("a retry that was made is spent", func(t *testing.T) {
		budget := newBudget()
		again := retry.New(retry.WithBudget(budget), retry.Constant(0))
		_, err := resilience.Do(t.Context(), again, fails(errBackend).do)
		require.NoError(t, err)
		require.Equal(t, 0.25, tokens(budget))
		for range 3 {
			_, _ = resilience.Do(t.Context(), again, succeed)
		}
		require.Equal(t, 1.0, tokens(budget), "calls refill")
	})
	t.Run("calls that were refused locally earn nothing", func(t *testing.T) {
		budget := newBudget()
		require.True(t, budget.Withdraw())
		for range 100 {
			_, _ = resilience.Do(t.Context(), resilience.Compose(retry.New(retry.WithBudget(budget)), &full{}), succeed)
		}
		require.Zero(t, tokens(budget))
		budget.Return()
		budget.Return()
		require.Equal(t, 1.0, tokens(budget), "never above the most")
	})
}

func TestFault061_APanicLeavesTheBudgetUsable(t *testing.T) {
	budget := retry.NewBudget(0.25, 0)
	again := retry.New(retry.WithBudget(budget), retry.If(func(error) bool { panic("boom") }))
	require.PanicsWithValue(t, "boom", func() { _, _ = resilience.Do(t.Context(), again, always(errBackend).do) })
	require.Equal(t, 1.25, budget.Snapshot().Tokens)
}

func TestFault234_LayersOfRetriesStayBelowTwice(t *testing.T) {
	// Three layers of 4 attempts, all of which fail: 64 attempts for each call without budgets.
	load := func(opts ...retry.Option) float64 {
		const calls = 400
		var layers [3]*retry.Retrier
		for i := range layers {
			layers[i] = retry.New(append(opts, retry.Attempts(4), retry.Constant(0), retry.RetryNested())...)
			if len(opts) == 0 {
				layers[i] = retry.New(retry.Attempts(4), retry.Constant(0), retry.RetryNested(), retry.WithBudget(retry.NewBudget(0.2, 0)))
			}
		}
		leaves := 0
		for range calls {
			_, _ = resilience.Do(t.Context(), layers[0], func(ctx context.Context) (int, error) {
				return resilience.Do(ctx, layers[1], func(ctx context.Context) (int, error) {
					return resilience.Do(ctx, layers[2], func(context.Context) (int, error) {
						leaves++
						return 0, errBackend
					})
				})
			})
		}
		return float64(leaves) / calls
	}
	require.Equal(t, 64.0, load(retry.NoBudget()))
	require.InDelta(t, 1.2*1.2*1.2, load(), 0.05)
}

func TestFault236_AnEmptyBudgetFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		again := retry.New(retry.WithBudget(retry.NewBudget(0.1, 0)), retry.Constant(0))
		for range 100 { // one client, one call after the other: nobody else would refill the budget
			_, err := resilience.Do(t.Context(), again, always(errBackend).do)
			require.Error(t, err)
		}
		require.Zero(t, time.Since(start), "nobody waits for a token")
		for range 10 {
			_, err := resilience.Do(t.Context(), again, succeed)
			require.NoError(t, err)
		}
		_, err := resilience.Do(t.Context(), again, fails(errBackend).do)
		require.NoError(t, err, "successes have refilled it")
	})
}

func TestTriesUseTheBudget(t *testing.T) {
	again := retry.New(retry.Constant(0), retry.Attempts(5), retry.WithBudget(retry.NewBudget(0.1, 0)))
	passes := 0
	tries := again.Tries(t.Context())
	for try := range tries.All() {
		passes++
		try.Done(errBackend)
	}
	require.Equal(t, 2, passes)
	require.ErrorIs(t, tries.Err(), retry.ErrBudget)
}

func TestTokenBudget(t *testing.T) {
	newRetrier := func(budget policy.Budget) *retry.Retrier {
		return retry.New(retry.WithBudget(budget), retry.Constant(0), retry.Attempts(10))
	}
	t.Run("the fifth failure of an outage stops retries", func(t *testing.T) {
		budget := retry.NewTokenBudget(10, 0.1)
		again := newRetrier(budget)
		for range 20 {
			_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
		}
		require.EqualValues(t, 4, again.Snapshot().Retries)
		require.Equal(t, retry.BudgetSnapshot{Tokens: 0, Limit: 10, Denied: 20}, budget.Snapshot(), "5 failures of the first call, 1 of each later one")
	})
	t.Run("51 successes after the bottom enable them", func(t *testing.T) {
		budget := retry.NewTokenBudget(10, 0.1)
		again := newRetrier(budget)
		for range 20 {
			_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
		}
		for range 50 {
			_, _ = resilience.Do(t.Context(), again, succeed)
		}
		require.False(t, budget.Withdraw())
		_, _ = resilience.Do(t.Context(), again, succeed)
		require.True(t, budget.Withdraw())
	})
	t.Run("only failures that may be retried count", func(t *testing.T) {
		budget := retry.NewTokenBudget(10, 0.1)
		again := newRetrier(budget)
		for range 20 {
			_, _ = resilience.Do(t.Context(), again, always(retry.Permanent(errBackend)).do)
		}
		require.Equal(t, 10.0, budget.Snapshot().Tokens)
	})
	t.Run("a rejection that is retried is no failure", func(t *testing.T) {
		budget := retry.NewTokenBudget(10, 0.1)
		again := retry.New(retry.WithBudget(budget), retry.Constant(0), retry.RetryRejections(errFull))
		op := always(&policy.Rejection{Kind: "bulkhead", Reason: errFull}) // of a call that the operation makes
		_, _ = resilience.Do(t.Context(), again, op.do)
		_, _ = resilience.Do(t.Context(), resilience.Compose(again, &full{}), op.do)
		require.EqualValues(t, 4, again.Snapshot().Retries)
		require.Equal(t, 10.0, budget.Snapshot().Tokens)
	})
	t.Run("the steady state", func(t *testing.T) {
		// Retries are off when more than 0.1/1.1 = 9.09 % of the attempts fail, on when fewer do.
		for percent, on := range map[int]bool{8: true, 10: false} {
			budget := retry.NewTokenBudget(10, 0.1)
			again := retry.New(retry.WithBudget(budget), retry.Attempts(1)) // only counts: retries would change the share
			allowed := 0
			for i := range 20_000 {
				op := succeed
				if i*percent%100 < percent { // evenly spread
					op = always(errBackend).do
				}
				_, _ = resilience.Do(t.Context(), again, op)
				if i >= 10_000 && budget.Withdraw() {
					allowed++
				}
			}
			require.Equal(t, on, allowed > 9000, "%d %% of the attempts fail: %d of 10000 allowed", percent, allowed)
			require.Equal(t, !on, allowed < 1000, "%d %% of the attempts fail: %d of 10000 allowed", percent, allowed)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		budget := retry.NewTokenBudget(1000, 0.5)
		again := retry.New(retry.WithBudget(budget), retry.Attempts(1))
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 100 {
					_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
				}
			})
		}
		group.Wait()
		require.Equal(t, 200.0, budget.Snapshot().Tokens, "no update is lost")
	})
	t.Run("decimal places", func(t *testing.T) {
		for ratio, want := range map[float64]float64{0.1: 0.1, 0.001: 0.001, 0.5466: 0.546, 0.57: 0.57} {
			budget := retry.NewTokenBudget(1, ratio)
			again := retry.New(retry.WithBudget(budget), retry.Attempts(1))
			_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
			_, _ = resilience.Do(t.Context(), again, succeed)
			require.Equal(t, want, budget.Snapshot().Tokens)
		}
	})
}

func TestFault178_BadBudgets(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, b := range []struct{ ratio, perSecond float64 }{{nan, 1}, {1, nan}, {inf, 1}, {1, inf}, {-inf, 1}, {-0.1, 1}, {1, -1}, {0, 0}} {
		err := retry.ValidateBudget(b.ratio, b.perSecond)
		require.IsType(t, &policy.ConfigError{}, err, "%v", b)
		require.PanicsWithError(t, err.Error(), func() { retry.NewBudget(b.ratio, b.perSecond) })
	}
	require.EqualError(t, retry.ValidateBudget(-1, nan), "retry.NewBudget: ratio -1: must be from 0 to 1e+09; perSecond NaN: must be from 0 to 1e+09")
	for _, b := range []struct {
		most  int
		ratio float64
	}{{0, 1}, {-1, 1}, {1001, 1}, {10, 0}, {10, -1}, {10, nan}, {10, inf}, {10, 0.0004}, {10, 1001}, {10, math.Nextafter(1000, inf)}} {
		err := retry.ValidateTokenBudget(b.most, b.ratio)
		require.IsType(t, &policy.ConfigError{}, err, "%v", b)
		require.PanicsWithError(t, err.Error(), func() { retry.NewTokenBudget(b.most, b.ratio) })
	}
	for _, b := range []struct{ ratio, perSecond float64 }{{math.Nextafter(1e9, inf), 1}, {1, math.Nextafter(1e9, inf)}} {
		require.ErrorContains(t, retry.ValidateBudget(b.ratio, b.perSecond), "must be from 0 to 1e+09")
	}
	require.NoError(t, retry.ValidateBudget(1e9, 1e9))
	require.NoError(t, retry.ValidateBudget(0.2, 10))
	require.NoError(t, retry.ValidateTokenBudget(1000, 0.001))
	require.NoError(t, retry.ValidateTokenBudget(1, 1000))
	require.Equal(t, "budget 100.0 of 100.0", retry.NewBudget(0.2, 10).String())
}

func TestABudgetMayBeShortOfAMillionthOfAToken(t *testing.T) {
	// The sum of many small earnings is seldom exactly 1.
	for ratio, allowed := range map[float64]bool{0.999999: true, 0.999998: false} {
		budget := retry.NewBudget(ratio, 0)
		require.True(t, budget.Withdraw(), "it begins full")
		_, err := resilience.Do(t.Context(), retry.New(retry.WithBudget(budget)), succeed)
		require.NoError(t, err)
		require.Equal(t, allowed, budget.Withdraw(), "a call has earned %v", ratio)
	}
}

func TestABudgetAtItsExtremes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := retry.NewBudget(0, 1e8)
		require.True(t, fast.Withdraw())
		require.Equal(t, 1e9-1, fast.Snapshot().Tokens, "no time has passed")
		require.True(t, fast.Withdraw())
		require.Equal(t, 1e9-2, fast.Snapshot().Tokens)

		hardly := retry.NewBudget(1e-19, 1) // more calls than can be counted would fill it
		for range 10 {
			require.True(t, hardly.Withdraw())
			require.InDelta(t, hardly.Snapshot().Tokens, math.Round(hardly.Snapshot().Tokens), 1e-9)
		}
		require.InDelta(t, 0, hardly.Snapshot().Tokens, 1e-9)
		require.False(t, hardly.Withdraw())
		for range 3 {
			_, err := resilience.Do(t.Context(), retry.New(retry.WithBudget(hardly)), succeed)
			require.NoError(t, err)
		}
		require.InDelta(t, 0, hardly.Snapshot().Tokens, 1e-9)
		time.Sleep(time.Second)
		require.True(t, hardly.Withdraw(), "time fills it all the same")
	})
}

func TestABudgetMadeOutsideABubbleWorksInside(t *testing.T) {
	budget := retry.NewBudget(0, 0.1) // the clock inside begins in the year 2000
	synctest.Test(t, func(t *testing.T) {
		require.True(t, budget.Withdraw())
		require.False(t, budget.Withdraw())
		time.Sleep(10 * time.Second)
		require.True(t, budget.Withdraw())
		require.False(t, budget.Withdraw())
	})
}

func TestFault245_TheShareThatIsRetriedIsTheRatio(t *testing.T) {
	const calls = 10_000
	for _, ratio := range []float64{0.001, 0.1, 0.2, 0.3, 0.35, 0.75, 0.99, 0.999, 0.9999, 1, 1.5, 3} {
		again := retry.New(retry.WithBudget(retry.NewBudget(ratio, 0)), retry.Constant(0), retry.Attempts(10))
		for range calls {
			_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
		}
		require.InDelta(t, ratio*calls, again.Snapshot().Retries, 1, "ratio %v", ratio)
	}
}

func TestFault246_GoodTrafficIsBanked(t *testing.T) {
	for name, test := range map[string]struct {
		pause   time.Duration
		retries int
	}{"at once": {0, 500}, "when it is forgotten": {11 * time.Second, 200}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				again := retry.New(retry.Attempts(2))
				for range 10_000 {
					time.Sleep(time.Millisecond)
					_, err := resilience.Do(t.Context(), again, succeed)
					require.NoError(t, err)
				}
				time.Sleep(test.pause)
				var group sync.WaitGroup
				for range 500 {
					group.Go(func() {
						_, _ = resilience.Do(t.Context(), again, func(context.Context) (int, error) {
							time.Sleep(time.Second)
							return 0, errBackend
						})
					})
				}
				group.Wait()
				// Forgotten: 100 of the ten seconds without calls, and one for five of the 500.
				require.EqualValues(t, test.retries, again.Snapshot().Retries)
			})
		})
	}
}

// counted is a budget of another package.
type counted struct{ deposits, withdrawals, returns int }

func (c *counted) Deposit()       { c.deposits++ }
func (c *counted) Withdraw() bool { c.withdrawals++; return c.withdrawals%2 == 1 }
func (c *counted) Return()        { c.returns++ }

func TestFault248_ABudgetIsFedByWhoeverUsesIt(t *testing.T) {
	budget := &counted{}
	again := retry.New(retry.WithBudget(budget), retry.Constant(0))
	require.Equal(t, policy.Budget(budget), again.Budget())
	require.Zero(t, again.Snapshot().Budget)
	require.True(t, again.Idle())
	_, err := resilience.Do(t.Context(), again, always(errBackend).do)
	require.ErrorIs(t, err, retry.ErrBudget)
	require.Equal(t, counted{deposits: 1, withdrawals: 2}, *budget, "a call deposits once, however many attempts it makes")
	_, _ = resilience.Do(t.Context(), resilience.Compose(again, &full{}), succeed)
	require.Equal(t, 1, budget.deposits, "a call that was refused locally earns nothing")

	shared := retry.NewBudget(0.5, 0)
	for range 10 {
		shared.Deposit() // by a user of its own
	}
	require.Equal(t, 6.0, shared.Snapshot().Tokens)
	var nothing *counted
	require.ErrorContains(t, retry.Validate(retry.WithBudget(nothing)), "the budget is nil")
}

// hasty is a guard and a gate that panics, or exits, when a retry comes.
type hasty struct {
	witness
	ready, admit func()
	asked        int
}

func (h *hasty) Ready(context.Context) error {
	if h.asked++; h.ready != nil && h.asked == 2 { // after the sleep, if there is one
		h.ready()
	}
	return nil
}

func (h *hasty) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if h.admit != nil && retry.Attempt(ctx) > 1 {
		h.admit()
	}
	return h.witness.Admit(ctx)
}

func TestFault267_ATokenComesBackWhenTheRetryIsNotMade(t *testing.T) {
	boom := func() { panic("boom") }
	for name, test := range map[string]struct {
		guard *hasty
		opts  []retry.Option
	}{
		"panic in Admit":     {guard: &hasty{admit: boom}},
		"Goexit in Admit":    {guard: &hasty{admit: runtime.Goexit}},
		"panic in Ready":     {guard: &hasty{ready: boom}},
		"Goexit in Ready":    {guard: &hasty{ready: runtime.Goexit}},
		"panic in OnDiscard": {guard: &hasty{}, opts: []retry.Option{retry.OnDiscard(func(any) { boom() })}},
	} {
		t.Run(name, func(t *testing.T) {
			budget := retry.NewBudget(0.25, 0)
			again := retry.New(append(test.opts, retry.WithBudget(budget), retry.Constant(1), retry.NoJitter())...)
			op := always(errBackend)
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = resilience.Do(t.Context(), resilience.Compose(again, test.guard), op.do)
			}()
			<-done
			require.Equal(t, 1, op.entered)
			if name != "panic in OnDiscard" {
				require.Equal(t, 1.25, budget.Snapshot().Tokens)
			}
		})
	}
	// The retry was paid for, its attempt was refused, and then a function of the user does not return.
	for name, last := range map[string]func(){"panic in Delay": boom, "Goexit in Delay": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			budget, asked := retry.NewBudget(0.25, 0), 0
			again := retry.New(retry.WithBudget(budget), retry.RetryRejections(errFull), retry.NoJitter(),
				retry.Delay(func(policy.Attempt) time.Duration {
					if asked++; asked == 2 {
						last()
					}
					return 0
				}))
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = resilience.Do(t.Context(), resilience.Compose(again, &limited{admissions: 1}), always(errBackend).do)
			}()
			<-done
			require.Equal(t, 2, asked)
			require.Equal(t, 1.25, budget.Snapshot().Tokens)
		})
	}
	// The same, but what does not return is a gate that is asked about the next attempt.
	for name, last := range map[string]func(){"panic in the second Ready": boom, "Goexit in the second Ready": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			budget := retry.NewBudget(0.25, 0)
			again := retry.New(retry.WithBudget(budget), retry.RetryRejections(errFull), retry.Constant(0))
			gate := &hasty{ready: last}
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = resilience.Do(t.Context(), resilience.Compose(again, gate, &limited{admissions: 1}), always(errBackend).do)
			}()
			<-done
			require.Equal(t, 2, gate.asked)
			require.Equal(t, 1.25, budget.Snapshot().Tokens)
		})
	}
	// What is asked again about an attempt gives back, also when it is told of it anew.
	budget := retry.NewBudget(0.25, 0)
	again := retry.New(retry.WithBudget(budget), retry.Constant(0))
	ended := policy.Attempt{Number: 1, Outcome: policy.Outcome{Kind: policy.Returned, Err: errBackend}}
	decision := again.Next(t.Context(), ended)
	require.True(t, decision.Again)
	require.Zero(t, budget.Snapshot().Tokens)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended.State = decision.State
	decision = again.Next(ctx, ended)
	require.False(t, decision.Again)
	require.Equal(t, 1.0, budget.Snapshot().Tokens)
	gave, ok := decision.Err.(*retry.Error)
	require.True(t, ok)
	require.Equal(t, 1, gave.Attempts, "noted once")
}

func TestBudgetReconfigure(t *testing.T) {
	budget := retry.NewBudget(0.2, 10)
	for range 60 {
		require.True(t, budget.Withdraw())
	}
	require.NoError(t, budget.Reconfigure(0.1, 3))
	require.InDelta(t, 30, budget.Snapshot().Tokens, 0.1, "what it can still hold")
	require.Error(t, budget.Reconfigure(-1, 3))
	require.InDelta(t, 30, budget.Snapshot().Limit, 0.1)
	tokens := retry.NewTokenBudget(10, 0.1)
	require.NoError(t, tokens.Reconfigure(4, 0.5))
	require.Equal(t, retry.BudgetSnapshot{Tokens: 4, Limit: 4}, tokens.Snapshot())
	require.Error(t, tokens.Reconfigure(0, 0.5))
}
