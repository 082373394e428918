package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience/internal/peaks"
	"github.com/go-resilience/resilience/internal/stopwatch"
)

// horizon, 146 years, is how far ahead a token can be: anything later counts as never.
const horizon = time.Duration(math.MaxInt64 / 2)

// bucket is the tokens and the time, guarded by the limiter's mutex. The tokens are those of a [rate.Limiter], which is
// never in debt here: nothing is taken before it is there. Whether it is there is decided by enough, not by the rate.Limiter,
// which lends what comes in within a nanosecond: at a round rate it would hand out a token a nanosecond early. So it is asked
// twice: for its level, and to take. It begins as the zero value; fill sets its rate and burst, and pours the tokens in.
type bucket struct {
	now      time.Duration    // the time, as of the last advance
	clock    stopwatch.Steady // may be read without the mutex
	tokens   rate.Limiter     // a value, so that a limiter is one piece of memory
	limit    rate.Limit       // the rate
	burst    int
	rounding float64     // nanoseconds of refill that may be missing by rounding alone; below 1
	peaks    peaks.Peaks // how full the bucket was since each take: what a token that comes back is worth
}

// fill makes b, which must be new, a full bucket.
func (b *bucket) fill(perSecond float64, burst int) {
	b.clock = stopwatch.StartSteady()
	b.peaks.Little = 0.01
	b.set(perSecond, burst)
	b.add(float64(burst))
}

// set changes the rate and the burst, as of now. The tokens that are there stay, up to the burst.
func (b *bucket) set(perSecond float64, burst int) {
	// Under the old burst: a larger one would hide how full the bucket was. After a smaller one the next take notes it.
	b.peaks.See(float64(b.burst) - b.level())
	b.limit, b.burst = rate.Limit(perSecond), burst
	if math.IsInf(perSecond, 1) {
		b.limit = rate.Inf
	}
	b.tokens.SetLimitAt(epoch.Add(b.now), b.limit)
	b.tokens.SetBurstAt(epoch.Add(b.now), burst)
	// A thousandth of a nanosecond, or a few of the last bits of the level if they take longer to come in.
	b.rounding = min(max(1e-3, b.wait(float64(burst)*0x1p-50)), 0.999)
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

// add puts tokens into the bucket; what is above the burst overflows. A [rate.Limiter] cannot be given parts of a token.
// So they come in as refill: for a second the rate is such that it brings them, and then the time is what it was.
// TestAddGivesExactly watches over that.
func (b *bucket) add(tokens float64) {
	now := epoch.Add(b.now)
	b.tokens.SetLimitAt(now, rate.Limit(tokens))
	b.tokens.SetLimitAt(now.Add(time.Second), b.limit)
	b.tokens.SetLimitAt(now, b.limit)
}

// wait returns how many nanoseconds it takes until missing tokens have come in, in the very steps of [rate.Limiter].
func (b *bucket) wait(missing float64) float64 {
	return missing / float64(b.limit) * float64(time.Second)
}

// enough reports whether nothing is missing but what rounding has taken away.
func (b *bucket) enough(missing float64) bool { return missing <= 0 || b.wait(missing) < b.rounding }

// turn returns the first moment, from now on, at which n tokens can be taken: exactly then, and not a nanosecond before.
// Behind attempts that wait for owed tokens it is accurate to a nanosecond for each of them. It is false for never.
func (b *bucket) turn(owed, n int) (time.Duration, bool) {
	missing := float64(owed) + float64(n) - b.level()
	wait := b.wait(missing)
	switch {
	case b.unlimited() || n <= b.burst && b.enough(missing):
		return b.now, true
	case n > b.burst || !(wait < float64(horizon-b.now)): // +Inf at a rate of 0
		return 0, false
	case owed > 0:
		return b.now + time.Duration(math.Ceil(wait-b.rounding)), true
	}
	// Quotient and level are rounded: close in on the first moment. It is earlier than their sum by what rounding may miss
	// and by what was cut off of wait and slack, less than a nanosecond each.
	slack := time.Duration(min(3+wait*0x1p-48+b.wait(float64(b.burst)*0x1p-50), float64(horizon/2)))
	early, late := max(b.now, b.now+time.Duration(wait)-slack), b.now+time.Duration(wait)+slack
	for late-early > 1 {
		if middle := early + (late-early)/2; b.enough(float64(n) - b.tokens.TokensAt(epoch.Add(middle))) {
			late = middle
		} else {
			early = middle
		}
	}
	return late, true
}
