package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

func TestFault053_WaiterBeyondTheQueueIsRefusedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Minute))
		holder := acquire(t, b)
		var admitted sync.WaitGroup
		for range 2 {
			admitted.Go(func() { resilience.Do(context.Background(), b, nothing) })
		}
		synctest.Wait()
		start := time.Now()
		_, err := policy.Acquire(context.Background(), b)
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.ErrorIs(t, err, policy.ErrRejected)
		require.Zero(t, time.Since(start))
		require.Equal(t, bulkhead.Snapshot{Limit: 1, InFlight: 1, PeakInFlight: 1, Waiting: 2, PeakWaiting: 2, Waited: 2, Rejected: 1}, b.Snapshot())
		holder.Done(nil)
		admitted.Wait()
		require.Equal(t, 1, free(t, b))
	})
}

func TestFault054_NestedAcquireEndsAtTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := resilience.Do(ctx, b, func(ctx context.Context) (struct{}, error) {
			return resilience.Do(ctx, b, nothing)
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 50*time.Millisecond, time.Since(start))
		require.Equal(t, 1, free(t, b))
	})
}

func TestFault048_TwoPipelinesShareTheSlots(t *testing.T) {
	b := bulkhead.New(3)
	reads, writes := resilience.Compose(b), resilience.Compose(b)
	hold := func(ctx context.Context, p, other *resilience.Pipeline, inside func()) error {
		return p.Run(ctx, func(ctx context.Context) error {
			return other.Run(ctx, func(ctx context.Context) error {
				return p.Run(ctx, func(context.Context) error { inside(); return nil })
			})
		})
	}
	err := hold(context.Background(), reads, writes, func() {
		require.Equal(t, 3, b.Snapshot().InFlight)
		require.ErrorIs(t, writes.Run(context.Background(), func(context.Context) error { return nil }), bulkhead.ErrFull)
		require.ErrorIs(t, reads.Run(context.Background(), func(context.Context) error { return nil }), bulkhead.ErrFull)
	})
	require.NoError(t, err)
	require.Zero(t, b.Snapshot().InFlight)
}

func TestFault072_EndedContextTakesNothing(t *testing.T) {
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	for _, b := range []*bulkhead.Bulkhead{bulkhead.New(1), bulkhead.New(1, bulkhead.Queue(1, time.Hour))} {
		for range 1000 {
			_, err := resilience.Do(ctx, b, func(context.Context) (int, error) {
				t.Error("entered")
				return 0, nil
			})
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, policy.ErrRejected)
		}
		require.Equal(t, bulkhead.Snapshot{Limit: 1}, b.Snapshot())
		require.Equal(t, 1, free(t, b))
	}
}

func TestFault073_CancelWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(3, time.Hour))
		holder := acquire(t, b)
		cause := errors.New("the user left")
		ctx, cancel := context.WithCancelCause(context.Background())
		var refused sync.WaitGroup
		for range 3 {
			refused.Go(func() {
				_, err := resilience.Do(ctx, b, nothing)
				if !errors.Is(err, cause) || !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		require.Equal(t, 3, b.Snapshot().Waiting)
		time.Sleep(time.Second)
		start := time.Now()
		cancel(cause)
		refused.Wait()
		require.Zero(t, time.Since(start))
		require.Equal(t, bulkhead.Snapshot{Limit: 1, InFlight: 1, PeakInFlight: 1, PeakWaiting: 3, Waited: 3}, b.Snapshot())
		holder.Done(nil)
		require.Equal(t, 1, free(t, b))
	})
}

func TestFault131_ConservationHoweverAttemptsEnd(t *testing.T) {
	const n = 4
	b := bulkhead.New(n)
	for name, op := range endings {
		t.Run(name, func(t *testing.T) {
			for range 5 * n {
				isolated(func() { resilience.Do(context.Background(), b, op) })
			}
			require.Zero(t, b.Snapshot().InFlight)
			require.Equal(t, n, free(t, b))
		})
	}
}

func TestFault133_WaitIsBounded(t *testing.T) {
	const wait = 70 * time.Millisecond
	tests := []struct {
		name     string
		deadline time.Duration
		after    time.Duration
		want     error
	}{
		{"queue wait", time.Hour, wait, bulkhead.ErrFull},
		{"deadline first", 20 * time.Millisecond, 20 * time.Millisecond, context.DeadlineExceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bulkhead.New(1, bulkhead.Queue(1, wait))
				holder := acquire(t, b)
				ctx, cancel := context.WithTimeout(context.Background(), test.deadline)
				defer cancel()
				start := time.Now()
				_, err := resilience.Do(ctx, b, nothing)
				require.ErrorIs(t, err, test.want)
				require.Equal(t, test.after, time.Since(start))
				require.Zero(t, b.Snapshot().Waiting)
				holder.Done(nil)
				require.Equal(t, 1, free(t, b))
			})
		})
	}
}

func TestFault134_TimedOutWaitersGetNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n = 8
		b := bulkhead.New(n, bulkhead.Queue(n, time.Second))
		var holders []*policy.Permit
		for range n {
			holders = append(holders, acquire(t, b))
		}
		var refused sync.WaitGroup
		for range n {
			refused.Go(func() {
				if _, err := policy.Acquire(context.Background(), b); !errors.Is(err, bulkhead.ErrFull) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		refused.Wait()
		for _, holder := range holders {
			holder.Done(nil)
		}
		require.Equal(t, n, free(t, b))
	})
}

func TestFault135_SettlingTooOften(t *testing.T) {
	b := bulkhead.New(2)
	permit := acquire(t, b)
	require.True(t, permit.Done(nil))
	require.False(t, permit.Done(nil), "a permit counts once")
	require.Equal(t, 2, free(t, b))
	for _, slots := range []int64{1, 2, 0, -1, math.MaxInt64, math.MinInt64} {
		require.Panics(t, func() { b.Settle(context.Background(), policy.Ticket{Number: slots}, policy.Outcome{}) }, "%d", slots)
	}
	require.Equal(t, 2, free(t, b))

	permit = acquire(t, b)
	for _, slots := range []int64{2, 3, 0, -1, math.MaxInt64, math.MinInt64} {
		require.Panics(t, func() { b.Settle(context.Background(), policy.Ticket{Number: slots}, policy.Outcome{}) }, "%d of one", slots)
		require.Equal(t, 1, b.Snapshot().InFlight)
	}
	permit.Done(nil)
	require.Equal(t, 2, free(t, b))
}

func TestFault136_FirstComeFirstServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const waiters = 20
		b := bulkhead.New(1, bulkhead.Queue(waiters+1, time.Hour))
		holder := acquire(t, b)
		var order []int
		var mu sync.Mutex
		for i := range waiters {
			go resilience.Do(context.Background(), b, func(context.Context) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				return 0, nil
			})
			synctest.Wait()
		}
		holder.Done(nil)
		synctest.Wait()
		want := make([]int, waiters)
		for i := range want {
			want[i] = i
		}
		require.Equal(t, want, order)
	})
}

func TestFault136_137_NewcomersDoNotBarge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(3, bulkhead.Queue(5, time.Hour), bulkhead.WeightOf(weightMark))
		var order []string
		var mu sync.Mutex
		enter := func(name string, weight int) {
			ctx := context.WithValue(context.Background(), weightKey{}, weight)
			go resilience.Do(ctx, b, func(context.Context) (int, error) {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				time.Sleep(time.Second)
				return 0, nil
			})
			synctest.Wait()
		}
		enter("first", 2)
		enter("heavy", 3)
		for i := range 2 { // a free slot stays free for the heavy one, whoever else could use it
			enter(fmt.Sprint("light ", i), 1)
			require.Equal(t, 2, b.Snapshot().InFlight)
			enter(fmt.Sprint("middle ", i), 2)
			require.Equal(t, 2, b.Snapshot().InFlight)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, order, 6)
		require.Equal(t, []string{"first", "heavy"}, order[:2])
		require.ElementsMatch(t, []string{"light 0", "middle 0"}, order[2:4])
	})
}

// aboveMaxLimit returns numbers above MaxLimit. Where an int has 32 bits there are none.
func aboveMaxLimit() []int {
	limit := bulkhead.MaxLimit
	if limit == math.MaxInt {
		return nil
	}
	return []int{limit + 1, math.MaxInt}
}

func TestFault141_Limits(t *testing.T) {
	for _, limit := range append(aboveMaxLimit(), 0, -1, math.MinInt) {
		err := bulkhead.Validate(limit)
		require.ErrorContains(t, err, fmt.Sprintf("limit %d", limit))
		require.PanicsWithError(t, err.Error(), func() { bulkhead.New(limit) })
		b := bulkhead.New(7)
		require.EqualError(t, b.Reconfigure(limit), err.Error())
		require.Equal(t, 7, b.Snapshot().Limit)
	}
	huge := testing.AllocsPerRun(10, func() { bulkhead.New(bulkhead.MaxLimit, bulkhead.Queue(bulkhead.MaxLimit, time.Hour)) })
	require.Less(t, huge, 50.0)
	b := bulkhead.New(bulkhead.MaxLimit, bulkhead.WeightOf(func(context.Context) int { return bulkhead.MaxLimit }))
	permit := acquire(t, b)
	_, err := policy.Acquire(context.Background(), b)
	require.ErrorIs(t, err, bulkhead.ErrFull)
	require.Equal(t, bulkhead.MaxLimit, b.Snapshot().InFlight)
	permit.Done(nil)
	require.Zero(t, b.Snapshot().InFlight)
}

func TestFault143_AtRestNothingIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(3, bulkhead.Queue(100, 5*time.Millisecond))
		var calls sync.WaitGroup
		for i := range 100 {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond/8)
				defer cancel()
				resilience.Do(ctx, b, func(context.Context) (int, error) { time.Sleep(time.Millisecond); return 0, nil })
			})
		}
		calls.Wait()
		snapshot := b.Snapshot()
		require.Zero(t, snapshot.InFlight)
		require.Zero(t, snapshot.Waiting)
		require.Equal(t, 3, snapshot.PeakInFlight)
		require.Equal(t, 3, free(t, b))
	})
}

// The goroutines of a bubble that are durably blocked do not run: a waiter that polled would never let virtual time
// go on in one jump.
func TestFault145_WaitingDoesNotSpin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const waiters = 100
		b := bulkhead.New(1, bulkhead.Queue(waiters, time.Hour))
		holder := acquire(t, b)
		looks := new(atomic.Int64)
		for range waiters {
			go resilience.Do(&countingContext{context.Background(), looks}, b, nothing)
		}
		synctest.Wait()
		before := looks.Load()
		time.Sleep(59 * time.Minute)
		require.Equal(t, before, looks.Load(), "nobody looked at its context for 59 minutes")
		holder.Done(nil)
		synctest.Wait()
		require.Zero(t, b.Snapshot().Waiting)
	})
}

// countingContext counts how often it is asked.
type countingContext struct {
	context.Context
	asked *atomic.Int64
}

func (c *countingContext) Done() <-chan struct{} { c.asked.Add(1); return c.Context.Done() }
func (c *countingContext) Err() error            { c.asked.Add(1); return c.Context.Err() }

func TestRejectionIsARejectionOfTheBulkhead(t *testing.T) {
	b := bulkhead.New(1, bulkhead.Name("db"))
	defer acquire(t, b).Done(nil)
	_, err := resilience.Do(context.Background(), b, nothing)
	rejection, ok := errors.AsType[*policy.Rejection](err)
	require.True(t, ok)
	require.Equal(t, policy.Rejection{Kind: "bulkhead", Name: "db", Reason: bulkhead.ErrFull}, *rejection)
	require.EqualError(t, err, `bulkhead "db": all slots are taken`)
	_, ok = policy.RetryAfter(err)
	require.False(t, ok, "when a slot becomes free cannot be known")
}

func TestThePeakIsRememberedAfterwards(t *testing.T) {
	for name, b := range map[string]*bulkhead.Bulkhead{
		"plain":   bulkhead.New(5),
		"queue":   bulkhead.New(5, bulkhead.Queue(1, time.Hour)),
		"weights": bulkhead.New(5, bulkhead.WeightOf(weightMark)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []struct{ at, peak int }{{1, 1}, {1, 1}, {2, 2}, {3, 3}, {1, 3}, {5, 5}, {4, 5}} {
				var permits []*policy.Permit
				for range step.at {
					permits = append(permits, acquire(t, b))
				}
				for _, permit := range permits {
					permit.Done(nil)
				}
				require.Equal(t, step.peak, b.Snapshot().PeakInFlight, "%d at once", step.at)
			}
		})
	}
}

func TestString(t *testing.T) {
	require.Equal(t, "bulkhead 16", bulkhead.New(16).String())
	require.Equal(t, "bulkhead 16+8", bulkhead.New(16, bulkhead.Queue(8, time.Second)).String())
	require.Equal(t, "bulkhead 16+1", bulkhead.New(16, bulkhead.Queue(1, time.Second)).String())
	require.Equal(t, `bulkhead "a b" 1`, bulkhead.New(1, bulkhead.Name("a b")).String())
	require.Equal(t, policy.StageBulkhead, bulkhead.New(1).Stage())
	_, gate := any(bulkhead.New(1)).(policy.Gate)
	require.False(t, gate)
}

func TestPolicyView(t *testing.T) {
	b := bulkhead.New(1)
	names, numbers := bulkhead.Policy[string]{Bulkhead: b}, bulkhead.Policy[int]{Bulkhead: b}
	name, err := names.Do(context.Background(), func(ctx context.Context) (string, error) {
		_, err := numbers.Do(ctx, func(context.Context) (int, error) { return 1, nil })
		require.ErrorIs(t, err, bulkhead.ErrFull)
		return "done", nil
	})
	require.NoError(t, err)
	require.Equal(t, "done", name)
	require.PanicsWithValue(t, "bulkhead: Policy without a Bulkhead; use bulkhead.New", func() {
		bulkhead.Policy[int]{}.Do(context.Background(), func(context.Context) (int, error) { return 0, nil })
	})
}

func TestFault178_Configuration(t *testing.T) {
	type configuration struct {
		name    string
		options []bulkhead.Option
		want    string
	}
	tests := []configuration{
		{"nil option", []bulkhead.Option{nil}, "option 1 is nil"},
		{"queue length 0", []bulkhead.Option{bulkhead.Queue(0, time.Second)}, "Queue length 0"},
		{"queue length negative", []bulkhead.Option{bulkhead.Queue(-1, time.Second)}, "Queue length -1"},
		{"queue wait 0", []bulkhead.Option{bulkhead.Queue(1, 0)}, "Queue wait 0s"},
		{"queue wait negative", []bulkhead.Option{bulkhead.Queue(1, -time.Second)}, "Queue wait -1s"},
		{"nil weight", []bulkhead.Option{bulkhead.WeightOf(nil)}, "WeightOf: the function is nil"},
	}
	for _, length := range aboveMaxLimit() {
		want := fmt.Sprint("Queue length ", length)
		tests = append(tests, configuration{want, []bulkhead.Option{bulkhead.Queue(length, time.Second)}, want})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := bulkhead.Validate(1, test.options...)
			require.ErrorContains(t, err, test.want)
			_, ok := errors.AsType[*policy.ConfigError](err)
			require.True(t, ok)
			require.PanicsWithError(t, err.Error(), func() { bulkhead.New(1, test.options...) })
		})
	}
	require.NoError(t, bulkhead.Validate(1, bulkhead.Queue(1, 1)))
	t.Run("all problems at once", func(t *testing.T) {
		err := bulkhead.Validate(0, nil, bulkhead.Queue(0, 0))
		problems, ok := errors.AsType[*policy.ConfigError](err)
		require.True(t, ok)
		require.Len(t, problems.Problems, 4)
	})
	t.Run("extremes that work", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			b := bulkhead.New(1, bulkhead.Queue(bulkhead.MaxLimit, math.MaxInt64))
			holder := acquire(t, b)
			time.AfterFunc(1000*time.Hour, func() { holder.Done(nil) })
			_, err := resilience.Do(context.Background(), b, nothing)
			require.NoError(t, err)
		})
	})
}

func TestFault174_TheSameInstanceTwice(t *testing.T) {
	b := bulkhead.New(1)
	require.ErrorContains(t, resilience.Validate(b, policy.At(policy.StageShed, b)), "bulkhead 1: the same instance occurs twice")
}

func TestFault170_ShedOutsideHoldsTheSlotForTheWholeCall(t *testing.T) {
	inner, front := bulkhead.New(2), bulkhead.New(1)
	p := resilience.Compose(inner, policy.At(policy.StageShed, front))
	require.Equal(t, "bulkhead 1 > bulkhead 2", p.String())
	require.NoError(t, p.Run(context.Background(), func(ctx context.Context) error {
		require.Equal(t, 1, front.Snapshot().InFlight)
		require.Equal(t, 1, inner.Snapshot().InFlight)
		require.ErrorIs(t, p.Run(ctx, func(context.Context) error { return nil }), bulkhead.ErrFull)
		require.Zero(t, inner.Snapshot().Rejected)
		return nil
	}))
}

// A ticket that Admit never issued frees no slot, whatever the size of an int.
func TestFault131_ATicketThatWasNeverIssued(t *testing.T) {
	b := bulkhead.New(1)
	_, ticket, err := b.Admit(context.Background())
	require.NoError(t, err)
	for _, slot := range []int64{1<<32 + 1, 1 << 32, -1<<32 + 1, math.MaxInt64, math.MinInt64, 2, 0, -1} {
		require.Panics(t, func() { b.Settle(context.Background(), policy.Ticket{Number: slot}, policy.Outcome{}) })
	}
	b.Settle(context.Background(), ticket, policy.Outcome{})
	require.Zero(t, b.Snapshot().InFlight)
}

// Options only store; what is checked is the configuration that results.
func TestFault258_TheLaterOptionCounts(t *testing.T) {
	weight := func(context.Context) int { return 1 }
	require.NoError(t, bulkhead.Validate(1,
		bulkhead.Queue(0, 0), bulkhead.Queue(8, time.Second), bulkhead.WeightOf(nil), bulkhead.WeightOf(weight)))
	require.ErrorContains(t, bulkhead.Validate(1, bulkhead.Queue(8, time.Second), bulkhead.Queue(0, 1)), "Queue length 0")
	require.NoError(t, bulkhead.ValidateAdaptive(bulkhead.Vegas(), 1, 2, bulkhead.Classify(nil), bulkhead.Classify(ignoring(nil))))
	b := bulkhead.New(1, bulkhead.Queue(0, 0), bulkhead.Queue(8, time.Second), bulkhead.Name("a"), bulkhead.Name("b"))
	require.Equal(t, `bulkhead "b" 1+8`, b.String())
}

// The zero value says how a bulkhead is made, and does not refuse as if it were full.
func TestFault268_TheZeroValueNamesTheConstructor(t *testing.T) {
	ctx := context.Background()
	for name, use := range map[string]func(b *bulkhead.Bulkhead){
		"Admit":               func(b *bulkhead.Bulkhead) { b.Admit(ctx) },
		"Settle":              func(b *bulkhead.Bulkhead) { b.Settle(ctx, policy.Ticket{Number: 1}, policy.Outcome{}) },
		"Returned":            func(b *bulkhead.Bulkhead) { b.Returned(ctx, policy.Ticket{}) },
		"Do":                  func(b *bulkhead.Bulkhead) { resilience.Do(ctx, b, nothing) },
		"Policy":              func(b *bulkhead.Bulkhead) { bulkhead.Policy[struct{}]{Bulkhead: b}.Do(ctx, nothing) },
		"Drain":               func(b *bulkhead.Bulkhead) { _ = b.Drain(ctx) },
		"Shadow":              func(b *bulkhead.Bulkhead) { b.Shadow() },
		"Enforce":             func(b *bulkhead.Bulkhead) { b.Enforce() },
		"Reconfigure":         func(b *bulkhead.Bulkhead) { _ = b.Reconfigure(1) },
		"ReconfigureAdaptive": func(b *bulkhead.Bulkhead) { _ = b.ReconfigureAdaptive(bulkhead.Vegas(), 1, 2) },
		"Idle":                func(b *bulkhead.Bulkhead) { b.Idle() },
		"Snapshot":            func(b *bulkhead.Bulkhead) { b.Snapshot() },
		"Report":              func(b *bulkhead.Bulkhead) { b.Report() },
		"String":              func(b *bulkhead.Bulkhead) { _ = b.String() },
	} {
		require.PanicsWithValue(t, "bulkhead: a Bulkhead must be made with New or Adaptive", func() { use(new(bulkhead.Bulkhead)) }, name)
	}
}

func TestConformance(t *testing.T) {
	for name, newGuard := range map[string]func() policy.Guard{
		"fixed":    func() policy.Guard { return bulkhead.New(3) },
		"queue":    func() policy.Guard { return bulkhead.New(3, bulkhead.Queue(2, 24*time.Hour)) },
		"weights":  func() policy.Guard { return bulkhead.New(3, bulkhead.WeightOf(weightMark)) },
		"shadow":   func() policy.Guard { return bulkhead.New(3, bulkhead.Queue(2, 24*time.Hour), bulkhead.Shadow()) },
		"adaptive": func() policy.Guard { return bulkhead.Adaptive(bulkhead.Vegas(), 3, 5, bulkhead.Queue(2, 24*time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) { policytest.Guard(t, newGuard) })
	}
}
