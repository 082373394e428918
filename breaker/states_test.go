package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		b := breaker.New(breaker.Name("users-db"), breaker.ConsecutiveFailures(3), breaker.OpenFor(5*time.Second),
			breaker.OnChange(func(c breaker.Change) {
				changes = append(changes, fmt.Sprintf("%d %v > %v: %v", c.Number, c.From, c.To, c.Reason))
			}))
		calls := 0
		op := func(err error) func(context.Context) error {
			return func(context.Context) error { calls++; return err }
		}
		for range 3 {
			require.Equal(t, breaker.Closed, b.State())
			require.Equal(t, errDown, do(b, op(errDown)))
		}
		require.Equal(t, breaker.Open, b.State())

		err := do(b, op(nil))
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.NotErrorIs(t, err, errDown)
		require.Equal(t, 3, calls, "the rejected call reached the operation")
		require.True(t, strings.HasPrefix(err.Error(), `breaker "users-db": circuit open (retry after 5`), err.Error())
		wait, known := policy.RetryAfter(err)
		require.True(t, known)
		require.GreaterOrEqual(t, wait, 5*time.Second)
		require.LessOrEqual(t, wait, 5500*time.Millisecond)

		time.Sleep(6 * time.Second)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, do(b, op(nil)))
		require.Equal(t, 4, calls)
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Snapshot().ConsecutiveFailures)
		failTimes(b, 2)
		require.Equal(t, breaker.Closed, b.State(), "closing did not reset the count")
		require.Equal(t, []string{
			"1 closed > open: consecutive failures",
			"2 open > half-open: open time over",
			"3 half-open > closed: probes succeeded",
		}, changes)
	})
}

func TestASuccessBreaksTheRow(t *testing.T) {
	b := tripAt(3)
	for range 10 {
		failTimes(b, 2)
		require.Equal(t, 2, b.Snapshot().ConsecutiveFailures)
		require.NoError(t, do(b, ok))
		require.Zero(t, b.Snapshot().ConsecutiveFailures)
	}
	require.Equal(t, breaker.Closed, b.State())
	failTimes(b, 3)
	require.Equal(t, breaker.Open, b.State())
}

func TestNeutralOutcomesNeitherCountNorBreakTheRow(t *testing.T) {
	neutral := errors.New("neutral")
	b := tripAt(3, breaker.Classify(func(err error) policy.Class {
		if errors.Is(err, neutral) {
			return policy.Ignored
		}
		return policy.Transient
	}))
	for range 3 {
		require.Equal(t, breaker.Closed, b.State())
		_ = do(b, func(context.Context) error { return neutral })
		failTimes(b, 1)
	}
	require.Equal(t, breaker.Open, b.State())
}

func TestFault001_PanicInAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		failTimes(b, 1)
		time.Sleep(D)
		value := &struct{ string }{"the very same"}
		func() {
			defer func() { require.Same(t, value, recover()) }()
			_ = do(b, func(context.Context) error { panic(value) })
		}()
		require.Equal(t, breaker.Open, b.State())
		s := b.Snapshot()
		require.EqualValues(t, 2, s.Failures)
		require.Equal(t, breaker.ReasonProbeFailed, s.Reason)
		require.ErrorContains(t, s.Cause, "panicked")
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

// exit runs op on a goroutine of its own, for it calls runtime.Goexit.
func exit(b *breaker.Breaker) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = do(b, func(context.Context) error { runtime.Goexit(); return nil })
	}()
	<-done
}

func TestFault002_GoexitInAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		failTimes(b, 1)
		time.Sleep(D)
		exit(b)
		require.Equal(t, breaker.Open, b.State())
		require.ErrorContains(t, b.Snapshot().Cause, "Goexit")
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault003_AProbeThatHangsLosesItsSlot(t *testing.T) {
	for _, late := range []error{nil, errDown} {
		t.Run(fmt.Sprint("late result ", late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lease = 8 * time.Second
				b := tripAt(1, breaker.ProbeLease(lease))
				failTimes(b, 1)
				time.Sleep(D)
				hung := admit(t, b)
				time.Sleep(lease - 1)
				refused(t, b)
				require.Equal(t, 1, b.Snapshot().Probes)
				time.Sleep(1)
				require.Zero(t, b.Snapshot().Probes)
				second := admit(t, b)
				refused(t, b)

				require.True(t, hung.Done(late))
				require.Equal(t, breaker.HalfOpen, b.State(), "the late result decided")
				refused(t, b) // and it freed no slot that is not its own
				s := b.Snapshot()
				require.EqualValues(t, 1, s.Stale)
				require.EqualValues(t, 1, s.InFlight)
				identity(t, s)
				second.Done(nil)
				require.Equal(t, breaker.Closed, b.State())
			})
		})
	}
}

func TestTheDefaultLeaseIsTheOpenTimeButAtLeastASecond(t *testing.T) {
	for open, lease := range map[time.Duration]time.Duration{
		10 * time.Millisecond: time.Second,
		time.Minute:           time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.OpenFor(open))
			failTimes(b, 1)
			time.Sleep(open)
			admit(t, b)
			time.Sleep(lease - 1)
			refused(t, b)
			time.Sleep(1)
			require.NoError(t, do(b, ok))
		})
	}
}

var errNeutral = errors.New("neutral")

func neutrally(err error) policy.Class {
	if errors.Is(err, errNeutral) {
		return policy.Ignored
	}
	return policy.Transient
}

func TestFault004_ANeutralProbeFreesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Classify(neutrally))
		failTimes(b, 1)
		time.Sleep(D)
		for range 5 {
			require.Equal(t, errNeutral, do(b, func(context.Context) error { return errNeutral }))
			require.Equal(t, breaker.HalfOpen, b.State())
		}
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault005_ANeutralLastProbeDoesNotWedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Probes(5), breaker.Successes(5), breaker.Classify(neutrally))
		failTimes(b, 1)
		time.Sleep(D)
		permits := make([]*policy.Permit, 5)
		for i := range permits {
			permits[i] = admit(t, b)
		}
		refused(t, b)
		for _, permit := range permits[:4] {
			permit.Done(nil)
		}
		permits[4].Done(errNeutral)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault006_NeutralIsNotSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		failTimes(b, 1)
		time.Sleep(D)
		cancelled(t, b, context.Canceled)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, do(b, ok), "the slot did not come back")
	})
}

// cancelled makes an attempt whose caller cancels, and that then ends with err.
func cancelled(t *testing.T, b *breaker.Breaker, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	permit, refusal := policy.Acquire(ctx, b)
	require.NoError(t, refusal)
	cancel()
	permit.Done(err)
}

// full is a bulkhead without room.
type full struct{ admits bool }

func (*full) Stage() policy.Stage { return policy.StageBulkhead }
func (f *full) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if !f.admits {
		return ctx, policy.Ticket{}, &policy.Rejection{Kind: "full"}
	}
	return ctx, policy.Ticket{}, nil
}
func (*full) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func TestFault007_AProbeRefusedFurtherInFreesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, inner := tripAt(1), &full{}
		backend := resilience.Compose(b, inner)
		failTimes(b, 1)
		time.Sleep(D)
		for range 5 {
			err := backend.Run(t.Context(), ok)
			require.ErrorIs(t, err, policy.ErrRejected)
			require.NotErrorIs(t, err, breaker.ErrOpen)
			require.Equal(t, breaker.HalfOpen, b.State())
		}
		inner.admits = true
		require.NoError(t, backend.Run(t.Context(), ok))
		require.Equal(t, breaker.Closed, b.State())
		require.EqualValues(t, 5, b.Snapshot().Neutral)
	})
}

func TestFault007_ManyRefusalsFurtherInNeverOpen(t *testing.T) {
	b := tripAt(3)
	backend := resilience.Compose(b, &full{})
	for range 100 {
		require.Error(t, backend.Run(t.Context(), ok))
	}
	require.Equal(t, breaker.Closed, b.State())
	require.EqualValues(t, 100, b.Snapshot().Neutral)
}

func TestFault008_LateSuccessFromTheClosedEra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		old := admit(t, b)
		failTimes(b, 1)
		time.Sleep(D)
		probe := admit(t, b)
		before := b.Snapshot()
		old.Done(nil)
		after := b.Snapshot()
		require.Equal(t, breaker.HalfOpen, after.State)
		require.Equal(t, before.Stale+1, after.Stale)
		require.Equal(t, before.Successes, after.Successes)
		require.Equal(t, 1, after.Probes)
		refused(t, b)
		probe.Done(errDown)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestFault009_LateFailureFromTheClosedEra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		old := admit(t, b)
		failTimes(b, 1)
		time.Sleep(D)
		probe := admit(t, b)
		old.Done(errDown)
		require.Equal(t, breaker.HalfOpen, b.State())
		probe.Done(nil)
		require.Equal(t, breaker.Closed, b.State())
		require.EqualValues(t, 1, b.Snapshot().Failures)
	})
}

func TestFault008_LateSuccessAfterTheBreakerClosedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 2), breaker.CountWindow(10))
		old := []*policy.Permit{admit(t, b), admit(t, b)}
		failTimes(b, 2)
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
		old[0].Done(nil)
		old[1].Done(errDown)
		s := b.Snapshot()
		require.Zero(t, s.Calls, "an outcome of the era before is in the window")
		require.EqualValues(t, 2, s.Stale)
	})
}

func TestFault011_LateFailuresWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		b := tripAt(3, breaker.OnChange(func(breaker.Change) { opened++ }))
		old := make([]*policy.Permit, 10)
		for i := range old {
			old[i] = admit(t, b)
		}
		failTimes(b, 3)
		until := b.Snapshot().Until
		time.Sleep(D / 2)
		for _, permit := range old {
			permit.Done(errDown)
		}
		require.Equal(t, 1, opened)
		require.Equal(t, until, b.Snapshot().Until)
		time.Sleep(D / 2)
		require.NoError(t, do(b, ok))
	})
}

func TestFault012_AProbeOfAnEarlierEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Probes(2), breaker.Successes(1))
		failTimes(b, 1)
		time.Sleep(D)
		old := admit(t, b)
		require.Error(t, do(b, fail)) // the second probe: the next episode begins
		time.Sleep(D)
		probe := admit(t, b)
		require.Equal(t, breaker.HalfOpen, b.State())
		old.Done(nil)
		require.Equal(t, breaker.HalfOpen, b.State(), "a probe of the episode before closed the breaker")
		require.Equal(t, 1, b.Snapshot().Probes)
		identity(t, b.Snapshot())
		probe.Done(nil)
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault014_StormAtTheEndOfTheOpenTime(t *testing.T) {
	for _, probes := range []int{1, 2, 10} {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.Probes(probes), breaker.Successes(probes))
			failTimes(b, 1)
			time.Sleep(D)
			var entered, rejected atomic.Int64
			release := make(chan struct{})
			var callers sync.WaitGroup
			for range 200 {
				callers.Go(func() {
					err := do(b, func(context.Context) error {
						entered.Add(1)
						<-release
						return nil
					})
					if errors.Is(err, breaker.ErrOpen) {
						rejected.Add(1)
					}
				})
			}
			synctest.Wait()
			require.EqualValues(t, probes, entered.Load())
			require.EqualValues(t, 200-probes, rejected.Load(), "those who were not admitted wait")
			close(release)
			callers.Wait()
			require.Equal(t, breaker.Closed, b.State())
		})
	}
}

func TestFault015_TheFirstProbeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		failTimes(b, 1)
		time.Sleep(D)
		admit(t, b)
		rejection := refused(t, b)
		_, known := rejection.RetryAfter()
		require.False(t, known, "nobody knows when a probe ends")
		require.Same(t, rejection, refused(t, b))
	})
}

func TestFault016_OneTransitionOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var changes []breaker.Change
		b := tripAt(1, breaker.OnChange(func(c breaker.Change) {
			mu.Lock()
			defer mu.Unlock()
			changes = append(changes, c)
		}))
		permits := make([]*policy.Permit, 100)
		for i := range permits {
			permits[i] = admit(t, b)
		}
		var callers sync.WaitGroup
		for _, permit := range permits {
			callers.Go(func() { permit.Done(errDown) })
		}
		callers.Wait()
		require.Len(t, changes, 1)
		time.Sleep(D)
		for range 100 {
			callers.Go(func() { _, _, _ = b.Admit(t.Context()) })
		}
		callers.Wait()
		require.Len(t, changes, 2)
		require.Equal(t, breaker.HalfOpen, changes[1].To)
	})
}

func TestFault017_TheEndOfTheOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		failTimes(b, 1)
		time.Sleep(D - 1)
		require.Equal(t, breaker.Open, b.State())
		rejection := refused(t, b)
		wait, known := rejection.RetryAfter()
		require.True(t, known)
		require.EqualValues(t, 1, wait)
		require.Same(t, rejection, b.Ready(t.Context()))
		time.Sleep(1)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, b.Ready(t.Context()))
		require.NoError(t, do(b, ok))
	})
}

func TestFault018_AFailedProbeOpensForAWholePeriodFromItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.ProbeLease(time.Hour))
		failTimes(b, 1)
		time.Sleep(D)
		require.Error(t, do(b, func(context.Context) error {
			time.Sleep(3 * D)
			return errDown
		}))
		time.Sleep(D - 1)
		refused(t, b)
		time.Sleep(1)
		require.NoError(t, do(b, ok))
	})
}

func TestFault019_AFailedProbeOpensBelowTheMinimumOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 100))
		failTimes(b, 100)
		time.Sleep(D)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Error(t, do(b, fail))
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestFault020_ClosingClearsHistory(t *testing.T) {
	for _, opts := range [][]breaker.Option{
		{breaker.ConsecutiveFailures(5)},
		{breaker.FailureRate(0.5, 5)},
		{breaker.FailureRate(0.5, 5), breaker.CountWindow(5)},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(opts...)
			failTimes(b, 5)
			require.Equal(t, breaker.Open, b.State())
			time.Sleep(D)
			require.NoError(t, do(b, ok))
			failTimes(b, 4)
			require.Equal(t, breaker.Closed, b.State())
			failTimes(b, 1)
			require.Equal(t, breaker.Open, b.State())
		})
	}
}

func TestFault020_ClosingClearsEveryBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 4), breaker.TimeWindow(10*time.Second, 10))
		for range 3 {
			for i := range int64(4) {
				require.Equal(t, breaker.Closed, b.State())
				require.Equal(t, i, b.Snapshot().Calls)
				require.Equal(t, i, b.Snapshot().CallsFailed)
				failTimes(b, 1)
				time.Sleep(time.Second)
			}
			require.Equal(t, breaker.Open, b.State())
			time.Sleep(D)
			require.NoError(t, do(b, ok)) // the probe, which no rule sees
		}
	})
}

func TestFault021_MinimumOfCallsAboveTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.Probes(5), breaker.Successes(5))
		failTimes(b, 10)
		time.Sleep(D)
		for range 5 {
			require.Equal(t, breaker.HalfOpen, b.State())
			require.NoError(t, do(b, ok))
		}
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestMoreSuccessesThanProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Probes(1), breaker.Successes(3))
		failTimes(b, 1)
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.NoError(t, do(b, ok))
		require.Error(t, do(b, fail))
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(D)
		for range 3 {
			require.Equal(t, breaker.HalfOpen, b.State(), "successes of an earlier episode count")
			require.NoError(t, do(b, ok))
		}
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault022_TheEdgeOfTheMinimumOfCalls(t *testing.T) {
	for _, window := range []breaker.Option{breaker.CountWindow(20), breaker.TimeWindow(time.Hour, 10)} {
		b := newBreaker(breaker.FailureRate(0.5, 20), window)
		failTimes(b, 19)
		require.Equal(t, breaker.Closed, b.State())
		failTimes(b, 1)
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, breaker.ReasonFailureRate, b.Snapshot().Reason)
	}
}

func TestARuleAboutFailuresTripsOnFailuresOnly(t *testing.T) {
	b := newBreaker(breaker.FailureRate(0.5, 10))
	failTimes(b, 9)
	require.NoError(t, do(b, ok)) // the tenth call: 9 of 10 have failed
	require.Equal(t, breaker.Closed, b.State())
	failTimes(b, 1)
	require.Equal(t, breaker.Open, b.State())
}

func TestFault024_NeutralCallsAreNotInTheWindow(t *testing.T) {
	b := newBreaker(breaker.FailureRate(0.5, 10), breaker.Classify(neutrally))
	for range 5 {
		require.Equal(t, breaker.Closed, b.State())
		for range 20 {
			_ = do(b, func(context.Context) error { return errNeutral })
		}
		require.NoError(t, do(b, ok))
		failTimes(b, 1)
	}
	require.Equal(t, breaker.Open, b.State())
	s := b.Snapshot()
	require.EqualValues(t, 10, s.Calls)
	require.EqualValues(t, 100, s.Neutral)
	require.Equal(t, 0.5, s.FailureRate)
}

func TestFault025_TheCountWindowIsExact(t *testing.T) {
	const n = 50
	b := newBreaker(breaker.FailureRate(1, n), breaker.CountWindow(n), breaker.Jitter(0))
	failTimes(b, n-1)
	require.NoError(t, do(b, ok))
	for k := 0; k <= n; k++ { // the success, then k more
		s := b.Snapshot()
		require.EqualValues(t, n, s.Calls)
		require.EqualValues(t, max(0, n-1-k), s.CallsFailed, k)
		require.InDelta(t, float64(max(0, n-1-k))/n, s.FailureRate, 1e-12)
		require.NoError(t, do(b, ok))
	}
}

func TestFault025_AWindowOfOneCall(t *testing.T) {
	b := newBreaker(breaker.FailureRate(1, 1), breaker.CountWindow(1))
	require.NoError(t, do(b, ok))
	require.EqualValues(t, 1, b.Snapshot().Calls)
	failTimes(b, 1)
	require.Equal(t, breaker.ReasonFailureRate, b.Snapshot().Reason)
}

func TestTheRatesOfASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(1, 20), breaker.SlowCalls(time.Second, 1, 20))
		require.Zero(t, b.Snapshot().FailureRate)
		_ = do(b, slowly(time.Second, errDown))
		s := b.Snapshot()
		require.Equal(t, 1.0, s.FailureRate, "of one call")
		require.Equal(t, 1.0, s.SlowRate)
		_ = do(b, ok)
		_ = do(b, slowly(time.Second, nil))
		_ = do(b, ok)
		s = b.Snapshot()
		require.Equal(t, 0.25, s.FailureRate)
		require.Equal(t, 0.5, s.SlowRate)
	})
}

func TestFault028_AWindowOfOneBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Second, 1))
		for range 5 {
			failTimes(b, 4)
			require.NoError(t, do(b, ok))
			require.EqualValues(t, 5, b.Snapshot().Calls)
			time.Sleep(2 * time.Second)
			require.Zero(t, b.Snapshot().Calls)
		}
		require.Equal(t, breaker.Closed, b.State())
		failTimes(b, 10)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestFault027_ASuccessAtTheEdgeOfABucketIsInTheNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.TimeWindow(2*time.Second, 2))
		failTimes(b, 1)
		time.Sleep(time.Second)
		require.NoError(t, do(b, ok))
		require.EqualValues(t, 2, b.Snapshot().Calls)
		time.Sleep(time.Second)
		require.EqualValues(t, 1, b.Snapshot().Calls)
		require.Zero(t, b.Snapshot().CallsFailed)
		time.Sleep(time.Second)
		require.Zero(t, b.Snapshot().Calls)
	})
}

func TestFault028_AnOutcomeBelongsToTheTimeOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 3), breaker.TimeWindow(20*time.Millisecond, 2))
		var callers sync.WaitGroup
		for range 40 {
			callers.Go(func() {
				_ = do(b, func(context.Context) error { time.Sleep(30 * time.Millisecond); return errDown })
			})
		}
		callers.Wait()
		require.Equal(t, breaker.Open, b.State())
	})
}

// Wall clocks step; monotonic clocks do not. That the breaker uses nothing but monotonic readings, whose independence
// from the wall clock the time package promises, can be seen from the times it hands out.
func TestFault029_030_StepsOfTheWallClockDoNotMatter(t *testing.T) {
	b := tripAt(1)
	failTimes(b, 1)
	for _, instant := range []time.Time{b.Snapshot().Since, b.Snapshot().Until, refused(t, b).Until} {
		require.Contains(t, instant.String(), " m=+", "no monotonic reading")
	}
}

func TestFault029_ABreakerMadeOutsideOfABubble(t *testing.T) {
	// In a bubble it is the year 2000, so all these breakers see the clock jump back by decades.
	closed := newBreaker(breaker.FailureRate(0.5, 10))
	failTimes(closed, 9)
	open := tripAt(1)
	failTimes(open, 1)
	half := tripAt(1, breaker.OpenFor(time.Millisecond), breaker.ProbeLease(time.Hour))
	failTimes(half, 1)
	for half.State() != breaker.HalfOpen {
		runtime.Gosched()
	}
	admit(t, half)
	require.Equal(t, 1, half.Snapshot().Probes)
	synctest.Test(t, func(t *testing.T) {
		require.Zero(t, closed.Snapshot().Calls, "an idle gap")
		failTimes(closed, 9)
		require.Equal(t, breaker.Closed, closed.State())
		time.Sleep(10 * time.Second)
		require.Zero(t, closed.Snapshot().Calls, "the window is frozen")
		failTimes(closed, 10)
		require.Equal(t, breaker.Open, closed.State())
		time.Sleep(D - 1)
		require.Equal(t, breaker.Open, closed.State())
		wait, known := refused(t, closed).RetryAfter()
		require.True(t, known)
		require.EqualValues(t, 1, wait)
		time.Sleep(1)
		require.NoError(t, do(closed, ok))

		require.Equal(t, breaker.HalfOpen, open.State())
		require.Equal(t, breaker.HalfOpen, open.Snapshot().State)
		require.NoError(t, open.Ready(t.Context()))
		require.NoError(t, do(open, ok))
		require.Equal(t, breaker.Closed, open.State())

		require.Zero(t, half.Snapshot().Probes)
		require.NoError(t, do(half, ok))
		require.Equal(t, breaker.Closed, half.State())
	})
	require.NoError(t, do(closed, ok)) // and decades forward again
	require.EqualValues(t, 1, closed.Snapshot().Calls)
}

func TestFault029_WhatHasNoEndHasNoneByAnotherClockEither(t *testing.T) {
	b := tripAt(1)
	synctest.Test(t, func(t *testing.T) {
		for _, change := range []func(){b.ForceOpen, b.ForceClosed, b.Reset} {
			change()
			require.True(t, b.Snapshot().Until.IsZero())
			require.True(t, b.Snapshot().Since.Equal(time.Now()))
		}
		b.Trip()
		require.True(t, b.Snapshot().Until.Equal(time.Now().Add(D)))
		time.Sleep(D)
		probe := admit(t, b)
		require.True(t, b.Snapshot().Until.IsZero(), "half-open")
		probe.Done(nil)
		require.True(t, b.Snapshot().Until.IsZero(), "closed")
	})
}

func TestFault034_SettledTwice(t *testing.T) {
	t.Run("a permit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.Successes(2))
			failTimes(b, 1)
			time.Sleep(D)
			permit := admit(t, b)
			require.True(t, permit.Done(nil))
			require.False(t, permit.Done(nil))
			require.Equal(t, breaker.HalfOpen, b.State())
			require.EqualValues(t, 1, b.Snapshot().Successes)
		})
	})
	t.Run("a probe's ticket", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := tripAt(1, breaker.Successes(2))
			failTimes(b, 1)
			time.Sleep(D)
			ctx, ticket, err := b.Admit(t.Context())
			require.NoError(t, err)
			for range 3 {
				b.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
			}
			require.Equal(t, breaker.HalfOpen, b.State())
			s := b.Snapshot()
			require.EqualValues(t, 1, s.Successes)
			identity(t, s)
		})
	})
}

func TestFault035_QuestionsArePure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := 0
		b := tripAt(1, breaker.OnChange(func(breaker.Change) { events++ }))
		failTimes(b, 1)
		ask := func(want breaker.State) {
			t.Helper()
			before := b.Snapshot()
			for range 1000 {
				require.Equal(t, want, b.State())
				_ = b.Ready(t.Context())
				_ = b.Snapshot()
				_ = b.String()
			}
			require.Equal(t, before, b.Snapshot())
		}
		ask(breaker.Open)
		time.Sleep(D)
		ask(breaker.HalfOpen)
		require.Equal(t, 1, events, "asking fired an event")
		require.NoError(t, b.Ready(t.Context()))
		probe := admit(t, b)
		ask(breaker.HalfOpen)
		require.ErrorIs(t, b.Ready(t.Context()), breaker.ErrOpen)
		require.Equal(t, 2, events)
		probe.Done(nil)
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault075_TheCallersCancellationIsNeutral(t *testing.T) {
	b := tripAt(3)
	for range 10 {
		cancelled(t, b, context.Canceled)
	}
	require.Equal(t, breaker.Closed, b.State())
	require.EqualValues(t, 10, b.Snapshot().Neutral)

	for range 3 { // but an error that only looks like it is a failure
		_ = do(b, func(context.Context) error { return context.Canceled })
	}
	require.Equal(t, breaker.Open, b.State())
}

func TestFault076_DeadlinesAreFailuresUnlessClassified(t *testing.T) {
	exceed := func(b *breaker.Breaker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		permit, err := policy.Acquire(context.WithoutCancel(ctx), b)
		if err != nil {
			return
		}
		<-ctx.Done()
		permit.Done(ctx.Err())
	}
	b := tripAt(3)
	for range 3 {
		exceed(b)
	}
	require.Equal(t, breaker.Open, b.State())

	// The library's own attempt timeout names itself in the error, so the two can be told apart.
	errOwn := errors.New("own timeout")
	lenient := tripAt(3, breaker.Classify(func(err error) policy.Class {
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errOwn) {
			return policy.Ignored
		}
		return policy.Transient
	}))
	for range 10 {
		exceed(lenient)
	}
	require.Equal(t, breaker.Closed, lenient.State())
	for range 3 {
		_ = do(lenient, func(context.Context) error { return fmt.Errorf("%w: %w", errOwn, context.DeadlineExceeded) })
	}
	require.Equal(t, breaker.Open, lenient.State())
}

func TestFault076_TheDeadlineOfTheAdmittedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(3)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := resilience.Do(ctx, b, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestFault085_CancellationAsText(t *testing.T) {
	b := tripAt(3)
	for range 10 {
		cancelled(t, b, errors.New("canceling statement due to user request"))
	}
	require.Equal(t, breaker.Closed, b.State())
}

func TestFault175_ViewsShareTheirBreaker(t *testing.T) {
	b := tripAt(2)
	ints, texts := breaker.Policy[int]{Breaker: b}, breaker.Policy[string]{Breaker: b}
	_, err := ints.Do(t.Context(), func(context.Context) (int, error) { return 0, errDown })
	require.Equal(t, errDown, err)
	_, err = texts.Do(t.Context(), func(context.Context) (string, error) { return "", errDown })
	require.Equal(t, errDown, err)
	value, err := ints.Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
	require.ErrorIs(t, err, breaker.ErrOpen)
	require.Zero(t, value)
	require.PanicsWithValue(t, "breaker: Policy with a nil Breaker", func() {
		_, _ = breaker.Policy[int]{}.Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
	})
}

func TestFault048_OneBreakerInTwoPipelines(t *testing.T) {
	b := tripAt(2)
	reads, writes := resilience.Compose(b), resilience.Compose(b, &full{admits: true})
	require.Error(t, reads.Run(t.Context(), fail))
	require.Error(t, writes.Run(t.Context(), fail))
	require.ErrorIs(t, reads.Run(t.Context(), ok), breaker.ErrOpen)
	require.ErrorIs(t, writes.Run(t.Context(), ok), breaker.ErrOpen)
}

func TestARejectionIsNoCall(t *testing.T) {
	b := newBreaker(breaker.FailureRate(0.5, 2), breaker.CountWindow(10))
	failTimes(b, 2)
	before := b.Snapshot()
	for range 10 {
		refused(t, b)
	}
	after := b.Snapshot()
	require.Equal(t, before.Calls, after.Calls)
	require.Equal(t, before.Requests, after.Requests)
	require.EqualValues(t, 10, after.Rejected)
}

func TestPrinting(t *testing.T) {
	require.Equal(t, "breaker", breaker.New().String())
	require.Equal(t, `breaker "users-db"`, breaker.New(breaker.Name("users-db")).String())
	require.Equal(t, "users-db", breaker.New(breaker.Name("users-db")).Name())
	require.Equal(t, policy.StageBreaker, breaker.New().Stage())
	for state, want := range map[breaker.State]string{
		breaker.Closed: "closed", breaker.Open: "open", breaker.HalfOpen: "half-open", breaker.ForcedOpen: "forced open",
		breaker.ForcedClosed: "forced closed", 99: "state 99",
	} {
		require.Equal(t, want, state.String())
	}
	seen := map[string]bool{}
	for reason := breaker.ReasonNone; reason <= breaker.ReasonReset; reason++ {
		require.NotContains(t, reason.String(), "reason ")
		seen[reason.String()] = true
	}
	require.Len(t, seen, int(breaker.ReasonReset)+1)
	require.Equal(t, "reason 99", breaker.Reason(99).String())
}

func TestAllocations(t *testing.T) {
	for _, mode := range modes {
		b := breaker.New(mode.opts...)
		require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(t.Context(), b, succeed) }), mode.name)
	}
	open := breaker.New(breaker.OpenFor(time.Hour))
	open.Trip()
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(t.Context(), open, succeed) }))
	half := breaker.New(breaker.OpenFor(time.Millisecond), breaker.ProbeLease(time.Hour))
	half.Trip()
	for half.State() != breaker.HalfOpen {
		runtime.Gosched()
	}
	admit(t, half)
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = resilience.Do(t.Context(), half, succeed) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = open.Ready(t.Context()); _ = half.Ready(t.Context()) }))
	for _, rule := range []breaker.Option{
		breaker.ConsecutiveFailures(1_000_000), breaker.TripWhen(func(breaker.Snapshot) bool { return false }),
	} {
		failing := breaker.New(rule)
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			_, _ = resilience.Do(t.Context(), failing, func(context.Context) (int, error) { return 0, errDown })
		}))
	}
}
