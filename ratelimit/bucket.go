package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience/internal/peaks"
	"github.com/go-resilience/resilience/internal/stopwatch"
)

// little is what may be missing, of a token, of those that go back; see [peaks.Peaks].
const little = 0.01

// bucket is the tokens and the time, guarded by the limiter's mutex. The tokens are those of a [rate.Limiter].
//
// Invariant: the level is from 0 to the burst. Nothing is taken before it is there, so there are no debts.
//
// The rate.Limiter alone does not keep it. It lends what comes in within a nanosecond, so it hands out a token a nanosecond
// early. It is asked for its level, enough decides, and only then are tokens taken from it. For example, with 100 per second
// and a burst of 5, a token takes 10 ms. After five takes at 0, the level is
//
//	0.9999999 after 10 ms − 1 ns: 1e-7 of a token is missing, which takes 1 ns. There is no token.
//	1 after 10 ms, or by rounding 0.9999999999999999, of which 1e-16 is missing, or 1e-9 ns: below 0.001 ns. There is one.
//
// With two attempts in the queue before it, an attempt gets its token after 30 ms. TestBucketByExample shows these numbers.
//
// A bucket begins as the zero value; fill sets its rate and burst, and pours the tokens in.
type bucket struct {
	now      time.Duration    // the time, as of the last advance
	clock    stopwatch.Steady // may be read without the mutex
	tokens   rate.Limiter     // a value, so that a limiter is one piece of memory
	limit    rate.Limit       // the rate
	burst    int
	rounding float64     // nanoseconds of refill that may be missing by rounding alone
	peaks    peaks.Peaks // how full the bucket was since each take: what a token that comes back is worth
}

// fill makes b, which must be new, a full bucket.
func (b *bucket) fill(perSecond float64, burst int) {
	b.clock = stopwatch.StartSteady()
	b.peaks.Little = little
	b.set(perSecond, burst)
	b.add(float64(burst))
}

// set changes the rate and the burst, as of now. The tokens that are there stay, up to the burst.
func (b *bucket) set(perSecond float64, burst int) {
	// Before the burst changes: with a larger one it would look as if the bucket had never been as full as it was.
	b.peaks.See(float64(b.burst) - b.level())
	b.limit, b.burst = rate.Limit(perSecond), burst
	if math.IsInf(perSecond, 1) {
		b.limit = rate.Inf
	}
	b.tokens.SetLimitAt(epoch.Add(b.now), b.limit)
	b.tokens.SetBurstAt(epoch.Add(b.now), burst)
	b.rounding = min(max(leastRounding, b.wait(float64(burst)*lastBits)), mostRounding)
}

func (b *bucket) unlimited() bool { return b.limit == rate.Inf }

// level returns how many tokens there are, by rounding sometimes a little less than none.
func (b *bucket) level() float64 { return b.tokens.TokensAt(epoch.Add(b.now)) }

// epoch stands for the moment 0, whatever the clock shows then: tokens need no real time, but one that never goes back.
var epoch = time.Now()

// take takes n tokens if they are there. Without a limit it takes none.
func (b *bucket) take(n int) bool {
	if b.unlimited() {
		return n >= 0
	}
	now := epoch.Add(b.now)
	level := b.tokens.TokensAt(now)
	if n < 0 || n > b.burst || !b.enough(float64(n)-level) {
		return false
	}
	b.peaks.See(float64(b.burst) - level)
	b.peaks.Take(float64(n))
	return b.tokens.AllowN(now, n) // always: it lends more than enough does
}

// giveBack returns the n tokens of a take, or as many as would be there now had they never been taken.
func (b *bucket) giveBack(number uint64, n int) { b.add(b.peaks.GiveBack(number, float64(n))) }

// add puts tokens into the bucket; what is above the burst overflows. A [rate.Limiter] has no method for that, but
// it refills at the old rate whenever it is given a new one, and lets time go back. So for 0.25 of a token it refills at 0.25
// per second from now until a second later, and then goes back to now and keeps what it has. TestAddGivesExactly watches over
// that.
func (b *bucket) add(tokens float64) {
	now := epoch.Add(b.now)
	b.tokens.SetLimitAt(now, rate.Limit(tokens))
	b.tokens.SetLimitAt(now.Add(time.Second), b.limit)
	b.tokens.SetLimitAt(now, b.limit)
}
