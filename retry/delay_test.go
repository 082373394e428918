package retry

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"
)

// delaysOf returns the first n delays of a call.
func delaysOf(r *Retrier, n int) []time.Duration {
	c := &call{}
	var delays []time.Duration
	for range n {
		delay, ok := r.delay(c)
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
		"full":         {FullJitter(), 0},
		"equal":        {EqualJitter(), longest / 2},
		"decorrelated": {DecorrelatedJitter(), base},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Exponential(base, longest), test.option, Rand(rand.NewPCG(1, 2)))
			const tenths, samples = 10, 100_000
			var histogram [tenths]int
			c := &call{}
			for range 10 { // let exponential delays reach the cap
				r.delay(c)
			}
			for range samples {
				c.previous = longest // for decorrelated jitter: the widest range
				delay, ok := r.delay(c)
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

func TestDecorrelatedJitterDrawsUpToThreeTimesThePreviousDelay(t *testing.T) {
	for name, test := range map[string]struct{ previous, most time.Duration }{
		"first":              {0, 300 * time.Second},
		"three times":        {200 * time.Second, 600 * time.Second},
		"just below the cap": {299 * time.Second, 897 * time.Second},
		"just below a third": {300*time.Second - 1, 900*time.Second - 3},
		"the cap":            {300 * time.Second, 900 * time.Second},
		"above it":           {301 * time.Second, 900 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Exponential(100*time.Second, 900*time.Second), DecorrelatedJitter(), Rand(rand.NewPCG(1, 2)))
			least, most := time.Duration(math.MaxInt64), time.Duration(0)
			for range 20_000 {
				delay, ok := r.delay(&call{previous: test.previous})
				require.True(t, ok)
				least, most = min(least, delay), max(most, delay)
			}
			require.GreaterOrEqual(t, least, 100*time.Second)
			require.Less(t, least, 101*time.Second)
			require.LessOrEqual(t, most, test.most)
			require.Greater(t, most, test.most-time.Second)
		})
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
		delay, ok := r.delay(&call{})
		require.True(t, ok)
		require.LessOrEqual(t, delay, time.Duration(3), "three times the initial one")
	}
}
