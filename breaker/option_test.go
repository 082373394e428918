package breaker_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestFault178_BadOptions(t *testing.T) {
	one := func(o breaker.Option) []breaker.Option { return []breaker.Option{o} }
	rate := breaker.FailureRate(0.5, 20)
	for _, test := range []struct {
		opts []breaker.Option
		want string
	}{
		{one(nil), "option 1 is nil"},
		{one(breaker.ConsecutiveFailures(0)), "ConsecutiveFailures(0): must be at least 1"},
		{one(breaker.ConsecutiveFailures(math.MinInt)), fmt.Sprintf("ConsecutiveFailures(%d): must be at least 1", math.MinInt)},
		{one(breaker.FailureRate(0, 20)), "FailureRate(0): the rate must be between 1e-09 and 1"},
		{one(breaker.FailureRate(-0.5, 20)), "FailureRate(-0.5): the rate"},
		{one(breaker.FailureRate(1.01, 20)), "FailureRate(1.01): the rate"},
		{one(breaker.FailureRate(1e-10, 20)), "FailureRate(1e-10): the rate"},
		{one(breaker.FailureRate(math.NaN(), 20)), "FailureRate(NaN): the rate"},
		{one(breaker.FailureRate(math.Inf(1), 20)), "FailureRate(+Inf): the rate"},
		{one(breaker.FailureRate(math.Inf(-1), 20)), "FailureRate(-Inf): the rate"},
		{one(breaker.FailureRate(0.5, 0)), "FailureRate with 0 minimum calls: must be at least 1"},
		{one(breaker.FailureRate(0.5, -1)), "FailureRate with -1 minimum calls: must be at least 1"},
		{one(breaker.SlowCalls(0, 0.5, 20)), "SlowCalls(0s): the threshold must be at least 1µs"},
		{one(breaker.SlowCalls(5, 0.5, 20)), "SlowCalls(5ns): the threshold"},
		{one(breaker.SlowCalls(-time.Second, 0.5, 20)), "SlowCalls(-1s): the threshold"},
		{one(breaker.SlowCalls(time.Second, math.NaN(), 20)), "SlowCalls(NaN): the rate"},
		{one(breaker.SlowCalls(time.Second, 0.5, 0)), "SlowCalls with 0 minimum calls"},
		{[]breaker.Option{rate, breaker.CountWindow(0)}, "CountWindow(0): must be between 1 and 100000"},
		{[]breaker.Option{rate, breaker.CountWindow(-1)}, "CountWindow(-1): must"},
		{[]breaker.Option{rate, breaker.CountWindow(math.MaxInt)}, fmt.Sprintf("CountWindow(%d): must", math.MaxInt)},
		{[]breaker.Option{rate, breaker.CountWindow(19)}, "FailureRate with 20 minimum calls and CountWindow(19): can never trip"},
		{[]breaker.Option{breaker.SlowCalls(time.Second, 0.5, 20), breaker.CountWindow(19)}, "SlowCalls with 20 minimum calls and CountWindow(19): can never trip"},
		{[]breaker.Option{rate, breaker.TimeWindow(0, 10)}, "TimeWindow(0s, 10): a bucket must be at least 1ms"},
		{[]breaker.Option{rate, breaker.TimeWindow(-time.Second, 1)}, "TimeWindow(-1s, 1): a bucket"},
		{[]breaker.Option{rate, breaker.TimeWindow(10, 10)}, "TimeWindow(10ns, 10): a bucket"},
		{[]breaker.Option{rate, breaker.TimeWindow(time.Second, 0)}, "TimeWindow(1s, 0): there must be between 1 and 10000 buckets"},
		{[]breaker.Option{rate, breaker.TimeWindow(math.MaxInt64, 10_001)}, "10001): there must be"},
		{[]breaker.Option{rate, breaker.TimeWindow(time.Second, 10), breaker.CountWindow(20)}, "CountWindow(20) and TimeWindow(1s, 10): only one window is possible"},
		{one(breaker.CountWindow(20)), "CountWindow(20): without FailureRate, FailureCount, SlowCalls or TripWhen nothing looks at it"},
		{one(breaker.TimeWindow(time.Second, 10)), "TimeWindow(1s, 10): without FailureRate"},
		{one(breaker.OpenFor(0)), "OpenFor(0s): must be at least 1ms"},
		{one(breaker.OpenFor(5)), "OpenFor(5ns): must be at least 1ms"}, // Fault 183
		{one(breaker.OpenFor(math.MinInt64)), "OpenFor(-2562047h47m16.854775808s): must be"},
		{one(breaker.Jitter(-0.1)), "Jitter(-0.1): must be between 0 and 1"},
		{one(breaker.Jitter(1.5)), "Jitter(1.5): must be between 0 and 1"},
		{one(breaker.Jitter(math.NaN())), "Jitter(NaN): must"},
		{one(breaker.Growth(0.5, time.Minute)), "Growth(0.5): the factor must be a number of at least 1"},
		{one(breaker.Growth(math.NaN(), time.Minute)), "Growth(NaN): the factor"},
		{one(breaker.Growth(math.Inf(1), time.Minute)), "Growth(+Inf): the factor"},
		{one(breaker.Growth(2, time.Second)), "Growth up to 1s: must not be below the open time 5s"},
		{one(breaker.RetryAfter(0)), "RetryAfter(0s): must be at least 1ms"},
		{one(breaker.Probes(0)), "Probes(0): must be between 1 and 10000"},
		{one(breaker.Probes(10_001)), "Probes(10001): must be"},
		{one(breaker.Successes(0)), "Successes(0): must be at least 1"},
		{one(breaker.ProbeLease(0)), "ProbeLease(0s): must be at least 1ms"},
		{one(breaker.ProbeLease(-time.Second)), "ProbeLease(-1s): must"},
		{one(breaker.FailedProbes(-1)), "FailedProbes(-1): must be at least 0"},
		{one(breaker.FailureCount(0)), "FailureCount(0): must be at least 1"},
		{[]breaker.Option{breaker.FailureCount(20), breaker.CountWindow(19)}, "FailureCount(20) and CountWindow(19): can never trip"},
		{one(breaker.TripWhen(nil)), "TripWhen(nil): must not be nil"},
		{one(breaker.Ramp(0)), "Ramp(0s): must be at least 1ms"},
		{one(breaker.Classify(nil)), "Classify(nil): must not be nil"}, // Fault 182
		// Just beyond each edge.
		{one(breaker.FailureRate(math.Nextafter(1, 2), 20)), "FailureRate(1.0000000000000002): the rate"},
		{one(breaker.FailureRate(math.Nextafter(1e-9, 0), 20)), "the rate must be between 1e-09 and 1"},
		{one(breaker.SlowCalls(time.Microsecond-1, 0.5, 20)), "SlowCalls(999ns): the threshold"},
		{[]breaker.Option{rate, breaker.CountWindow(100_001)}, "CountWindow(100001): must"},
		{[]breaker.Option{rate, breaker.TimeWindow(10*time.Millisecond-1, 10)}, "TimeWindow(9.999999ms, 10): a bucket"},
		{one(breaker.OpenFor(time.Millisecond - 1)), "OpenFor(999.999µs): must be at least 1ms"},
		{one(breaker.Jitter(math.Nextafter(1, 2))), "Jitter(1.0000000000000002): must"},
		{one(breaker.Growth(math.Nextafter(1, 0), time.Minute)), "Growth(0.9999999999999999): the factor"},
		{one(breaker.Growth(2, 5*time.Second-1)), "Growth up to 4.999999999s: must not be below the open time 5s"},
		{one(breaker.RetryAfter(time.Millisecond - 1)), "RetryAfter(999.999µs): must be at least 1ms"},
		{one(breaker.ProbeLease(time.Millisecond - 1)), "ProbeLease(999.999µs): must"},
		{one(breaker.Ramp(time.Millisecond - 1)), "Ramp(999.999µs): must"},
		{[]breaker.Option{breaker.SlowCalls(time.Second, 0.5, 20), breaker.ProbeLease(time.Second)}, "SlowCalls(1s) and ProbeLease(1s): a slow probe would lose its lease unseen"},
		{one(breaker.OnChange(nil)), "OnChange(nil): must not be nil"},
		{one(breaker.Rand(nil)), "Rand(nil): must not be nil"},
		{one(breaker.Rand((*rand.PCG)(nil))), "Rand(nil): must not be nil"},
	} {
		err := breaker.Validate(test.opts...)
		require.ErrorContains(t, err, "breaker: ")
		require.ErrorContains(t, err, test.want)
		var config *policy.ConfigError
		require.ErrorAs(t, err, &config)
		require.Len(t, config.Problems, 1, config.Problems)
		require.PanicsWithError(t, err.Error(), func() { breaker.New(test.opts...) })
	}
	err := breaker.Validate(breaker.Probes(0), breaker.Successes(0), nil)
	var config *policy.ConfigError
	require.ErrorAs(t, err, &config)
	require.Len(t, config.Problems, 3, "every problem at once")
}

func TestFault178_GoodExtremes(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for _, opts := range [][]breaker.Option{
		{breaker.ConsecutiveFailures(math.MaxInt)},
		{breaker.FailureRate(1e-9, math.MaxInt)},
		{breaker.FailureRate(1, 1), breaker.TimeWindow(forever, 1)},
		{breaker.FailureRate(math.Nextafter(1, 0), 1), breaker.TimeWindow(forever, 10_000)},
		{breaker.FailureRate(1, 1), breaker.CountWindow(1)},
		{breaker.FailureRate(1, 100_000), breaker.CountWindow(100_000)},
		{breaker.SlowCalls(forever, 1, 1)},
		{breaker.OpenFor(forever), breaker.ProbeLease(forever), breaker.Ramp(forever), breaker.Jitter(1)},
		{breaker.OpenFor(forever), breaker.Growth(math.MaxFloat64, forever), breaker.RetryAfter(forever)},
		{breaker.Probes(10_000), breaker.Successes(math.MaxInt)},
		{breaker.Probes(1), breaker.Successes(1)},
		{breaker.FailureRate(0.5, 20), breaker.CountWindow(20)},
		{breaker.SlowCalls(time.Second, 0.5, 20), breaker.CountWindow(20)},
		{breaker.FailureRate(0.5, 20), breaker.TimeWindow(10*time.Millisecond, 10)},
		{breaker.OpenFor(time.Millisecond), breaker.ProbeLease(time.Millisecond), breaker.Ramp(time.Millisecond), breaker.Jitter(0)},
		{breaker.OpenFor(time.Second), breaker.Growth(1, time.Second), breaker.RetryAfter(time.Millisecond)},
		{breaker.SlowCalls(time.Second, 0.5, 20), breaker.ProbeLease(time.Second + 1)},
		{breaker.OpenFor(time.Millisecond), breaker.ConsecutiveFailures(1), breaker.FailureRate(0.1, 1), breaker.SlowCalls(time.Microsecond, 0.1, 1)},
	} {
		require.NoError(t, breaker.Validate(opts...))
		b := breaker.New(opts...)
		for range 3 { // nothing may fail later
			failTimes(b, 3)
			_ = do(b, ok)
			b.Trip()
			failTimes(b, 1)
			identity(t, b.Snapshot())
			require.False(t, b.Snapshot().Until.IsZero() && b.State() == breaker.Open)
			require.NotEqual(t, "", refusalText(b))
			b.Reset()
		}
	}
}

func refusalText(b *breaker.Breaker) string {
	if err := b.Ready(nil); err != nil { //nolint:staticcheck // it is not used
		return err.Error()
	}
	return "ready"
}

func TestFault046_OptionsCanBeUsedAgain(t *testing.T) {
	heard := 0
	opts := []breaker.Option{breaker.ConsecutiveFailures(2), breaker.OnChange(func(breaker.Change) { heard++ })}
	a := breaker.New(opts...)
	b := breaker.New(append(opts, breaker.ConsecutiveFailures(1))...)
	opts[0] = breaker.ConsecutiveFailures(100)
	failTimes(a, 1)
	failTimes(b, 1)
	require.Equal(t, breaker.Closed, a.State())
	require.Equal(t, breaker.Open, b.State())
	failTimes(a, 1)
	require.Equal(t, breaker.Open, a.State())
	require.Equal(t, 2, heard)
}

func TestFault185_Defaults(t *testing.T) {
	b := breaker.New()
	failTimes(b, 4)
	require.Equal(t, breaker.Closed, b.State())
	failTimes(b, 1)
	s := b.Snapshot()
	require.Equal(t, breaker.Open, s.State)
	require.Equal(t, breaker.ReasonConsecutiveFailures, s.Reason)
	open := s.Until.Sub(s.Since)
	require.GreaterOrEqual(t, open, 5*time.Second)
	require.LessOrEqual(t, open, 5500*time.Millisecond)

	rate := breaker.New(breaker.FailureRate(0.5, 20)) // the default rule does not come on top of a chosen one
	failTimes(rate, 19)
	require.Equal(t, breaker.Closed, rate.State())
}

func TestFault185_TheDefaultWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.FailureRate(0.5, 20))
		time.Sleep(950 * time.Millisecond)
		failTimes(b, 1) // in the first of ten buckets of 1 s each
		time.Sleep(9050*time.Millisecond - 1)
		require.EqualValues(t, 1, b.Snapshot().Calls)
		time.Sleep(1)
		require.Zero(t, b.Snapshot().Calls)
	})
}

// limited is a timeout as Check sees one.
type limited struct {
	full
	limit time.Duration
	stage policy.Stage
}

func (l *limited) Stage() policy.Stage      { return l.stage }
func (l *limited) TimeLimit() time.Duration { return l.limit }

func TestCheck(t *testing.T) {
	timeout := func(limit time.Duration) *limited {
		return &limited{full{true}, limit, policy.StageAttemptTimeout}
	}
	rate := breaker.New(breaker.FailureRate(0.5, 20), breaker.TimeWindow(10*time.Second, 10), breaker.ProbeLease(time.Minute))
	require.NoError(t, resilience.Validate(rate, timeout(5*time.Second)))
	require.ErrorContains(t, resilience.Validate(rate, timeout(5*time.Second+2)), "the window 10s is shorter than twice the attempt timeout 5.000000002s")
	total := timeout(time.Hour)
	total.stage = policy.StageTotalTimeout
	require.NoError(t, resilience.Validate(rate, total))

	fault := timeout(time.Hour)
	fault.stage = policy.StageChaos
	require.NoError(t, resilience.Validate(rate, fault), "another layer that has a limit")
	require.NoError(t, resilience.Validate(rate, policy.At(policy.StageAttemptTimeout, &full{true})), "a layer at its place that has none")

	for _, free := range []*breaker.Breaker{
		breaker.New(breaker.ProbeLease(time.Minute)),
		breaker.New(breaker.FailureRate(0.5, 20), breaker.CountWindow(20), breaker.ProbeLease(time.Minute)),
	} {
		require.NoError(t, resilience.Validate(free, timeout(time.Minute)))
		require.ErrorContains(t, resilience.Validate(free, timeout(time.Minute+1)), "the probe lease 1m0s is shorter than the attempt timeout 1m0.000000001s")
	}
	both := resilience.Validate(breaker.New(breaker.FailureRate(0.5, 20)), timeout(time.Hour))
	require.ErrorContains(t, both, "window")
	require.ErrorContains(t, both, "lease")
}

// limitGuard is a third party's guard with a method that happens to be called Limit.
type limitGuard struct{ full }

func (*limitGuard) Stage() policy.Stage  { return policy.StageAttemptTimeout }
func (*limitGuard) Limit() time.Duration { return time.Hour }

func TestFault257_AMethodNamedLimitIsNoTimeout(t *testing.T) {
	require.NoError(t, breaker.New(breaker.FailureRate(0.5, 20)).Check(nil, []policy.Layer{&limitGuard{}}))
}

func TestFault258_TheLaterOptionCounts(t *testing.T) {
	rate := breaker.FailureRate(0.5, 20)
	for name, opts := range map[string][]breaker.Option{
		"ConsecutiveFailures": {breaker.ConsecutiveFailures(0), breaker.ConsecutiveFailures(3)},
		"FailureRate":         {breaker.FailureRate(7, 0), rate},
		"FailureCount":        {breaker.FailureCount(0), breaker.FailureCount(1)},
		"SlowCalls":           {breaker.SlowCalls(0, 0, 0), breaker.SlowCalls(time.Second, 0.5, 1)},
		"TripWhen":            {breaker.TripWhen(nil), breaker.TripWhen(func(breaker.Snapshot) bool { return false })},
		"CountWindow":         {rate, breaker.CountWindow(0), breaker.CountWindow(20)},
		"TimeWindow":          {rate, breaker.TimeWindow(0, 0), breaker.TimeWindow(time.Second, 1)},
		"OpenFor":             {breaker.OpenFor(0), breaker.OpenFor(time.Second)},
		"Jitter":              {breaker.Jitter(7), breaker.Jitter(0)},
		"Growth":              {breaker.Growth(0, 0), breaker.Growth(2, time.Hour)},
		"RetryAfter":          {breaker.RetryAfter(0), breaker.RetryAfter(time.Second)},
		"Probes":              {breaker.Probes(0), breaker.Probes(1)},
		"Successes":           {breaker.Successes(0), breaker.Successes(1)},
		"FailedProbes":        {breaker.FailedProbes(-1), breaker.FailedProbes(0)},
		"ProbeLease":          {breaker.ProbeLease(0), breaker.ProbeLease(time.Second)},
		"Ramp":                {breaker.Ramp(0), breaker.Ramp(time.Second)},
		"Classify":            {breaker.Classify(nil), breaker.Classify(neutrally)},
		"Rand":                {breaker.Rand(nil), breaker.Rand(luck(func() float64 { return 0 }))},
	} {
		require.NoError(t, breaker.Validate(opts...), name)
		require.NoError(t, breaker.New().Reconfigure(opts...), name)
		require.Error(t, breaker.Validate(opts[:len(opts)-1]...), name)
	}
}

func TestFault056_268_TheZeroValue(t *testing.T) {
	zero := reflect.ValueOf(&breaker.Breaker{})
	for i := range zero.NumMethod() {
		method := zero.Method(i)
		var args []reflect.Value
		for arg := range method.Type().Ins() {
			if method.Type().IsVariadic() {
				break
			}
			args = append(args, reflect.Zero(arg))
		}
		require.PanicsWithValue(t, "breaker: a Breaker must be made with New", func() { method.Call(args) }, zero.Type().Method(i).Name)
	}
	require.Contains(t, fmt.Sprint(&breaker.Breaker{}), "a Breaker must be made with New")
	require.PanicsWithValue(t, "breaker: Policy with a nil Breaker", func() {
		_, _ = breaker.Policy[int]{}.Do(t.Context(), succeed)
	})
}
