package quantile

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBucketsAreSeamlessAndNarrow(t *testing.T) {
	_, end := bounds(0)
	for i := 1; i < buckets-1; i++ {
		low, high := bounds(i)
		require.Equal(t, end, low)
		require.Equal(t, i, bucket(low))
		require.Equal(t, i, bucket(high-1))
		require.LessOrEqual(t, float64(high-low), float64(low)/parts)
		end = high
	}
	require.Equal(t, time.Duration(1)<<highest, end)
	for _, d := range []time.Duration{math.MinInt64, -1, 0, 1} {
		require.Equal(t, 0, bucket(d))
	}
	require.Equal(t, buckets-1, bucket(math.MaxInt64))
	require.Less(t, unsafe.Sizeof(histogram{})*2, uintptr(7900), "the memory that the comment states")
}

func TestSamples(t *testing.T) {
	for q, n := range map[float64]int{0.5: 100, 0.9: 100, 0.95: 200, 0.99: 1000, 0.999: 10000} {
		require.Equal(t, n, Samples(q), "%v", q)
	}
}

// The estimate lies within 1/32 of a true quantile of the same observations, whatever they are.
func TestAgainstSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := rapid.Float64Range(0.5, 0.99).Draw(t, "q")
		e := New(q)
		durations := rapid.SliceOfN(rapid.Int64Range(1<<lowest, 1<<highest-1), Samples(q), 2*Samples(q)).Draw(t, "durations")
		for i, d := range durations {
			if _, known := e.Estimate(); known && i < Samples(q) {
				t.Fatalf("known after %d", i)
			}
			e.Observe(time.Duration(d))
		}
		e.renew()
		estimate, known := e.Estimate()
		if !known {
			t.Fatal("not known")
		}
		slices.Sort(durations)
		rank := q * float64(len(durations))
		low := durations[max(0, int(math.Ceil(rank))-1)]
		if diff := math.Abs(float64(estimate) - float64(low)); diff > float64(low)/parts {
			t.Fatalf("estimate %v, true %v", estimate, time.Duration(low))
		}
	})
}

func TestExponentialP95(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	e := New(0.95)
	for range 200_000 {
		e.Observe(time.Duration(random.ExpFloat64() * float64(10*time.Millisecond)))
	}
	estimate, known := e.Estimate()
	require.True(t, known)
	require.InEpsilon(t, 29.957, estimate.Seconds()*1000, 0.01)
}

func TestAChangeShowsAfterTwoPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(0.5)
		observe := func(d time.Duration, times int) {
			for range times {
				time.Sleep(100 * time.Millisecond)
				e.Observe(d)
			}
		}
		observe(10*time.Millisecond, 1000)
		estimate, _ := e.Estimate()
		require.InEpsilon(t, float64(10*time.Millisecond), float64(estimate), 1.0/parts)
		observe(time.Second, 610)
		estimate, _ = e.Estimate()
		require.InEpsilon(t, float64(time.Second), float64(estimate), 1.0/parts)
		require.Zero(t, e.previous.counts[bucket(10*time.Millisecond)], "the old regime is forgotten")
	})
}

func TestWithoutTrafficNothingIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(0.95)
		for range 200 {
			e.Observe(time.Millisecond)
		}
		time.Sleep(24 * time.Hour)
		for range 150 {
			time.Sleep(time.Minute)
			e.Observe(time.Second)
		}
		require.EqualValues(t, 200, e.previous.total)
		_, known := e.Estimate()
		require.True(t, known)
	})
}

func TestObserveAllocatesNothing(t *testing.T) {
	e := New(0.95)
	require.Zero(t, testing.AllocsPerRun(1000, func() { e.Observe(time.Millisecond) }))
}

func BenchmarkObserve(b *testing.B) {
	e := New(0.95)
	for b.Loop() {
		e.Observe(time.Millisecond)
	}
}

// Another quantile of what was seen already: known at once, if there is enough beyond it.
func TestSetQuantile(t *testing.T) {
	e := New(0.5)
	for i := range 400 {
		e.Observe(time.Duration(1+i) * time.Millisecond)
	}
	e.SetQuantile(0.9)
	estimate, known := e.Estimate()
	require.True(t, known)
	require.InEpsilon(t, 0.360, estimate.Seconds(), 0.032)
	e.SetQuantile(0.99)
	estimate, known = e.Estimate()
	require.False(t, known, "400 are too few")
	require.Zero(t, estimate)
	for range 600 {
		e.Observe(time.Millisecond)
	}
	_, known = e.Estimate()
	require.True(t, known)
}
