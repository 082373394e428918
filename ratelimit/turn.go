package ratelimit

import (
	"math"
	"time"
)

// horizon, 146 years, is how far ahead a token can be: anything later counts as never.
const horizon = time.Duration(math.MaxInt64 / 2)

// The bounds of bucket.rounding. It must be below a nanosecond, so that no token is taken a nanosecond early. Levels are sums
// of a few numbers of 53 bits: lastBits, of the burst, is more than what they can be wrong by.
const (
	leastRounding, mostRounding = 0.001, 0.999 // nanoseconds
	lastBits                    = 0x1p-50
)

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
	return b.first(n, b.now+time.Duration(wait)), true
}

// first returns the first moment after now at which n tokens are there. It is about guess, which is wrong by what rounding
// did to the quotient and to the level: so it is looked for in steps that grow, until it lies in between, and then by halving.
func (b *bucket) first(n int, guess time.Duration) time.Duration {
	there := func(at time.Duration) bool { return b.enough(float64(n) - b.tokens.TokensAt(epoch.Add(at))) }
	early, late := guess, guess
	for step := time.Duration(1); early > b.now && there(early); step *= 2 {
		early = max(b.now, early-step)
	}
	for step := time.Duration(1); !there(late); step *= 2 {
		late += step
	}
	for late-early > 1 {
		if middle := early + (late-early)/2; there(middle) {
			late = middle
		} else {
			early = middle
		}
	}
	return late
}
