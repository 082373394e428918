package ratelimit

import (
	"math"
	"testing"
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
					if l.decideFor(reading) {
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
			if l.decideFor(reading) {
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

// decideFor asks for one token when the clock reads reading, and waits for none.
func (l *Limiter) decideFor(reading time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, err := l.decide(reading, 1, time.Time{})
	if w != nil {
		l.queue.remove(w)
	}
	return w == nil && err == nil
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
	l := New(1000, 1, MaxWait(time.Nanosecond))
	require.True(t, l.decideFor(l.bucket.clock.Elapsed()))
	l.mu.Lock()
	w := l.queue.push(1, l.bucket.now)
	l.mu.Unlock()
	time.Sleep(2 * time.Millisecond)
	require.NoError(t, l.SetRate(500))
	require.True(t, w.granted)
	require.Nil(t, w.refused)
}
