package retry

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// delaysOf returns the first n delays of a call.
func delaysOf(r *Retrier, n int) []time.Duration {
	c := &call{}
	var delays []time.Duration
	for range n {
		delay, ok := r.current().delay(c, &policy.Attempt{})
		if !ok {
			break
		}
		delays = append(delays, delay)
	}
	return delays
}

func TestDelays(t *testing.T) {
	ms := func(values ...int) (delays []time.Duration) {
		for _, v := range values {
			delays = append(delays, time.Duration(v)*time.Millisecond)
		}
		return delays
	}
	for name, test := range map[string]struct {
		opts []Option
		want []time.Duration
	}{
		"default":    {nil, ms(100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000)},
		"capped":     {[]Option{Exponential(50*time.Millisecond, 300*time.Millisecond)}, ms(50, 100, 200, 300, 300)},
		"multiplier": {[]Option{Multiplier(1.5)}, ms(100, 150, 225)},
		"level":      {[]Option{Multiplier(1)}, ms(100, 100, 100)},
		"constant":   {[]Option{Constant(7 * time.Millisecond)}, ms(7, 7, 7)},
		"zero":       {[]Option{Constant(0)}, ms(0, 0)},
		"factory": {[]Option{BackOff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Millisecond), backoff.WithMultiplier(3), backoff.WithRandomizationFactor(0))
		})}, ms(1, 3, 9)},
		"negative source": {[]Option{BackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(-5) })}, ms(0, 0)},
		"stop":            {[]Option{BackOff(func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(1e6), 2) })}, ms(1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(append(test.opts, NoJitter())...)
			n := len(test.want)
			if name == "stop" {
				n = 10
			}
			require.Equal(t, test.want, delaysOf(r, n))
			require.Equal(t, test.want, delaysOf(r, n), "each call starts anew")
		})
	}
}

func TestANilSourceStops(t *testing.T) {
	calls := 0
	r := New(BackOff(func() backoff.BackOff {
		if calls++; calls > 2 { // sound at construction, broken later
			return nil
		}
		return &backoff.ZeroBackOff{}
	}))
	require.Empty(t, delaysOf(r, 3))
}

func TestFault105_JitterStaysBelowTheDelay(t *testing.T) {
	const base, longest = 100 * time.Millisecond, time.Second
	for name, test := range map[string]struct {
		option Option
		low    time.Duration
	}{
		"full":  {FullJitter(), 0},
		"equal": {EqualJitter(), longest / 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Exponential(base, longest), test.option, Rand(rand.NewPCG(1, 2)))
			const tenths, samples = 10, 100_000
			var histogram [tenths]int
			c := &call{}
			for range 10 { // let exponential delays reach the cap
				r.current().delay(c, &policy.Attempt{})
			}
			for range samples {
				delay, ok := r.current().delay(c, &policy.Attempt{})
				if !ok || delay < test.low || delay > longest {
					t.Fatalf("delay %v", delay)
				}
				histogram[min(tenths-1, int(float64(delay-test.low)/float64(longest-test.low)*tenths))]++
			}
			for i, n := range histogram { // standard deviation 95
				require.InDelta(t, samples/tenths, n, 500, "even within the bounds, no heap at the cap: tenth %d of %v", i, histogram)
			}
		})
	}
}

// AWS: sleep = min(cap, random_between(base, sleep × 3)). What is drawn above the cap gathers at the cap.
func TestFault264_DecorrelatedJitterIsCappedAfterItWasDrawn(t *testing.T) {
	const initial, longest = 100 * time.Second, 900 * time.Second
	for name, test := range map[string]struct {
		previous time.Duration
		atTheCap float64 // the share of delays
	}{
		"first":         {0, 0},
		"three times":   {200 * time.Second, 0},
		"a third":       {300 * time.Second, 0},
		"twice a third": {600 * time.Second, 900.0 / 1700},
		"the cap":       {900 * time.Second, 1800.0 / 2600},
		"above the cap": {math.MaxInt64, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Exponential(initial, longest), DecorrelatedJitter(), Rand(rand.NewPCG(1, 2)))
			const samples = 20_000
			drawn := saturate.Scale(max(initial, test.previous), 3)
			least, most, atTheCap := time.Duration(math.MaxInt64), time.Duration(0), 0
			for range samples {
				delay, ok := r.current().delay(&call{previous: test.previous}, &policy.Attempt{})
				require.True(t, ok)
				least, most = min(least, delay), max(most, delay)
				if delay == longest {
					atTheCap++
				}
			}
			require.GreaterOrEqual(t, least, initial)
			require.LessOrEqual(t, most, min(drawn, longest))
			require.Greater(t, most, min(drawn, longest)-time.Second)
			require.InDelta(t, test.atTheCap, float64(atTheCap)/samples, 0.015)
		})
	}
}

func TestFault265_DelaysReachWhatWasGiven(t *testing.T) {
	for _, factor := range []float64{1.0000001, 1.5, 2, 3, 1e300} {
		r := New(Exponential(24*time.Hour, math.MaxInt64), Multiplier(factor), NoJitter(), Attempts(10_000))
		c, previous := &call{}, time.Duration(0)
		for range 10_000 {
			delay, ok := r.current().delay(c, &policy.Attempt{})
			require.True(t, ok)
			require.GreaterOrEqual(t, delay, previous)
			previous = delay
		}
		if factor >= 1.5 {
			require.Equal(t, time.Duration(math.MaxInt64), previous)
		}
	}
	r := New(Exponential(math.MaxInt64, math.MaxInt64), NoJitter())
	require.Equal(t, []time.Duration{math.MaxInt64, math.MaxInt64}, delaysOf(r, 2))
}

func TestProportionalJitter(t *testing.T) {
	r := New(Constant(time.Second), ProportionalJitter(0.2), Rand(rand.NewPCG(1, 2)))
	const samples, fifths = 50_000, 5
	var histogram [fifths]int
	for range samples {
		delay, ok := r.current().delay(&call{}, &policy.Attempt{})
		require.True(t, ok)
		require.GreaterOrEqual(t, delay, 800*time.Millisecond)
		require.LessOrEqual(t, delay, 1200*time.Millisecond)
		histogram[min(fifths-1, int((delay-800*time.Millisecond)/(80*time.Millisecond)))]++
	}
	for _, n := range histogram { // standard deviation 90
		require.InDelta(t, samples/fifths, n, 500)
	}
	for _, delay := range delaysOf(New(Constant(math.MaxInt64), ProportionalJitter(1)), 100) {
		require.GreaterOrEqual(t, delay, time.Duration(0))
	}
}

func TestDelayByFunction(t *testing.T) {
	f := func(ended policy.Attempt) time.Duration {
		if ended.Outcome.Err == nil {
			return -time.Second
		}
		return time.Duration(ended.Number) * 4 * time.Second
	}
	delay := func(r *Retrier, number int, err error) time.Duration {
		ended := policy.Attempt{Number: number, Outcome: policy.Outcome{Kind: policy.Returned, Err: err}}
		delay, ok := r.current().delay(&call{}, &ended)
		require.True(t, ok)
		return delay
	}
	r := New(Delay(f), NoJitter())
	require.Equal(t, 4*time.Second, delay(r, 1, ErrBudget))
	require.Equal(t, 8*time.Second, delay(r, 2, ErrBudget))
	require.Equal(t, 10*time.Second, delay(r, 3, ErrBudget), "capped")
	require.Zero(t, delay(r, 1, nil), "never negative")
	r = New(Delay(f), Exponential(1, time.Minute), NoJitter())
	require.Equal(t, time.Minute, delay(r, 1000, ErrBudget), "the cap of Exponential")
	r = New(Delay(f), EqualJitter())
	for range 100 {
		d := delay(r, 1, ErrBudget)
		require.GreaterOrEqual(t, d, 2*time.Second)
		require.LessOrEqual(t, d, 4*time.Second)
	}
}

func TestFault106_TheSourcesJitterIsClamped(t *testing.T) {
	// Our own construction refuses the factor; a foreign source can still answer with anything.
	answers := []time.Duration{-1e9, -2, math.MinInt64, 0, 5}
	r := New(NoJitter(), BackOff(func() backoff.BackOff { return &listed{answers: answers} }))
	require.Equal(t, []time.Duration{0, 0, 0, 0, 5}, delaysOf(r, 5))
}

type listed struct {
	answers []time.Duration
	next    int
}

func (l *listed) Reset() { l.next = 0 }
func (l *listed) NextBackOff() time.Duration {
	l.next++
	return l.answers[l.next-1]
}

func TestRandIsReproducible(t *testing.T) {
	a := New(Rand(rand.NewPCG(1, 2)))
	b := New(Rand(rand.NewPCG(1, 2)))
	c := New(Rand(rand.NewPCG(3, 4)))
	first := delaysOf(a, 20)
	require.Equal(t, first, delaysOf(b, 20))
	require.NotEqual(t, first, delaysOf(c, 20))
}

func FuzzFault103_DelaysStayWithinBounds(f *testing.F) {
	f.Add(uint16(2000), int64(1), int64(math.MaxInt64), 1e30)
	f.Add(uint16(2000), int64(math.MaxInt64), int64(math.MaxInt64), 1.0)
	f.Add(uint16(1025), int64(time.Second), int64(time.Hour), 2.0)
	f.Add(uint16(64), int64(math.MaxInt64/2+1), int64(math.MaxInt64), 2.0)
	f.Add(uint16(64), int64(1), int64(3), 1.0000001)
	f.Add(uint16(2000), int64(time.Hour), int64(time.Hour), math.MaxFloat64)
	f.Fuzz(func(t *testing.T, attempts uint16, initial, longest int64, factor float64) {
		opts := []Option{Exponential(time.Duration(initial), time.Duration(longest)), Multiplier(factor)}
		if Validate(opts...) != nil {
			t.Skip()
		}
		n := int(attempts%2000) + 1
		previous := time.Duration(0)
		for i, delay := range delaysOf(New(append(opts, NoJitter())...), n) {
			if delay <= 0 || delay > time.Duration(longest) {
				t.Fatalf("delay %d is %d", i+1, delay)
			}
			if delay < previous-previous>>52 { // the source calculates in float64, which rounds a century to 256 ns
				t.Fatalf("delay %d is %d, after %d", i+1, delay, previous)
			}
			previous = delay
		}
		for _, jitter := range []Option{FullJitter(), EqualJitter(), DecorrelatedJitter()} {
			for i, delay := range delaysOf(New(append(opts, jitter)...), n) {
				if delay < 0 || delay > time.Duration(longest) {
					t.Fatalf("delay %d with jitter is %d", i+1, delay)
				}
			}
		}
	})
}

func TestDecorrelatedJitterIsExactWhereTheCapIsNoMultipleOfThree(t *testing.T) {
	r := New(Exponential(1, 5), DecorrelatedJitter(), Rand(rand.NewPCG(1, 2)))
	for range 200 {
		delay, ok := r.current().delay(&call{}, &policy.Attempt{})
		require.True(t, ok)
		require.LessOrEqual(t, delay, time.Duration(3), "three times the initial one")
	}
}

// A source of randomness that stays keeps its guard: calls that began before a Reconfigure use it too.
func TestReconfigureKeepsTheGuardOfRand(t *testing.T) {
	r := New(Rand(rand.NewPCG(1, 2)))
	guarded := r.current().random
	require.NoError(t, r.Reconfigure(Attempts(5)))
	require.Same(t, guarded, r.current().random)
	require.True(t, r.current().given.Given("Rand"))
}
