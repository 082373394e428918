package breaker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestFault036_ManualControlIgnoresCallsInFlight(t *testing.T) {
	for name, control := range map[string]struct {
		act  func(*breaker.Breaker)
		want breaker.State
	}{
		"trip":         {(*breaker.Breaker).Trip, breaker.Open},
		"force open":   {(*breaker.Breaker).ForceOpen, breaker.ForcedOpen},
		"force closed": {(*breaker.Breaker).ForceClosed, breaker.ForcedClosed},
		"reset":        {(*breaker.Breaker).Reset, breaker.Closed},
	} {
		for from, prepare := range map[string]func(*breaker.Breaker){
			"closed": func(*breaker.Breaker) {}, "half-open": half, "open": func(b *breaker.Breaker) { failTimes(b, 1) },
			"forced open": (*breaker.Breaker).ForceOpen, "forced closed": (*breaker.Breaker).ForceClosed, "shadow": (*breaker.Breaker).Shadow,
		} {
			t.Run(name+" from "+from, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var changes []breaker.Change
					b := tripAt(1, breaker.Successes(2), breaker.OnChange(func(c breaker.Change) { changes = append(changes, c) }))
					prepare(b)
					var inFlight []*policy.Permit
					for range 3 {
						if permit, err := policy.Acquire(t.Context(), b); err == nil {
							inFlight = append(inFlight, permit)
						}
					}
					before := b.Snapshot().Generation
					control.act(b)
					s := b.Snapshot()
					require.Equal(t, control.want, s.State)
					require.Greater(t, s.Generation, before)
					require.Zero(t, s.Probes)
					for i, permit := range inFlight {
						permit.Done([]error{errDown, nil, errDown}[i])
					}
					after := b.Snapshot()
					require.Equal(t, s.State, after.State, "an attempt in flight changed the state")
					require.Equal(t, s.Shadow, after.Shadow)
					require.Equal(t, s.Failures, after.Failures)
					require.Equal(t, s.Successes, after.Successes)
					require.Equal(t, s.ConsecutiveFailures, after.ConsecutiveFailures)
					identity(t, after)
					chain(t, changes)
				})
			})
		}
	}
}

func TestFault036_ForcedOpenStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		b.ForceOpen()
		time.Sleep(1000 * D)
		require.Equal(t, breaker.ForcedOpen, b.State())
		rejection := refused(t, b)
		require.Equal(t, `breaker: circuit open: forced`, rejection.Error())
		_, known := rejection.RetryAfter()
		require.False(t, known)
		require.ErrorIs(t, b.Ready(t.Context()), breaker.ErrOpen)
		b.Reset()
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFault036_ForcedClosedStaysClosed(t *testing.T) {
	b := newBreaker(breaker.ConsecutiveFailures(1), breaker.FailureRate(0.1, 1), breaker.SlowCalls(time.Microsecond, 0.1, 1))
	failTimes(b, 1)
	b.ForceClosed()
	failTimes(b, 100)
	s := b.Snapshot()
	require.Equal(t, breaker.ForcedClosed, s.State)
	require.EqualValues(t, 101, s.Failures)
	b.Reset()
	require.Zero(t, b.Snapshot().ConsecutiveFailures)
	failTimes(b, 1)
	require.Equal(t, breaker.Open, b.State())
}

func TestTripOpensForOneOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(5)
		b.Trip()
		require.Equal(t, breaker.ReasonTripped, b.Snapshot().Reason)
		time.Sleep(D - 1)
		refused(t, b)
		b.Trip() // anew
		time.Sleep(D - 1)
		refused(t, b)
		time.Sleep(1)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestResetClearsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.ConsecutiveFailures(9), breaker.Growth(2, time.Hour))
		failTimes(b, 8)
		b.Reset()
		s := b.Snapshot()
		require.Zero(t, s.Calls)
		require.Zero(t, s.ConsecutiveFailures)
		require.Zero(t, s.Changes, "closed it was, closed it is")
		failTimes(b, 9)
		time.Sleep(D)
		failTimes(b, 1) // the second opening in a row lasts longer
		require.Equal(t, 2*D, b.Snapshot().Until.Sub(b.Snapshot().Since))
		b.Reset()
		require.NoError(t, do(b, ok))
		failTimes(b, 9)
		require.Equal(t, D, b.Snapshot().Until.Sub(b.Snapshot().Since), "the growth was not reset")
	})
}

func TestAManualChangeEndsARowOfOpenings(t *testing.T) {
	for name, change := range map[string]func(*breaker.Breaker){
		"forced open": (*breaker.Breaker).ForceOpen, "forced closed": (*breaker.Breaker).ForceClosed,
		"reset": (*breaker.Breaker).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := tripAt(1, breaker.Growth(2, time.Hour), breaker.Ramp(time.Hour))
				change(b)
				require.True(t, b.Snapshot().Until.IsZero(), "no end is known")
				b.Reset()
				require.Equal(t, []time.Duration{D, 2 * D, 4 * D}, openTimes(b, 3))
				change(b)
				require.True(t, b.Snapshot().Until.IsZero(), "no end is known")
				b.Trip()
				s := b.Snapshot()
				require.Equal(t, D, s.Until.Sub(s.Since))
				time.Sleep(D)
				require.Equal(t, []time.Duration{2 * D, 4 * D}, openTimes(b, 2))
			})
		})
	}
}

// slowly takes d, then returns err.
func slowly(d time.Duration, err error) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return err }
}

func TestSlowCalls(t *testing.T) {
	const limit = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(limit, 0.5, 10), breaker.CountWindow(10))
		for range 9 {
			require.NoError(t, do(b, slowly(limit, nil)))
		}
		require.Equal(t, breaker.Closed, b.State(), "below the minimum of calls")
		require.NoError(t, do(b, slowly(limit-1, nil)))
		require.Equal(t, breaker.Closed, b.State(), "a fast call opened the breaker")
		s := b.Snapshot()
		require.EqualValues(t, 10, s.Calls)
		require.EqualValues(t, 9, s.CallsSlow)
		require.Equal(t, 0.9, s.SlowRate)
		require.NoError(t, do(b, slowly(limit, nil)))
		s = b.Snapshot()
		require.Equal(t, breaker.Open, s.State)
		require.Equal(t, breaker.ReasonSlowCalls, s.Reason)
		require.EqualValues(t, 11, s.Successes)
		require.EqualValues(t, 9, s.CallsSlow, "what the rule saw: the window had moved on by one")

		time.Sleep(D)
		require.NoError(t, do(b, slowly(limit, nil)))
		require.Equal(t, breaker.Open, b.State(), "a slow probe is no sign of health")
		require.Equal(t, breaker.ReasonProbeSlow, b.Snapshot().Reason)
		require.EqualValues(t, 12, b.Snapshot().Successes, "though it succeeded")
		identity(t, b.Snapshot())
		time.Sleep(D)
		require.NoError(t, do(b, slowly(limit-1, nil)))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestASlowFailureIsBoth(t *testing.T) {
	const limit = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(limit, 0.5, 4), breaker.FailureRate(0.9, 4), breaker.CountWindow(4))
		require.NoError(t, do(b, ok))
		require.NoError(t, do(b, ok))
		_ = do(b, slowly(limit, errDown))
		s := b.Snapshot()
		require.EqualValues(t, 1, s.CallsFailed)
		require.EqualValues(t, 1, s.CallsSlow)
		_ = do(b, slowly(limit, errDown))
		require.Equal(t, breaker.ReasonSlowCalls, b.Snapshot().Reason)
	})
}

func TestANeutralCallIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.SlowCalls(time.Second, 0.5, 1), breaker.Classify(neutrally))
		for range 10 {
			_ = do(b, slowly(time.Minute, errNeutral))
		}
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Snapshot().Calls)
	})
}

func TestARuleAboutFailuresDoesNotTripOnASlowSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureRate(0.5, 10), breaker.SlowCalls(time.Second, 1, 10))
		failTimes(b, 9)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, 0.9, b.Snapshot().FailureRate)
	})
}

func TestASlowSuccessEndsARowOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.ConsecutiveFailures(2), breaker.SlowCalls(time.Second, 1, 100))
		failTimes(b, 1)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Zero(t, b.Snapshot().ConsecutiveFailures)
		failTimes(b, 1)
		require.Equal(t, breaker.Closed, b.State())
	})
}

// openTimes returns how long a breaker stays open, n times in a row.
func openTimes(b *breaker.Breaker, n int) []time.Duration {
	var times []time.Duration
	for range n {
		failTimes(b, 1)
		s := b.Snapshot()
		times = append(times, s.Until.Sub(s.Since))
		time.Sleep(time.Until(s.Until))
	}
	return times
}

func TestGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Growth(2, 30*time.Second))
		want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second}
		require.Equal(t, want, openTimes(b, 5))
		require.NoError(t, do(b, ok)) // closed: the row has ended
		require.Equal(t, want, openTimes(b, 5))
	})
}

func TestFault103_GrowthDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Growth(1e30, 1<<63-1), breaker.Jitter(1))
		for range 2000 {
			b.Trip()
			require.Equal(t, breaker.Open, b.State())
		}
		require.Equal(t, breaker.Open, b.State())
		require.True(t, b.Snapshot().Until.After(time.Now().AddDate(100, 0, 0)))
	})
}

func TestJitterIsUpwardAndBounded(t *testing.T) {
	for chance, want := range map[float64]time.Duration{0: D, 0.5: D + D/10, 0.999: D + 999*D/5000} {
		b := tripAt(1, breaker.Jitter(0.2), breaker.Rand(luck(func() float64 { return chance })))
		failTimes(b, 1)
		s := b.Snapshot()
		require.InDelta(t, want, s.Until.Sub(s.Since), 2, chance)
	}
}

func TestFault235_JitterSpreadsTheProbesOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const breakers, slices = 100, 10
		first := map[int64]int{} // by slice of the jitter
		for range breakers {
			b := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(D)) // the default jitter
			failTimes(b, 1)
			s := b.Snapshot()
			late := s.Until.Sub(s.Since) - D
			require.GreaterOrEqual(t, late, time.Duration(0))
			require.Less(t, late, D/10)
			first[int64(late*slices/(D/10))]++
		}
		for slice, n := range first {
			require.Less(t, n, 30, "of %d probes in slice %d", breakers, slice) // 10 expected; 30 is 6 standard deviations off
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		hint, want time.Duration
	}{
		{time.Second, D}, {20 * time.Second, 20 * time.Second}, {time.Hour, time.Minute}, {-time.Hour, D}, {0, D}, {1<<63 - 1, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			busy := func(context.Context) error {
				return fmt.Errorf("wrapped: %w", hint(func() time.Duration { return test.hint }))
			}
			b := tripAt(1, breaker.RetryAfter(time.Minute))
			for range 2 { // by a rule, and by a probe
				_ = do(b, busy)
				s := b.Snapshot()
				require.Equal(t, test.want, s.Until.Sub(s.Since), "hint %v", test.hint)
				time.Sleep(test.want)
			}
			deaf := tripAt(1)
			_ = do(deaf, func(context.Context) error {
				return hint(func() time.Duration { t.Error("asked"); return test.hint })
			})
			require.Equal(t, D, deaf.Snapshot().Until.Sub(deaf.Snapshot().Since))
		})
	}
}

func TestRamp(t *testing.T) {
	const ramp = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		share := 0.999
		b := tripAt(3, breaker.Ramp(ramp), breaker.Probes(2), breaker.Successes(1), breaker.Rand(luck(func() float64 { return share })))
		b.Trip()
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		s := b.Snapshot()
		require.Equal(t, breaker.Closed, s.State)
		require.Equal(t, ramp, s.Until.Sub(s.Since))

		// As many as there may be probes are admitted without luck, also when one after the other.
		for range 10 {
			require.NoError(t, do(b, ok))
		}
		one, two := admit(t, b), admit(t, b)
		require.Equal(t, "breaker: circuit open: recovering", refused(t, b).Error())
		require.NoError(t, b.Ready(t.Context()))

		// The rest needs it: the share that is admitted is the share of the ramp that is over.
		for _, over := range []float64{0.1, 0.25, 0.5, 0.9} {
			time.Sleep(time.Until(s.Since.Add(time.Duration(over * float64(ramp)))))
			share = over + 0.001
			refused(t, b)
			share = over - 0.001
			admit(t, b).Settle(policy.Outcome{}) // never called: it comes and goes
		}
		one.Done(nil)
		share = 0.999
		require.NoError(t, do(b, ok), "a slot came back")
		two.Done(nil)

		time.Sleep(time.Until(s.Until))
		for range 100 {
			admit(t, b)
		}
		require.True(t, b.Snapshot().Until.IsZero())
		identity(t, b.Snapshot())
	})
}

func TestRampAdmitsAGrowingShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		numbers := 0.0
		evenly := func() float64 { // 0.05, 0.15, … 0.95, 0.05, …
			numbers++
			return (float64(int(numbers)%10) + 0.5) / 10
		}
		b := tripAt(3, breaker.Ramp(10*time.Second), breaker.Rand(luck(evenly)))
		b.Trip()
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		admit(t, b) // takes the slot that needs no luck
		for second := range 10 {
			admitted := 0
			for range 1000 {
				if do(b, ok) == nil {
					admitted++
				}
			}
			require.Equal(t, 100*second, admitted)
			time.Sleep(time.Second)
		}
	})
}

func TestRampFallsBackOnFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(3, breaker.Ramp(10*time.Second), breaker.Growth(2, time.Hour))
		failTimes(b, 3)
		openFor := func() time.Duration { s := b.Snapshot(); return s.Until.Sub(s.Since) }
		require.Equal(t, D, openFor())
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		failTimes(b, 3)
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, 2*D, openFor(), "it had not recovered")
		time.Sleep(2 * D)
		require.NoError(t, do(b, ok))
		time.Sleep(10 * time.Second)
		require.NoError(t, do(b, ok)) // the ramp is over
		failTimes(b, 3)
		require.Equal(t, D, openFor())
		time.Sleep(D)
		failTimes(b, 1)
		require.Equal(t, 2*D, openFor(), "a new row")
	})
}

func TestEveryRampBeginsWithFreeSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Ramp(10*time.Second), breaker.Probes(2), breaker.Rand(luck(func() float64 { return 0.999 })))
		for range 3 {
			b.Trip()
			time.Sleep(D)
			require.NoError(t, do(b, ok))
			require.Equal(t, breaker.Closed, b.State())
			admit(t, b) // two that never end
			admit(t, b)
			refused(t, b)
		}
	})
}

func TestNoRampAfterReset(t *testing.T) {
	b := tripAt(3, breaker.Ramp(time.Hour), breaker.Rand(luck(func() float64 { return 0.999 })))
	b.Trip()
	b.Reset()
	for range 10 {
		admit(t, b)
	}
}

// The rules are combined with "or", and the change says which one it was.
func TestRulesCombine(t *testing.T) {
	opts := []breaker.Option{breaker.ConsecutiveFailures(4), breaker.FailureRate(0.5, 10), breaker.SlowCalls(time.Second, 0.3, 10), breaker.CountWindow(10)}
	for _, test := range []struct {
		calls  string // f a failure, s a success, S a slow success
		reason breaker.Reason
	}{
		{"ffff", breaker.ReasonConsecutiveFailures},
		{"ssssssffff", breaker.ReasonConsecutiveFailures},
		{"fsfsfsfssf", breaker.ReasonFailureRate},
		{"ssssssssSSS", breaker.ReasonSlowCalls},
		{"fffsfffsfsf", breaker.ReasonFailureRate},
	} {
		synctest.Test(t, func(t *testing.T) {
			var reason breaker.Reason
			b := newBreaker(append(opts, breaker.OnChange(func(c breaker.Change) { reason = c.Reason }))...)
			for i, call := range test.calls {
				require.Equal(t, breaker.Closed, b.State(), "%s: call %d", test.calls, i)
				switch call {
				case 'f':
					failTimes(b, 1)
				case 's':
					_ = do(b, ok)
				case 'S':
					_ = do(b, slowly(time.Second, nil))
				}
			}
			require.Equal(t, test.reason, reason, test.calls)
		})
	}
}
