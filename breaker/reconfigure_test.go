package breaker_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

func TestReconfigureKeepsTheCounts(t *testing.T) {
	b := tripAt(5)
	failTimes(b, 3)
	before := b.Snapshot()
	require.NoError(t, b.Reconfigure(breaker.ConsecutiveFailures(2)))
	require.Equal(t, before, b.Snapshot(), "the new rule is asked after the next failure")
	failTimes(b, 1)
	s := b.Snapshot()
	require.Equal(t, breaker.Open, s.State)
	require.Equal(t, 4, s.ConsecutiveFailures)
	require.GreaterOrEqual(t, s.Until.Sub(s.Since), 5*time.Second, "what is not given has its default")
	require.LessOrEqual(t, s.Until.Sub(s.Since), 5500*time.Millisecond)
}

func TestReconfigureKeepsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		window := func(s breaker.Snapshot) [2]int64 { return [2]int64{s.Calls, s.CallsFailed} }
		b := newBreaker(breaker.FailureRate(1, 20), breaker.TimeWindow(10*time.Second, 10))
		for range 10 { // second by second a failure and a success
			failTimes(b, 1)
			require.NoError(t, do(b, ok))
			time.Sleep(time.Second)
		}
		require.Equal(t, [2]int64{18, 9}, window(b.Snapshot()))
		for _, test := range []struct {
			d       time.Duration
			buckets int
			want    [2]int64
		}{{10 * time.Second, 10, [2]int64{18, 9}}, {time.Minute, 60, [2]int64{18, 9}},
			{4 * time.Second, 4, [2]int64{6, 3}}, {time.Minute, 6, [2]int64{6, 3}}} {
			require.NoError(t, b.Reconfigure(breaker.FailureRate(1, 20), breaker.TimeWindow(test.d, test.buckets)))
			require.Equal(t, test.want, window(b.Snapshot()), "%v", test.d)
		}
		require.NoError(t, b.Reconfigure(breaker.FailureRate(1, 10), breaker.CountWindow(10)))
		require.Equal(t, [2]int64{}, window(b.Snapshot()), "a time window does not know the order of calls")
		for range 5 {
			failTimes(b, 1)
			require.NoError(t, do(b, ok))
		}
		require.NoError(t, b.Reconfigure(breaker.FailureRate(1, 4), breaker.CountWindow(4)))
		require.Equal(t, [2]int64{4, 2}, window(b.Snapshot()))
		require.NoError(t, b.Reconfigure(breaker.FailureRate(1, 4), breaker.CountWindow(100)))
		require.Equal(t, [2]int64{4, 2}, window(b.Snapshot()), "what was forgotten does not come back")
		require.NoError(t, do(b, ok))
		require.Equal(t, [2]int64{5, 2}, window(b.Snapshot()))

		successes := b.Snapshot().Successes
		require.NoError(t, b.Reconfigure(breaker.ConsecutiveFailures(3)))
		require.Equal(t, [2]int64{}, window(b.Snapshot()))
		require.NoError(t, b.Reconfigure(breaker.FailureRate(1, 20)))
		require.Equal(t, [2]int64{}, window(b.Snapshot()))
		require.NoError(t, do(b, ok))
		require.Equal(t, [2]int64{1, 0}, window(b.Snapshot()))
		require.Equal(t, successes+1, b.Snapshot().Successes)
		identity(t, b.Snapshot())
	})
}

func TestReconfigureKeepsTheOpenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1)
		failTimes(b, 1)
		before := b.Snapshot()
		require.NoError(t, b.Reconfigure(breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Hour), breaker.Jitter(0)))
		require.Equal(t, before, b.Snapshot())
		time.Sleep(D - 1)
		wait, known := refused(t, b).RetryAfter()
		require.True(t, known)
		require.EqualValues(t, 1, wait)
		time.Sleep(1)
		failTimes(b, 1)
		s := b.Snapshot()
		require.Equal(t, time.Hour, s.Until.Sub(s.Since), "the next one is new")
	})
}

func TestReconfigureWithProbesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Probes(2), breaker.Successes(3), breaker.ProbeLease(time.Minute))
		half(b)
		require.NoError(t, do(b, ok))
		first, second := admit(t, b), admit(t, b)
		before := b.Snapshot()
		require.NoError(t, b.Reconfigure(breaker.ConsecutiveFailures(1), breaker.OpenFor(D), breaker.Jitter(0), breaker.ProbeLease(time.Second)))
		require.Equal(t, before, b.Snapshot(), "half-open, and both probes are out")
		refused(t, b)
		time.Sleep(time.Minute - 1)
		refused(t, b) // they keep their leases
		first.Done(nil)
		require.Equal(t, breaker.Closed, b.State(), "two successes, and only one is needed now")
		second.Done(errDown)
		require.Equal(t, breaker.Closed, b.State())
		require.EqualValues(t, 1, b.Snapshot().Stale)
		identity(t, b.Snapshot())

		half(b)
		admit(t, b)
		refused(t, b)
		require.NoError(t, b.Reconfigure(breaker.Probes(3), breaker.Successes(3)))
		require.NoError(t, b.Ready(t.Context()), "more slots")
		admit(t, b)
		admit(t, b)
		refused(t, b)
	})
}

func TestReconfigureIsAllOrNothing(t *testing.T) {
	b := breaker.New(breaker.Name("users-db"), breaker.ConsecutiveFailures(2))
	failTimes(b, 1)
	before, report := b.Snapshot(), b.Report()
	for _, test := range []struct {
		opts []breaker.Option
		want string
	}{
		{[]breaker.Option{breaker.Name("orders-db")}, `breaker: Name("orders-db"): the breaker keeps its name, which is "users-db"`},
		{[]breaker.Option{breaker.ConsecutiveFailures(7), breaker.Probes(0)}, "breaker: Probes(0): must be between 1 and 10000"},
		{[]breaker.Option{breaker.OnChange(nil)}, "breaker: OnChange(nil): must not be nil"},
		{[]breaker.Option{nil}, "breaker: option 1 is nil"},
	} {
		err := b.Reconfigure(test.opts...)
		require.EqualError(t, err, test.want)
		var config *policy.ConfigError
		require.ErrorAs(t, err, &config)
		require.Equal(t, before, b.Snapshot())
		require.Equal(t, report, b.Report())
	}
	require.True(t, b.Idle())
	require.NoError(t, b.Reconfigure(breaker.Name("users-db")))
	require.Equal(t, "users-db", b.Name())
	require.NoError(t, b.Reconfigure())
	require.Equal(t, "users-db", b.Name())
	require.False(t, b.Idle(), "a new one would have other rules")
}

func TestReconfigureKeepsCodeThatIsNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second, asked, chance int
		b := newBreaker(breaker.OnChange(func(breaker.Change) { first++ }), breaker.Classify(neutrally),
			breaker.TripWhen(func(s breaker.Snapshot) bool { asked++; return s.ConsecutiveFailures == 2 }),
			breaker.Rand(luck(func() float64 { chance++; return 0.5 })))
		require.NoError(t, b.Reconfigure(breaker.OpenFor(time.Second), breaker.Jitter(1)))
		require.Equal(t, errNeutral, do(b, slowly(0, errNeutral)))
		failTimes(b, 2)
		s := b.Snapshot()
		require.Equal(t, breaker.ReasonTripWhen, s.Reason)
		require.Equal(t, [3]int{1, 2, 1}, [3]int{first, asked, min(chance, 1)})
		require.EqualValues(t, 1, s.Neutral)
		require.Equal(t, 1500*time.Millisecond, s.Until.Sub(s.Since).Round(time.Millisecond))
		names := []string{}
		for _, setting := range b.Report().Settings {
			if setting.Code {
				names = append(names, setting.Name)
			}
		}
		require.Equal(t, []string{"TripWhen", "Classify", "OnChange", "Rand"}, names)

		require.NoError(t, b.Reconfigure(breaker.OnChange(func(breaker.Change) { second++ }),
			breaker.TripWhen(func(breaker.Snapshot) bool { return false })))
		b.Reset()
		require.Equal(t, [2]int{1, 1}, [2]int{first, second}, "replaced")
		failTimes(b, 100)
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestReconfigureSetsTheMode(t *testing.T) {
	b := tripAt(1)
	failTimes(b, 1)
	require.NoError(t, b.Reconfigure(breaker.Shadow()))
	require.True(t, b.Snapshot().Shadow)
	require.NoError(t, do(b, ok))
	require.NoError(t, b.Reconfigure())
	refused(t, b)
}

// What began when nothing was measured is not slow.
func TestReconfigureAddsARuleAboutSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker()
		time.Sleep(time.Hour)
		before := admit(t, b)
		require.NoError(t, b.Reconfigure(breaker.SlowCalls(time.Second, 0.5, 1)))
		after := admit(t, b)
		time.Sleep(time.Minute)
		before.Done(nil)
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Snapshot().CallsSlow)
		after.Done(nil)
		require.Equal(t, breaker.ReasonSlowCalls, b.Snapshot().Reason)
	})
}

func TestReconfigureGoesOnWithARamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Ramp(10*time.Second), breaker.Rand(luck(func() float64 { return 0.999 })))
		half(b)
		require.NoError(t, do(b, ok))
		before := b.Snapshot()
		slot := admit(t, b)
		refused(t, b)
		require.NoError(t, b.Reconfigure())
		require.Equal(t, before.Until, b.Snapshot().Until)
		refused(t, b)
		slot.Done(nil)
		require.NoError(t, do(b, ok))
		time.Sleep(10 * time.Second)
		for range 10 {
			admit(t, b)
		}
	})
}

// A hundred changes a second for ten seconds, under load: no call fails because of it, and nothing is lost.
func TestReconfigureUnderLoad(t *testing.T) {
	configurations := [][]breaker.Option{
		{breaker.ConsecutiveFailures(1000)},
		{breaker.FailureRate(1, 1000), breaker.CountWindow(1000), breaker.Probes(3)},
		{breaker.FailureRate(1, 1000), breaker.SlowCalls(time.Hour, 1, 1), breaker.TimeWindow(time.Second, 10)},
		{breaker.FailureCount(1 << 30), breaker.TimeWindow(100*time.Millisecond, 3), breaker.Successes(2)},
		{breaker.Shadow(), breaker.ConsecutiveFailures(1000), breaker.Ramp(time.Second)},
	}
	b := breaker.New()
	var calls atomic.Uint64
	var stop atomic.Bool
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				op, want := ok, error(nil)
				if (i+caller)%3 == 0 {
					op, want = fail, errDown
				}
				if err := do(b, op); err != want {
					t.Errorf("call %d: %v", i, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for i := range testsize.Pick(200, 1000) {
		if err := b.Reconfigure(configurations[i%len(configurations)]...); err != nil {
			t.Error(err)
		}
		identity(t, b.Snapshot())
		_ = b.Report()
		for settled := calls.Load(); i%10 == 0 && calls.Load() < settled+100 && !t.Failed(); { // not all changes at once
			runtime.Gosched()
		}
	}
	stop.Store(true)
	callers.Wait()
	s := b.Snapshot()
	require.Equal(t, calls.Load(), s.Requests)
	require.Equal(t, s.Successes+s.Failures, s.Requests)
	require.EqualValues(t, 1, s.Generation)
}
