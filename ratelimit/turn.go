package ratelimit

import (
	"math"
	"time"
)

// horizon, 146 years, is how far ahead a token can be: anything later counts as never.
const horizon = time.Duration(math.MaxInt64 / 2)

// turn returns the first moment, from now on, at which n tokens can be taken: exactly then, and not a nanosecond before.
// Behind attempts that wait for owed tokens it is accurate to a nanosecond for each of them. If that is never, it returns why.
func (b *bucket) turn(owed, n int) (at time.Duration, never error) {
	missing := float64(owed) + float64(n) - b.level()
	wait := b.tokens.wait(missing)
	switch {
	case n < 0:
		return 0, errNegative
	case b.unlimited():
		return b.now, nil
	case n > b.tokens.burst:
		return 0, errTooDear
	case b.tokens.enough(missing):
		return b.now, nil
	case !(wait < float64(horizon-b.now)): // +Inf at a rate of 0
		return 0, ErrExhausted
	case owed > 0:
		return b.now + time.Duration(math.Ceil(wait-b.tokens.rounding)), nil
	}
	return b.first(n, b.now+time.Duration(wait)), nil
}

// first returns the first moment after now at which n tokens are there. It is about guess, which is wrong by what rounding
// did to the quotient and to the level: so it is looked for in steps that grow, until it lies in between, and then by halving.
func (b *bucket) first(n int, guess time.Duration) time.Duration {
	there := func(at time.Duration) bool { return b.tokens.enough(float64(n) - b.tokens.levelAt(at)) }
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
