package breaker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestFailureCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breaker.FailureCount(3), breaker.TimeWindow(10*time.Second, 10))
		for range 2 {
			failTimes(b, 1)
			for range 100 {
				require.NoError(t, do(b, ok))
			}
		}
		require.Equal(t, breaker.Closed, b.State())
		failTimes(b, 1)
		require.Equal(t, breaker.Open, b.State(), "whatever succeeded")
		require.Equal(t, breaker.ReasonFailureCount, b.Snapshot().Reason)
		require.Equal(t, "3 of the last 203 calls failed, the limit is 3", b.Report().State.Cause.String())

		b.Reset()
		for range 10 {
			failTimes(b, 1)
			time.Sleep(5 * time.Second)
		}
		require.Equal(t, breaker.Closed, b.State(), "two in ten seconds")

		b = newBreaker(breaker.FailureCount(3), breaker.CountWindow(5))
		for range 10 {
			failTimes(b, 1)
			require.NoError(t, do(b, ok))
			require.NoError(t, do(b, ok))
		}
		require.Equal(t, breaker.Closed, b.State())
		failTimes(b, 2)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestTripWhen(t *testing.T) {
	var seen []breaker.Snapshot
	b := newBreaker(breaker.Classify(neutrally), breaker.TripWhen(func(s breaker.Snapshot) bool {
		seen = append(seen, s)
		return s.CallsFailed >= 2 && s.Calls >= 5
	}))
	require.NoError(t, do(b, ok))
	_ = do(b, slowly(0, errNeutral))
	require.Empty(t, seen, "only bad outcomes are a reason to ask")
	failTimes(b, 2)
	require.Len(t, seen, 2)
	require.EqualValues(t, 2, seen[0].Calls)
	require.EqualValues(t, 2, seen[1].CallsFailed, "with the outcome that was the reason")
	require.Equal(t, breaker.Closed, b.State(), "and no default rule beside it")
	require.NoError(t, do(b, ok))
	failTimes(b, 1)
	s := b.Snapshot()
	require.Equal(t, breaker.Open, s.State)
	require.Equal(t, breaker.ReasonTripWhen, s.Reason)
	require.Equal(t, errDown, s.Cause)
	require.Equal(t, "TripWhen", b.Report().State.Cause.String())
	require.Equal(t, errDown, b.Report().State.Cause.Err)
}

func TestTripWhenIsAskedAfterASlowCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBreaker(breaker.SlowCalls(time.Second, 1, 1000), breaker.TripWhen(func(breaker.Snapshot) bool { asked++; return true }))
		require.NoError(t, do(b, ok))
		require.Zero(t, asked)
		require.NoError(t, do(b, slowly(time.Second, nil)))
		require.Equal(t, 1, asked)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestTripWhenIsAskedInShadowToo(t *testing.T) {
	b := newBreaker(breaker.Shadow(), breaker.TripWhen(func(breaker.Snapshot) bool { return true }))
	failTimes(b, 1)
	require.Equal(t, breaker.Open, b.State())
	failTimes(b, 1)
	require.EqualValues(t, 1, b.Snapshot().ShadowRejected)
}

func TestTripWhenIsNotAskedWhenAnotherRuleHasTripped(t *testing.T) {
	b := newBreaker(breaker.ConsecutiveFailures(1), breaker.TripWhen(func(breaker.Snapshot) bool { t.Error("asked"); return true }))
	failTimes(b, 1)
	require.Equal(t, breaker.ReasonConsecutiveFailures, b.Snapshot().Reason)
}

// The answer counts only for what was looked at: while f thinks, the breaker may have been reset, or opened and closed.
func TestTripWhenDoesNotRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looking, answer := make(chan struct{}), make(chan struct{})
		b := newBreaker(breaker.TripWhen(func(breaker.Snapshot) bool {
			looking <- struct{}{}
			<-answer
			return true
		}))
		for name, meanwhile := range map[string]func(){
			"reset": b.Reset,
			"opened and closed": func() {
				b.Trip()
				time.Sleep(D)
				require.NoError(t, do(b, ok))
			},
		} {
			var caller sync.WaitGroup
			caller.Go(func() { failTimes(b, 1) })
			<-looking
			require.Equal(t, breaker.Closed, b.State(), "no lock is held")
			meanwhile()
			answer <- struct{}{}
			caller.Wait()
			require.Equal(t, breaker.Closed, b.State(), name)
		}
		var caller sync.WaitGroup
		caller.Go(func() { failTimes(b, 1) })
		<-looking
		require.NoError(t, do(b, ok))
		answer <- struct{}{}
		caller.Wait()
		require.Equal(t, breaker.Open, b.State(), "another call is no change of state")
	})
}

func TestTripWhenMayUseTheBreakerAndPanic(t *testing.T) {
	var b *breaker.Breaker
	b = newBreaker(breaker.TripWhen(func(s breaker.Snapshot) bool {
		_, _ = b.Snapshot(), b.Report()
		if s.Failures == 2 {
			panic("rule")
		}
		b.Trip()
		return true
	}))
	failTimes(b, 1)
	require.Equal(t, breaker.ReasonTripped, b.Snapshot().Reason)
	b.Reset()
	require.Equal(t, "rule", caught(b, fail))
	require.EqualValues(t, 2, b.Snapshot().Failures)
	require.Equal(t, breaker.Closed, b.State())
	identity(t, b.Snapshot())
}

var errAttemptTimeout = errors.New("attempt timeout")

// Callers with deadlines of 20 ms, a healthy dependency that takes 50 ms, an attempt timeout of 1 s. By default the
// circuit opens for everybody. A class of its own, with a rate in place of a row, keeps it closed; but then a
// dependency that hangs is noticed only by those callers who are more patient than the attempt timeout.
func TestFault250_CallersThatAreLessPatientThanTheDependency(t *testing.T) {
	impatient := func(err error) policy.Class {
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errAttemptTimeout) {
			return policy.Ignored // the caller's own deadline
		}
		return policy.Unclassified
	}
	// call is a caller who has so much time, for a dependency that takes so much.
	call := func(b *breaker.Breaker, has, takes time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), has)
		defer cancel()
		permit, err := policy.Acquire(ctx, b)
		if err != nil {
			return
		}
		switch until := min(has, takes, time.Second); {
		case until == takes:
			time.Sleep(until)
			permit.Done(nil)
		case until == has:
			<-ctx.Done()
			permit.Done(ctx.Err())
		default:
			time.Sleep(until)
			permit.Done(errors.Join(errAttemptTimeout, context.DeadlineExceeded))
		}
	}
	const hurried, patient, healthy, hangs = 20 * time.Millisecond, 10 * time.Second, 50 * time.Millisecond, time.Hour
	recipe := []breaker.Option{breaker.FailureRate(0.5, 20), breaker.Classify(impatient)}
	for name, test := range map[string]struct {
		opts  []breaker.Option
		has   time.Duration
		takes time.Duration
		want  breaker.State
	}{
		"default, hurried callers, healthy": {nil, hurried, healthy, breaker.Open},
		"recipe, hurried callers, healthy":  {recipe, hurried, healthy, breaker.Closed},
		"default, hurried callers, hangs":   {nil, hurried, hangs, breaker.Open},
		"recipe, hurried callers, hangs":    {recipe, hurried, hangs, breaker.Closed}, // the price
		"recipe, patient callers, hangs":    {recipe, patient, hangs, breaker.Open},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(append(test.opts, breaker.OpenFor(time.Hour))...)
				var callers sync.WaitGroup
				for range 100 {
					callers.Go(func() { call(b, test.has, test.takes) })
					time.Sleep(5 * time.Millisecond)
				}
				callers.Wait()
				require.Equal(t, test.want, b.State())
			})
		})
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
