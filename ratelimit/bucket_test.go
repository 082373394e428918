package ratelimit

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
	"pgregory.net/rapid"
)

// What giveBack relies on. It is not documented by golang.org/x/time/rate: when an upgrade breaks this test, giveBack
// needs another way.
func TestNegativeAllowAddsTokens(t *testing.T) {
	start := time.Now()
	for _, perSecond := range []rate.Limit{0, MinRate, 1, 10.0 / 13, MaxRate} {
		l := rate.NewLimiter(perSecond, 10)
		require.True(t, l.AllowN(start, 10))
		for n := 1; n <= 10; n++ {
			require.True(t, l.AllowN(start, -1))
			require.Equal(t, float64(n), l.TokensAt(start), "exactly one more")
		}
		require.True(t, l.AllowN(start, -5))
		require.Equal(t, 10.0, l.TokensAt(start), "never above the burst")
		require.False(t, l.AllowN(start, 11))
		require.True(t, l.AllowN(start, 10))
		require.Equal(t, 0.0, l.TokensAt(start), "what was above the burst is gone")
		later := start.Add(time.Second)
		require.True(t, l.AllowN(later, -3))
		require.Equal(t, min(10, 3+float64(perSecond)), l.TokensAt(later), "the refill is not lost")
	}
	unlimited := rate.NewLimiter(rate.Inf, 0)
	require.True(t, unlimited.AllowN(start, -1))
	require.True(t, unlimited.AllowN(start, 1))
}

// Fault 118. The time is an argument inside, so the clock can be made to flap here.
func TestFault118_ClockThatFlaps(t *testing.T) {
	for _, options := range [][]Option{nil, {MaxWait(time.Nanosecond)}} {
		l := New(10, 10, options...)
		admitted := 0
		for range 100 {
			for _, reading := range []time.Duration{5 * time.Second, 6 * time.Second} {
				for range 20 {
					if l.bucket.takeAt(reading) {
						admitted++
					}
				}
			}
		}
		require.Equal(t, 20, admitted, "the burst, and what comes in within one second")
	}
}

func TestFault118_ClockThatJumps(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.SampledFrom([]float64{1, 3, 10, 1000}).Draw(r, "rate")
		burst := rapid.IntRange(1, 10).Draw(r, "burst")
		l := New(perSecond, burst)
		var latest time.Duration
		var admissions []time.Duration
		for range 300 {
			reading := time.Duration(rapid.Int64Range(int64(-time.Minute), int64(10*time.Second)).Draw(r, "reading"))
			latest = max(latest, reading)
			if l.bucket.takeAt(reading) {
				admissions = append(admissions, latest)
			}
			if rapid.Bool().Draw(r, "look") {
				l.bucket.advance(reading)
				l.bucket.giveBack(0)
			}
		}
		for i := range admissions {
			for j := i; j < len(admissions); j++ {
				if n := float64(j - i + 1); n > float64(burst)+perSecond*(admissions[j]-admissions[i]).Seconds()+1e-6 {
					r.Fatalf("%v admitted within %v", n, admissions[j]-admissions[i])
				}
			}
		}
	})
}

// takeAt takes one token when the clock reads reading.
func (b *bucket) takeAt(reading time.Duration) bool {
	b.advance(reading)
	return b.take(1)
}

// What take admits without asking, and what turn foretells, is what AllowN would say.
func TestBucketAgreesWithItsLimiter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(MinRate, 1), rapid.Float64Range(1, MaxRate), rapid.SampledFrom([]float64{0, 1, 3, 10, 1.0 / 86400, MinRate, MaxRate})).Draw(r, "rate")
		burst := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, MaxBurst)).Draw(r, "burst")
		var b bucket
		b.fill(perSecond, burst)
		if !(b.rounding > 0 && b.rounding < 1) {
			r.Fatalf("rounding %v", b.rounding)
		}
		for range 30 {
			b.advance(b.now + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(r, "idle")))
			n := rapid.IntRange(1, min(burst, 200)).Draw(r, "n")
			before := b.level()
			there := b.enough(float64(n) - before)
			turn, ok := b.turn(n)
			switch taken := b.take(n); {
			case taken != there:
				r.Fatalf("take %v with %v tokens: %v", n, before, taken)
			case taken != (ok && turn == b.now):
				r.Fatalf("turn %v, %v at %v, taken %v", turn, ok, b.now, taken)
			case !taken && ok:
				// Nothing may spin: at its turn a bucket gives.
				for range 2 {
					b.advance(turn - 1)
					if b.take(n) {
						r.Fatalf("taken before the turn")
					}
				}
				b.advance(turn)
				if !b.take(n) {
					r.Fatalf("not taken at the turn")
				}
			case taken:
				if after := b.level(); math.Abs(after-(before-float64(n))) > 1e-9*float64(burst)+1e-6 {
					r.Fatalf("%v tokens after %v of %v", after, n, before)
				}
			}
		}
	})
}

// AllowN lends a nanosecond of refill. What take knows to be there must never be used to borrow it.
func TestTakeBorrowsNothing(t *testing.T) {
	const early = 100*time.Millisecond - 1
	for _, test := range []struct {
		name    string
		burst   int
		prepare func(b *bucket)
	}{
		{"one by one", 2, func(b *bucket) {
			require.True(t, b.take(1))
			require.True(t, b.take(1))
		}},
		{"at once", 2, func(b *bucket) { require.True(t, b.take(2)) }},
		{"given back", 2, func(b *bucket) {
			require.True(t, b.take(2))
			b.giveBack(1)
			require.True(t, b.take(1))
		}},
		{"after a change", 10, func(b *bucket) {
			require.True(t, b.take(1))
			b.set(10, 1)
			require.True(t, b.take(1))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bucket
			b.fill(10, test.burst)
			test.prepare(&b)
			b.advance(early)
			require.False(t, b.take(1))
			b.advance(early + 1)
			require.True(t, b.take(1))
			require.False(t, b.take(1))
		})
	}
}

// A waiter whose goroutine is late, so that its time has passed although its tokens are there, is not refused by a
// change that has nothing to do with it.
func TestChangeGrantsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1000, 1, MaxWait(time.Nanosecond))
		require.True(t, l.bucket.takeAt(l.bucket.clock.Elapsed()))
		w := l.queue.push(1, l.bucket.now)
		time.Sleep(2 * time.Millisecond)
		require.NoError(t, l.SetRate(500))
		require.True(t, w.granted)
		require.Nil(t, w.refused)
	})
}

// A full bucket has no history: what is only noted makes no difference to one whose tokens hear of everything at once.
func TestNotedIsAsGoodAsTold(t *testing.T) {
	rates := rapid.OneOf(rapid.Float64Range(MinRate, 1), rapid.Float64Range(1, MaxRate),
		rapid.SampledFrom([]float64{0, 1, 3, 10, 1.0 / 86400, MinRate, MaxRate, math.Inf(1)}))
	bursts := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, MaxBurst), rapid.Just(MaxBurst))
	noted := 0
	rapid.Check(t, func(r *rapid.T) {
		var noting, telling bucket
		perSecond, burst := rates.Draw(r, "rate"), bursts.Draw(r, "burst")
		noting.fill(perSecond, burst)
		telling.fill(perSecond, burst)
		telling.clock = noting.clock
		for range 60 {
			telling.full = math.MaxInt64 // it does not know when it is full
			interval := max(1, min(int64(noting.interval), int64(horizon/10_000)))
			idle := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 2*interval), rapid.Int64Range(interval, 100*interval)).Draw(r, "idle")
			noting.advance(noting.now + time.Duration(idle))
			telling.advance(noting.now)
			lost := float64(burst) * 0x1p-44 // what telling may have lost of its refill by rounding
			n := rapid.OneOf(rapid.IntRange(1, min(burst, 5)), rapid.IntRange(1, burst), rapid.Just(burst)).Draw(r, "n")
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			case 0:
				noting.giveBack(n)
				telling.giveBack(n)
			case 1:
				perSecond, burst = rates.Draw(r, "rate"), bursts.Draw(r, "burst")
				noting.set(perSecond, burst)
				telling.set(perSecond, burst)
				missing := math.Ceil(float64(burst) - noting.level())
				soon := (float64(noting.now)+missing*noting.interval)*(1+1e-12) + 2
				if missing == 0 && noting.full != noting.now || soon < float64(horizon) && float64(noting.full) > soon {
					r.Fatalf("with %v missing it is full only at %v", missing, noting.full)
				}
			default:
				missing := float64(n) - telling.level()
				got, want := noting.take(n), telling.take(n)
				if noting.noted > 0 {
					noted++
				}
				if got != want && (want || missing > lost) {
					r.Fatalf("take %v: %v, but %v with %v missing", n, got, want, missing)
				}
				if got != want {
					return // right both: at the edge of what can be told apart
				}
			}
			if rapid.Bool().Draw(r, "look") {
				if got, want := noting.level(), telling.level(); math.Abs(got-want) > lost {
					r.Fatalf("%v tokens, but %v", got, want)
				}
			}
		}
	})
	require.Positive(t, noted)
}

// The tokens of a bucket that is so large that rounding swallows its refill are not all there when the bucket is full.
// What was taken from it is taken all the same.
func TestNotedIsNotLostToRounding(t *testing.T) {
	var b bucket
	b.fill(0.3e9*MaxBurst*0x1p-53, MaxBurst) // 0.3 of the last bit of the level in a nanosecond
	require.True(t, b.take(1))
	for range 300 {
		b.advance(b.now + 1)
		require.True(t, b.take(1))
	}
	b.advance(b.full)
	require.Less(t, b.level(), float64(MaxBurst), "the refill was swallowed")
	require.True(t, b.take(MaxBurst))
	require.Equal(t, MaxBurst, b.noted)
	require.False(t, b.take(1))
	require.Zero(t, b.level())
}

// A rejection names the moment at which take admits, also where rounding swallows the refill.
func TestFault120_TheTurnOfAHugeCost(t *testing.T) {
	var b bucket
	b.fill(10, MaxBurst)
	for range 3 {
		b.advance(b.now + 40*time.Millisecond)
		require.True(t, b.take(1))
	}
	turn, ok := b.turn(MaxBurst)
	require.True(t, ok)
	b.advance(turn - 1)
	require.False(t, b.take(MaxBurst))
	b.advance(turn)
	require.True(t, b.take(MaxBurst))
}

// A bucket that is filled so slowly that a token takes more nanoseconds than float64 can tell apart is not full early.
func TestFault120_NotFullBeforeTheLastTokenIsThere(t *testing.T) {
	for _, perSecond := range []float64{MinRate, 1.7e-9, 3e-9, 0.9e-8} {
		var b bucket
		b.fill(perSecond, 1)
		require.True(t, b.take(1))
		require.GreaterOrEqual(t, float64(b.full), float64(time.Second)/perSecond)
		b.advance(b.full)
		require.Equal(t, 1.0, b.level())
	}
}
