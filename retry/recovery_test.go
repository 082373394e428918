package retry_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestAwaitRecovery(t *testing.T) {
	patient := func(opts ...retry.Option) *retry.Retrier {
		return retry.New(append([]retry.Option{retry.AwaitRecovery(10 * time.Second), retry.NoJitter()}, opts...)...)
	}
	t.Run("waits an open breaker out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			op := fails(errBackend)
			value, err := resilience.Do(t.Context(), resilience.Compose(patient(), &fakeBreaker{threshold: 1, openFor: 5 * time.Second}), op.do)
			require.NoError(t, err)
			require.Equal(t, 2, value)
			require.Equal(t, 5*time.Second, time.Since(start))
		})
	})
	t.Run("for as long as it takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 9, openFor: 1000 * time.Hour}
			time.AfterFunc(50*time.Millisecond, breaker.open)
			start := time.Now()
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(retry.AwaitRecovery(math.MaxInt64)), breaker), fails(errBackend).do)
			require.NoError(t, err)
			require.Equal(t, 1000*time.Hour+50*time.Millisecond, time.Since(start))
		})
	})
	t.Run("also when the first attempt is refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 1, openFor: 5 * time.Second}
			breaker.open()
			budget := retry.NewBudget(0.1, 0)
			value, err := resilience.Do(t.Context(), resilience.Compose(patient(retry.WithBudget(budget)), breaker), fails().do)
			require.NoError(t, err)
			require.Equal(t, 1, value, "the operation was entered once")
			require.Equal(t, 1.1, budget.Snapshot().Tokens, "which is no retry, and earned its share as any call")
		})
	})
	t.Run("one attempt at the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			op := always(errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(retry.Attempts(9)), &fakeBreaker{threshold: 1, openFor: 3 * time.Second}), op.do)
			require.Equal(t, 2, op.entered)
			require.ErrorIs(t, err, errOpen)
			require.ErrorIs(t, err, errBackend)

			op = always(errBackend)
			gate := &closedUntil{time.Now().Add(time.Second)}
			_, err = resilience.Do(t.Context(), resilience.Compose(patient(retry.Attempts(9)), gate), op.do)
			require.Equal(t, 1, op.entered)
			require.ErrorIs(t, err, errBackend)
			gave, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.Equal(t, retry.ErrExhausted, gave.Reason)
		})
	})
	t.Run("not longer than it may", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(), &fakeBreaker{threshold: 1, openFor: 11 * time.Second}), always(errBackend).do)
			require.ErrorIs(t, err, errOpen)
			require.ErrorIs(t, err, errBackend)
			require.Zero(t, time.Since(start), "what cannot succeed is not begun")
		})
	})
	t.Run("not into the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			_, err := resilience.Do(ctx, resilience.Compose(patient(), &fakeBreaker{threshold: 1, openFor: 5 * time.Second}), always(errBackend).do)
			require.ErrorIs(t, err, errOpen)
			require.Zero(t, time.Since(start))
		})
	})
	t.Run("a gate that cannot say when is asked again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			gate := &maintenance{}
			time.AfterFunc(4*time.Second, func() { gate.set(nil) })
			gate.set(&policy.Rejection{Kind: "maintenance", Reason: errOpen})
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(), gate), succeed)
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(start), 4*time.Second+10*time.Second/8)
			require.Less(t, gate.asked, 20)
		})
	})
	t.Run("a gate that never opens", func(t *testing.T) {
		for _, until := range []time.Duration{0, 1, -time.Hour} { // unknown, always at once, always in the past
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				gate := &maintenance{ahead: until}
				gate.set(&policy.Rejection{Kind: "maintenance", Reason: errOpen})
				_, err := resilience.Do(t.Context(), resilience.Compose(patient(retry.AwaitRecovery(time.Second)), gate), succeed)
				require.Equal(t, errOpen, errors.Unwrap(err), "the bare rejection: %v", err)
				require.LessOrEqual(t, time.Since(start), time.Second)
				require.Greater(t, time.Since(start), time.Second/2)
				require.Less(t, gate.asked, 3000, "no hot loop")
			})
		}
	})
	t.Run("a cancel ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			op := always(errBackend)
			_, err := resilience.Do(ctx, resilience.Compose(patient(), &fakeBreaker{threshold: 1, openFor: 5 * time.Second}), op.do)
			require.Equal(t, time.Second, time.Since(start))
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, errBackend)

			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			gate := &closedUntil{time.Now().Add(5 * time.Second)}
			_, err = resilience.Do(ctx, resilience.Compose(patient(), gate), op.do)
			require.Equal(t, context.Canceled, err, "bare: nothing was tried")
		})
	})
	t.Run("a breaker that opens during the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 9, openFor: 2 * time.Second}
			time.AfterFunc(50*time.Millisecond, breaker.open)
			start := time.Now()
			op := fails(errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(), breaker), op.do)
			require.NoError(t, err)
			require.Equal(t, 2050*time.Millisecond, time.Since(start))
		})
	})
	t.Run("an exhausted call does not wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(retry.Attempts(2), retry.Constant(0)), &fakeBreaker{threshold: 2, openFor: time.Second}), always(errBackend).do)
			require.ErrorIs(t, err, retry.ErrExhausted)
			require.Zero(t, time.Since(start))
		})
	})
	t.Run("not without a budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			budget := retry.NewBudget(0.1, 0)
			require.True(t, budget.Withdraw())
			start := time.Now()
			_, err := resilience.Do(t.Context(), resilience.Compose(patient(retry.WithBudget(budget)), &fakeBreaker{threshold: 1, openFor: time.Second}), always(errBackend).do)
			require.ErrorIs(t, err, retry.ErrBudget)
			require.ErrorIs(t, err, errBackend)
			require.Zero(t, time.Since(start))
		})
	})
	t.Run("pays once for all its waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			budget := retry.NewBudget(0.1, 0) // holds 1 token
			gate := &maintenance{}
			time.AfterFunc(4*time.Second, func() { gate.set(nil) })
			op := func(ctx context.Context) (int, error) {
				if retry.Attempt(ctx) == 1 {
					gate.set(&policy.Rejection{Kind: "maintenance", Reason: errOpen})
					return 0, errBackend
				}
				return 2, nil
			}
			again := patient(retry.WithBudget(budget))
			value, err := resilience.Do(t.Context(), resilience.Compose(again, gate), op)
			require.NoError(t, err)
			require.Equal(t, 2, value)
			require.EqualValues(t, 1, again.Snapshot().Retries)
			require.Greater(t, gate.asked, 4)
			require.InDelta(t, 0.1, budget.Snapshot().Tokens, 1e-9, "what the call has earned")
		})
	})
	t.Run("in a loop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			passes := 0
			tries := patient().Tries(t.Context(), &closedUntil{start.Add(5 * time.Second)})
			for try := range tries.All() {
				passes++
				try.Done(nil)
			}
			require.NoError(t, tries.Err())
			require.Equal(t, 1, passes)
			require.Equal(t, 5*time.Second, time.Since(start))
		})
	})
}

func TestAwaitRecoveryAtItsEdges(t *testing.T) {
	const openFor = 5 * time.Second
	for name, test := range map[string]struct {
		opts     []retry.Option
		deadline time.Duration // 0: none
		waits    bool
	}{
		"patience just enough":    {opts: []retry.Option{retry.AwaitRecovery(openFor)}, waits: true},
		"patience too short":      {opts: []retry.Option{retry.AwaitRecovery(openFor - 1)}},
		"time for the attempt":    {deadline: openFor + 1, waits: true},
		"no time for the attempt": {deadline: openFor},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				again := retry.New(append([]retry.Option{retry.AwaitRecovery(time.Hour), retry.NoJitter()}, test.opts...)...)
				start := time.Now()
				entered := 0
				_, err := resilience.Do(ctx, resilience.Compose(again, &fakeBreaker{threshold: 1, openFor: openFor}), func(context.Context) (int, error) {
					if entered++; entered == 1 {
						return 0, errBackend
					}
					return 1, nil
				})
				if test.waits {
					require.NoError(t, err)
					require.Equal(t, openFor, time.Since(start))
					return
				}
				require.ErrorIs(t, err, errOpen)
				require.ErrorIs(t, err, errBackend)
				require.Zero(t, time.Since(start), "what cannot succeed is not begun")
			})
		})
	}
}

func TestPatienceBeginsWhenTheGateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Two failures with 6 s between them, then a breaker that is open for 9 of the 10 s that there is patience for.
		again := retry.New(retry.Attempts(9), retry.Constant(6*time.Second), retry.NoJitter(), retry.AwaitRecovery(10*time.Second))
		start := time.Now()
		value, err := resilience.Do(t.Context(), resilience.Compose(again, &fakeBreaker{threshold: 2, openFor: 9 * time.Second}), fails(errBackend, errBackend).do)
		require.NoError(t, err)
		require.Equal(t, 3, value)
		require.Equal(t, 15*time.Second, time.Since(start))
	})
}

func TestPatienceCountsEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A gate that is always ready in another 4 s, and never then.
		gate := &maintenance{ahead: 4 * time.Second, now: &policy.Rejection{Kind: "maintenance", Reason: errOpen}}
		again := retry.New(retry.NoJitter(), retry.AwaitRecovery(10*time.Second))
		time.Sleep(time.Hour) // how old the Retrier is does not count
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(again, gate), succeed)
		require.ErrorIs(t, err, errOpen)
		require.Equal(t, 8*time.Second, time.Since(start), "a third wait would last longer than 10 s in all")
	})
}

func TestAwaitRecoveryIsRandomWithinItsBounds(t *testing.T) {
	// The breaker is open for 9 s. The attempt comes up to an eighth of the patience later, but never too late.
	for name, test := range map[string]struct {
		patience, deadline time.Duration
		latest             time.Duration
	}{
		"an eighth of the patience": {patience: 16 * time.Second, latest: 11 * time.Second},
		"the patience ends":         {patience: 10 * time.Second, latest: 10 * time.Second},
		"the deadline comes":        {patience: 16 * time.Second, deadline: 10 * time.Second, latest: 10*time.Second - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := []retry.Option{retry.AwaitRecovery(test.patience), retry.Rand(rand.NewPCG(1, 2)), retry.NoBudget()}
				again := retry.New(opts...)
				first, last := time.Duration(math.MaxInt64), time.Duration(0)
				for range 1000 {
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if test.deadline > 0 {
						ctx, cancel = context.WithTimeout(ctx, test.deadline)
					}
					start := time.Now()
					_, err := resilience.Do(ctx, resilience.Compose(again, &fakeBreaker{threshold: 1, openFor: 9 * time.Second}), fails(errBackend).do)
					cancel()
					require.NoError(t, err)
					first, last = min(first, time.Since(start)), max(last, time.Since(start))
				}
				require.GreaterOrEqual(t, first, 9*time.Second)
				require.Less(t, first, 9100*time.Millisecond)
				require.LessOrEqual(t, last, test.latest)
				require.Greater(t, last, test.latest-100*time.Millisecond)
			})
		})
	}
}

// However long the patience is, those who wait come back within another open time.
func TestPatienceIsNotTheMeasureOfTheSpread(t *testing.T) {
	for name, test := range map[string]struct {
		gate   func() policy.Layer
		latest time.Duration
	}{
		"a gate that says when": {
			func() policy.Layer { return &closedUntil{time.Now().Add(5 * time.Second)} }, 10 * time.Second,
		},
		"a gate that cannot": { // it is asked again after 5 s to 15 s
			func() policy.Layer {
				gate := &maintenance{now: &policy.Rejection{Kind: "maintenance", Reason: errOpen}}
				time.AfterFunc(5*time.Second-1, func() { gate.set(nil) })
				return gate
			}, 15 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				again := retry.New(retry.AwaitRecovery(2*time.Hour), retry.Rand(rand.NewPCG(1, 2)))
				pipeline := resilience.Compose(again, test.gate())
				var group sync.WaitGroup
				ends := make(chan time.Duration, 100)
				for range cap(ends) {
					group.Go(func() {
						if _, err := resilience.Do(t.Context(), pipeline, succeed); err != nil {
							t.Error(err)
						}
						ends <- time.Since(start)
					})
				}
				group.Wait()
				close(ends)
				first, last := time.Duration(math.MaxInt64), time.Duration(0)
				for end := range ends {
					first, last = min(first, end), max(last, end)
				}
				require.GreaterOrEqual(t, first, 5*time.Second)
				require.LessOrEqual(t, last, test.latest)
				require.Greater(t, last-first, (test.latest-5*time.Second)*3/4, "and not as one")
			})
		})
	}
}

func TestAGateThatCannotSayWhenIsAskedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// It opens between two questions, which are a sixteenth of the patience apart: the next one finds it open.
		gate := &maintenance{now: &policy.Rejection{Kind: "maintenance", Reason: errOpen}}
		time.AfterFunc(1900*time.Millisecond, func() { gate.set(nil) })
		start := time.Now()
		_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(retry.NoJitter(), retry.AwaitRecovery(16*time.Second)), gate), succeed)
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

// crowded is a bulkhead that is full for the second attempt, when somebody else opens the breaker.
type crowded struct {
	limited
	breaker *fakeBreaker
}

func (c *crowded) Stage() policy.Stage { return policy.StageBulkhead }
func (c *crowded) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	ctx, ticket, err := c.limited.Admit(ctx)
	if err != nil {
		c.breaker.open()
	}
	return ctx, ticket, err
}

func TestTheReasonIsTheRefusalThatStandsInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		opts   []retry.Option
		reason error
	}{
		"what the attempt got":                    {nil, errFull},
		"the gate that there is not patience for": {[]retry.Option{retry.AwaitRecovery(1)}, errOpen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				breaker := &fakeBreaker{threshold: 9, openFor: time.Minute}
				again := retry.New(append(test.opts, retry.Constant(0))...)
				pipeline := resilience.Compose(again, breaker, &crowded{limited{admissions: 1}, breaker})
				_, err := resilience.Do(t.Context(), pipeline, always(errBackend).do)
				gave, ok := errors.AsType[*retry.Error](err)
				require.True(t, ok)
				require.ErrorIs(t, gave.Reason, test.reason)
				require.Equal(t, errBackend, gave.Last)
			})
		})
	}
}

// closedUntil is a gate that opens at a moment, for everybody.
type closedUntil struct{ until time.Time }

func (*closedUntil) Stage() policy.Stage { return policy.StageBreaker }
func (c *closedUntil) Ready(context.Context) error {
	if time.Now().Before(c.until) {
		return &policy.Rejection{Kind: "maintenance", Reason: errOpen, Until: c.until}
	}
	return nil
}
func (c *closedUntil) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, c.Ready(ctx)
}
func (*closedUntil) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// maintenance is a gate that is closed and opened by hand.
type maintenance struct {
	ahead time.Duration // what it says about the end, from now; 0: nothing

	mu    sync.Mutex
	now   *policy.Rejection
	asked int
}

func (m *maintenance) set(r *policy.Rejection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = r
}

func (*maintenance) Stage() policy.Stage { return policy.StageBreaker }
func (m *maintenance) Ready(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.now == nil {
		return nil
	}
	rejection := *m.now
	if m.ahead != 0 {
		rejection.Until = time.Now().Add(m.ahead)
	}
	return &rejection
}
func (m *maintenance) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, m.Ready(ctx)
}
func (*maintenance) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestFault235_NoHerdAfterARecovery(t *testing.T) {
	// 100 callers wait for one gate. How many come in the busiest hundredth of its closed time of 5 s?
	busiest := func(opts ...retry.Option) (most int) {
		synctest.Test(t, func(t *testing.T) {
			gate := &closedUntil{time.Now().Add(5 * time.Second)}
			again := retry.New(append(opts, retry.AwaitRecovery(10*time.Second))...)
			var mu sync.Mutex
			var group sync.WaitGroup
			slots := map[time.Duration]int{}
			for caller := range 100 {
				group.Go(func() {
					time.Sleep(time.Duration(caller) * 49 * time.Millisecond) // they come during all the closed time
					_, err := resilience.Do(t.Context(), resilience.Compose(again, gate), func(context.Context) (int, error) {
						mu.Lock()
						defer mu.Unlock()
						slots[time.Since(gate.until)/(50*time.Millisecond)]++
						return 0, nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			for _, n := range slots {
				most = max(most, n)
			}
		})
		return most
	}
	require.Equal(t, 100, busiest(retry.NoJitter()), "the control arm")
	require.LessOrEqual(t, busiest(retry.Rand(rand.NewPCG(1, 2))), 12, "5 on average soon after, then 4")
}

func TestFault164_AProbeOfAPatientCallIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 50 patient callers, one probe at a time, a dependency that stays down.
		breaker := &fakeBreaker{threshold: 1, openFor: time.Second}
		pipeline := resilience.Compose(retry.New(retry.AwaitRecovery(20*time.Second), retry.Attempts(10)), breaker)
		var mu sync.Mutex
		entered := 0
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				mine := 0
				err := pipeline.Run(t.Context(), func(context.Context) error {
					mu.Lock()
					entered++
					mu.Unlock()
					mine++
					time.Sleep(10 * time.Millisecond)
					return errBackend
				})
				if mine > 2 || !errors.Is(err, policy.ErrRejected) && !errors.Is(err, errBackend) {
					t.Errorf("%d attempts of one call, %v", mine, err)
				}
			})
		}
		group.Wait()
		require.LessOrEqual(t, entered, 50+20, "the first attempts, then one probe a second")
	})
}

func TestRetryRejections(t *testing.T) {
	t.Run("a listed one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			guard := &full{}
			again := retry.New(retry.RetryRejections(errOpen, errFull), retry.NoJitter())
			_, err := resilience.Do(t.Context(), resilience.Compose(again, guard), fails().do)
			require.Equal(t, 3, guard.refusals)
			require.Equal(t, 300*time.Millisecond, time.Since(start))
			_, ok := err.(*policy.Rejection)
			require.True(t, ok, "the bare rejection, not %T: nothing was tried", err)
		})
	})
	t.Run("another one", func(t *testing.T) {
		guard := &full{}
		_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(retry.RetryRejections(errOpen)), guard), fails().do)
		require.ErrorIs(t, err, errFull)
		require.Equal(t, 1, guard.refusals)
	})
	t.Run("If is not asked about it", func(t *testing.T) {
		guard := &full{}
		again := retry.New(retry.RetryRejections(errFull), retry.Constant(0), retry.If(func(error) bool { return false }))
		_, err := resilience.Do(t.Context(), resilience.Compose(again, guard), fails().do)
		require.ErrorIs(t, err, errFull)
		require.Equal(t, 3, guard.refusals)
	})
	t.Run("after a failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			guard := &limited{admissions: 1}
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(retry.RetryRejections(errFull), retry.Attempts(4)), guard), always(errBackend).do)
			gave, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.Equal(t, -3, guard.admissions, "4 attempts in all")
			require.Equal(t, 1, gave.Attempts)
			require.Equal(t, errBackend, gave.Last, "a rejection never takes its place")
			require.Equal(t, retry.ErrExhausted, gave.Reason)
		})
	})
	t.Run("the rejection's own wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			op := func(ctx context.Context) (int, error) { // a call through a pipeline of its own
				if time.Since(start) < 2*time.Second {
					return 0, &policy.Rejection{Kind: "rate limiter", Reason: errFull, Until: start.Add(2 * time.Second)}
				}
				return 1, nil
			}
			_, err := resilience.Do(t.Context(), retry.New(retry.RetryRejections(errFull), retry.NoJitter()), op)
			require.NoError(t, err)
			require.Equal(t, 2*time.Second, time.Since(start))
		})
	})
	t.Run("a gate stops all the same", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 1, openFor: time.Minute}
			breaker.open()
			start := time.Now()
			_, err := resilience.Do(t.Context(), resilience.Compose(retry.New(retry.RetryRejections(errOpen)), breaker), fails().do)
			require.ErrorIs(t, err, errOpen)
			require.Zero(t, time.Since(start))
		})
	})
}

// bell is a breaker that tells when it opens.
type bell struct {
	*fakeBreaker
	rung chan struct{}
}

func (b bell) Changed(context.Context) <-chan struct{} { return b.rung }

func TestTriesHearOfAGateThatCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := bell{&fakeBreaker{threshold: 9, openFor: time.Hour}, make(chan struct{})}
		time.AfterFunc(time.Second, func() { gate.open(); close(gate.rung) })
		start := time.Now()
		tries := retry.New(retry.Constant(time.Minute), retry.NoJitter()).Tries(t.Context(), gate)
		for try := range tries.All() {
			try.Done(errBackend)
		}
		require.Equal(t, time.Second, time.Since(start), "it does not sleep on")
		require.ErrorIs(t, tries.Err(), errOpen)
		require.ErrorIs(t, tries.Err(), errBackend)
	})
}

// contested is a breaker whose first probes are taken by other callers, who close it.
type contested struct {
	fakeBreaker
	lost    int // so many attempts come too late for the probe
	refused []time.Time
}

func (c *contested) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if retry.Attempt(ctx) > 1 && c.lost > 0 {
		c.lost--
		c.refused = append(c.refused, time.Now())
		c.until = time.Time{} // the winner's success
		return nil, policy.Ticket{}, &policy.Rejection{Kind: "breaker", Reason: errOpen}
	}
	return c.fakeBreaker.Admit(ctx)
}

func TestFault272_ALostProbeIsNotTheEndOfPatience(t *testing.T) {
	for lost, success := range map[int]bool{0: true, 1: true, 5: true, 100_000: false} {
		synctest.Test(t, func(t *testing.T) {
			breaker := &contested{fakeBreaker: fakeBreaker{threshold: 1, openFor: time.Minute}, lost: lost}
			again := retry.New(retry.AwaitRecovery(time.Hour), retry.NoJitter(), retry.Attempts(2))
			start := time.Now()
			op := fails(errBackend)
			_, err := resilience.Do(t.Context(), resilience.Compose(again, breaker), op.do)
			if success {
				require.NoError(t, err)
				require.Equal(t, 2, op.entered)
				require.Less(t, time.Since(start), 2*time.Minute)
				return
			}
			require.ErrorIs(t, err, errOpen)
			require.ErrorIs(t, err, errBackend)
			require.Equal(t, 1, op.entered)
			require.GreaterOrEqual(t, time.Since(start), 59*time.Minute, "as long as patience lasts")
			require.LessOrEqual(t, time.Since(start), time.Hour+10*time.Second)
			require.Less(t, len(breaker.refused), 1000, "no hot loop")
		})
	}
}
