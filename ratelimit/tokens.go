package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// tokens are those of a [rate.Limiter] that hands out none a nanosecond early. Time must not go back: each moment that it is
// told is at least the one before.
//
// The rate.Limiter hands out the tokens and has the last word, so that the arithmetic that users know and trust decides. The level is
// computed beside it, in its very steps, only to save a second lock for each admission.
//
// A rate.Limiter lends what comes in within a nanosecond. So take asks enough first. For example, with 100 per second and a burst
// of 5, a token takes 10 ms. After five takes at 0, the level is
//
//	0.9999999 after 10 ms − 1 ns: 1e-7 of a token is missing, which takes 1 ns. There is no token.
//	1 after 10 ms, or by rounding 0.9999999999999999, of which 1e-16 is missing, or 1e-9 ns: below 0.001 ns. There is one.
//
// TestBucketByExample shows these numbers.
//
// Invariant: levelAt is TokensAt, to the last bit. Tokens change in set, take and add only, and these note what they left, and
// when; the rate.Limiter itself computes its level from nothing but that, the rate and the burst. TestLevelIsThatOfTheLimiter
// watches over it. Were it broken, no token would come early by more than that nanosecond: AllowN has the last word.
type tokens struct {
	limiter  rate.Limiter // a value, so that a limiter is one piece of memory
	limit    rate.Limit   // the rate
	burst    int
	left     float64       // what the last change left
	changed  time.Duration // when that was
	rounding float64       // nanoseconds of refill that may be missing by rounding alone
}

// The bounds of rounding. It must be below a nanosecond, so that no token is taken a nanosecond early. Levels are sums of a few
// numbers of 53 bits: lastBits, of the burst, is more than what they can be wrong by.
const (
	leastRounding, mostRounding = 0.001, 0.999 // nanoseconds
	lastBits                    = 0x1p-50
)

// epoch stands for the moment 0, whatever the clock shows then: tokens need no real time, but one that never goes back.
var epoch = time.Now()

// set changes the rate and the burst. The tokens that are there stay, up to the burst.
func (t *tokens) set(now time.Duration, perSecond float64, burst int) {
	t.limit, t.burst = rate.Limit(perSecond), burst
	if math.IsInf(perSecond, 1) {
		t.limit = rate.Inf
	}
	t.limiter.SetLimitAt(epoch.Add(now), t.limit)
	t.limiter.SetBurstAt(epoch.Add(now), burst)
	t.rounding = min(max(leastRounding, t.wait(float64(burst)*lastBits)), mostRounding)
	t.note(now, t.limiter.TokensAt(epoch.Add(now)))
}

// note notes how many tokens a change has left.
func (t *tokens) note(now time.Duration, left float64) { t.changed, t.left = now, left }

// levelAt returns how many tokens there are, by rounding sometimes a little less than none.
func (t *tokens) levelAt(now time.Duration) float64 {
	refill := float64((now - t.changed).Seconds() * float64(t.limit)) // rounded before it is added, as in rate.Limiter
	return min(t.left+refill, float64(t.burst))
}

// wait returns how many nanoseconds it takes until missing tokens have come in, in the very steps of [rate.Limiter].
func (t *tokens) wait(missing float64) float64 {
	return missing / float64(t.limit) * float64(time.Second)
}

// enough reports whether nothing is missing but what rounding has taken away.
func (t *tokens) enough(missing float64) bool { return missing <= 0 || t.wait(missing) < t.rounding }

// take takes n tokens if they are there. It returns how many there were.
func (t *tokens) take(now time.Duration, n int) (level float64, ok bool) {
	level = t.levelAt(now)
	if n < 0 || !t.enough(float64(n)-level) || !t.limiter.AllowN(epoch.Add(now), n) {
		return level, false
	}
	t.note(now, level-float64(n))
	return level, true
}

// add adds n tokens; what is above the burst overflows. A [rate.Limiter] has no method for that, but it refills at the rate that
// it was told until it is told another one, and lets time go back. TestAddGivesExactly watches over that.
func (t *tokens) add(now time.Duration, n float64) {
	start := epoch.Add(now)
	t.limiter.SetLimitAt(start, rate.Limit(n))            // from now on n per second,
	t.limiter.SetLimitAt(start.Add(time.Second), t.limit) // for a second.
	t.limiter.SetLimitAt(start, t.limit)                  // And it is now again.
	t.note(now, t.limiter.TokensAt(start))
}
