package ratelimit

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What add relies on: golang.org/x/time/rate refills at the old rate until the moment of a change, and a moment that
// lies before the last one brings nothing. When an upgrade breaks this test, add needs another way.
func TestAddGivesExactly(t *testing.T) {
	for _, perSecond := range []float64{0, MinRate, 1, 10.0 / 13, MaxRate} {
		var b bucket
		b.fill(perSecond, 10)
		require.True(t, b.takes(10))
		for n := 1; n <= 10; n++ {
			b.add(1)
			require.Equal(t, float64(n), b.level(), "exactly one more")
		}
		b.add(5)
		require.Equal(t, 10.0, b.level(), "never above the burst")
		require.False(t, b.takes(11))
		require.True(t, b.takes(10))
		require.Equal(t, 0.0, b.level(), "what was above the burst is gone")
		b.now += time.Second
		b.add(0.25)
		require.Equal(t, min(10, 0.25+perSecond), b.level(), "the refill is not lost")
		b.add(3)
		require.Equal(t, min(10, min(10, 0.25+perSecond)+3), b.level())
	}
	var huge bucket
	huge.fill(0, MaxBurst)
	require.True(t, huge.takes(MaxBurst))
	huge.add(MaxBurst)
	require.Equal(t, float64(MaxBurst), huge.level())
	var unlimited bucket
	unlimited.fill(math.Inf(1), 0)
	unlimited.add(1)
	require.True(t, unlimited.takes(1))
}

// The invariant of tokens.
func TestLevelIsThatOfTheLimiter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rates := rapid.OneOf(rapid.Float64Range(MinRate, 1), rapid.Float64Range(1, MaxRate), rapid.SampledFrom([]float64{0, 3, math.Inf(1)}))
		bursts := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, MaxBurst))
		pauses := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1000), rapid.Int64Range(0, int64(time.Hour)))
		var b bucket
		b.fill(rates.Draw(r, "rate"), bursts.Draw(r, "burst"))
		for range 50 {
			switch rapid.IntRange(0, 5).Draw(r, "what") {
			case 0:
				b.set(rates.Draw(r, "rate"), bursts.Draw(r, "burst"))
			case 1:
				b.add(rapid.Float64Range(0, 3).Draw(r, "n"))
			default:
				b.takes(rapid.IntRange(0, min(2*b.tokens.burst, 10)).Draw(r, "n"))
			}
			for range 2 {
				if is, want := b.level(), b.tokens.limiter.TokensAt(epoch.Add(b.now)); is != want {
					r.Fatalf("%v tokens at %v, and %v in the rate.Limiter", is, b.now, want)
				}
				b.now += time.Duration(pauses.Draw(r, "pause"))
			}
		}
	})
}

// The numbers in the comment of tokens.
func TestBucketByExample(t *testing.T) {
	var b bucket
	b.fill(100, 5)
	require.True(t, b.takes(5))
	require.False(t, b.takes(1))
	turn, never := b.turn(0, 1)
	require.NoError(t, never)
	require.Equal(t, 10*time.Millisecond, turn)
	turn, never = b.turn(2, 1)
	require.NoError(t, never)
	require.Equal(t, 30*time.Millisecond, turn)

	b.now = time.Millisecond
	b.add(0) // the level becomes a sum of two numbers
	b.now = 10*time.Millisecond - 1
	require.InDelta(t, 0.9999999, b.level(), 1e-12)
	require.InDelta(t, 1, b.tokens.wait(1-b.level()), 1e-6, "nanoseconds")
	require.False(t, b.takes(1))
	b.now = 10 * time.Millisecond
	require.Equal(t, 0.9999999999999999, b.level())
	require.InDelta(t, 1e-9, b.tokens.wait(1-b.level()), 2e-10)
	require.Equal(t, 0.001, b.tokens.rounding)
	require.True(t, b.takes(1))
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
				l.bucket.add(0)
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

// advance moves time on to that of a reading.
func (b *bucket) advance(reading time.Duration) { b.now = b.clock.Moment(b.now, reading) }

// takeAt takes one token when the clock reads reading.
func (b *bucket) takeAt(reading time.Duration) bool {
	b.advance(reading)
	return b.takes(1)
}

// takes reports whether n tokens were there, and takes them.
func (b *bucket) takes(n int) bool {
	_, ok := b.take(n)
	return ok
}

// What take admits without asking, and what turn foretells, is what AllowN would say.
func TestBucketAgreesWithItsLimiter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		perSecond := rapid.OneOf(rapid.Float64Range(MinRate, 1), rapid.Float64Range(1, MaxRate), rapid.SampledFrom([]float64{0, 1, 3, 10, 1.0 / 86400, MinRate, MaxRate})).Draw(r, "rate")
		burst := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, MaxBurst)).Draw(r, "burst")
		var b bucket
		b.fill(perSecond, burst)
		if !(b.tokens.rounding > 0 && b.tokens.rounding < 1) {
			r.Fatalf("rounding %v", b.tokens.rounding)
		}
		for range 30 {
			b.advance(b.now + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(r, "idle")))
			n := rapid.IntRange(1, min(burst, 200)).Draw(r, "n")
			before := b.level()
			there := b.tokens.enough(float64(n) - before)
			turn, never := b.turn(0, n)
			switch taken := b.takes(n); {
			case taken != there:
				r.Fatalf("take %v with %v tokens: %v", n, before, taken)
			case taken != (never == nil && turn == b.now):
				r.Fatalf("turn %v, %v at %v, taken %v", turn, never, b.now, taken)
			case !taken && never == nil:
				// Nothing may spin: at its turn a bucket gives.
				for range 2 {
					b.advance(turn - 1)
					if b.takes(n) {
						r.Fatalf("taken before the turn")
					}
				}
				b.advance(turn)
				if !b.takes(n) {
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
			require.True(t, b.takes(1))
			require.True(t, b.takes(1))
		}},
		{"at once", 2, func(b *bucket) { require.True(t, b.takes(2)) }},
		{"given back", 2, func(b *bucket) {
			require.True(t, b.takes(2))
			b.add(1)
			require.True(t, b.takes(1))
		}},
		{"after a change", 10, func(b *bucket) {
			require.True(t, b.takes(1))
			b.set(10, 1)
			require.True(t, b.takes(1))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bucket
			b.fill(10, test.burst)
			test.prepare(&b)
			b.advance(early)
			require.False(t, b.takes(1))
			b.advance(early + 1)
			require.True(t, b.takes(1))
			require.False(t, b.takes(1))
		})
	}
}

// A waiter whose goroutine is late, so that its time has passed although its tokens are there, is not refused by a
// change that has nothing to do with it.
func TestChangeGrantsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1000, 1, MaxWait(time.Nanosecond))
		require.True(t, l.bucket.takeAt(l.bucket.clock.Reading()))
		w := &waiter{cost: 1, came: l.bucket.now, deadline: math.MaxInt64, news: make(chan struct{}, 1)}
		l.queue.push(w, &l.queue.waiters)
		time.Sleep(2 * time.Millisecond)
		require.NoError(t, l.Reconfigure(500, 1, MaxWait(time.Nanosecond)))
		require.NotNil(t, w.end)
		require.NoError(t, w.end.err)
	})
}

// A rejection names the moment at which take admits, also where rounding swallows the refill.
func TestFault120_TheTurnOfAHugeCost(t *testing.T) {
	var b bucket
	b.fill(10, MaxBurst)
	for range 3 {
		b.advance(b.now + 40*time.Millisecond)
		require.True(t, b.takes(1))
	}
	turn, never := b.turn(0, MaxBurst)
	require.NoError(t, never)
	b.advance(turn - 1)
	require.False(t, b.takes(MaxBurst))
	b.advance(turn)
	require.True(t, b.takes(MaxBurst))
}

// A bucket that is filled so slowly that a token takes more nanoseconds than float64 can tell apart is not full early.
func TestFault120_NotFullBeforeTheLastTokenIsThere(t *testing.T) {
	for _, perSecond := range []float64{MinRate, 1.7e-9, 3e-9, 0.9e-8} {
		var b bucket
		b.fill(perSecond, 1)
		require.True(t, b.takes(1))
		full, never := b.turn(0, 1)
		require.NoError(t, never)
		require.InEpsilon(t, float64(time.Second)/perSecond, float64(full), 1e-15)
		b.advance(full)
		require.InDelta(t, 1.0, b.level(), 1e-15)
		require.True(t, b.takes(1))
	}
}

// A clock that goes back by a day at most flaps, and the limiter waits for it to catch up; beyond that it is another
// clock, by which the limiter goes on.
func TestFault118_HowFarBackTellsTheClocksApart(t *testing.T) {
	for back, another := range map[time.Duration]bool{24 * time.Hour: false, 24*time.Hour + 1: true} {
		l := Every(time.Hour, 1)
		at := 48 * time.Hour
		require.True(t, l.bucket.takeAt(at))
		require.False(t, l.bucket.takeAt(at-back))
		require.Equal(t, another, l.bucket.takeAt(at-back+time.Hour), "%v back, and an hour later by that clock", back)
	}
}

// What comes beyond the horizon comes never, also when the limiter has been there for long: no moment overflows.
func TestFault127_TheHorizonDoesNotMove(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for left, ever := range map[time.Duration]bool{30 * year: false, 33 * year: true} { // a token takes 31.7 years
		l := New(MinRate, 1)
		l.bucket.advance(horizon - left)
		require.True(t, l.bucket.takes(1))
		_, never := l.bucket.turn(0, 1)
		require.Equal(t, ever, never == nil, "%d years are left", left/year)
		_, never = l.bucket.turn(1, 1)
		require.ErrorIs(t, never, ErrExhausted, "two tokens")
	}
	l := New(MinRate, 1)
	l.bucket.advance(horizon - 65*year)
	require.True(t, l.bucket.takes(1))
	_, never := l.bucket.turn(1, 1)
	require.NoError(t, never)

	l = New(MinRate, 10)
	l.bucket.advance(horizon - 46*year)
	require.True(t, l.bucket.takes(7))
	require.False(t, l.bucket.takes(4), "full in 222 years, which is beyond the largest moment")
}

// The cost of an attempt may be so much above the burst that it cannot be told from it in float64. It is refused, and
// nothing is borrowed afterwards.
func TestFault128_ACostJustAboveTheLargestBurst(t *testing.T) {
	for _, known := range []bool{true, false} { // whether it is known that the bucket is full
		l := New(10, MaxBurst)
		if !known {
			require.True(t, l.bucket.takes(1))
			l.bucket.add(1)
		}
		require.False(t, l.bucket.takes(MaxBurst+1))
		require.True(t, l.bucket.takes(MaxBurst))
		l.bucket.advance(100*time.Millisecond - 1)
		require.False(t, l.bucket.takes(1))
		l.bucket.advance(100 * time.Millisecond)
		require.True(t, l.bucket.takes(1))
	}
}

// A process can be stopped between the reading of the clock and the lock, for as long as anybody likes. That is no other
// clock, and mints nothing.
func TestFault118_AReadingThatIsVeryOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 10)
		old := l.bucket.clock.Reading()
		time.Sleep(48 * time.Hour)
		admitted := 0
		for i := range 50 {
			reading := l.bucket.clock.Reading()
			if i%5 == 2 {
				reading = old
			}
			if l.bucket.takeAt(reading) {
				admitted++
			}
		}
		require.Equal(t, 10, admitted)
		require.True(t, l.bucket.clock.Time(l.bucket.now).Equal(time.Now()), "by the same clock")
	})
}
