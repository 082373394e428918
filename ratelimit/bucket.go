package ratelimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience/internal/stopwatch"
)

// horizon is how far ahead a token can be: what comes later, comes never.
const horizon = time.Duration(math.MaxInt64 / 2) // 146 years

// bucket is the tokens and the time. The arithmetic is that of [rate.Limiter], which is never in debt here: nothing
// is taken before it is there. The limiter's mutex guards it.
//
// A bucket that is full again has no history. So what is taken from a full bucket is only noted, and tokens hears of it
// when that matters: when more is wanted before the bucket is full again. Unless calls come faster than tokens, an
// admission thus costs 50 and not 80 ns, and touches two lines of memory less.
type bucket struct {
	now      time.Duration // the latest reading of the clock, plus shift
	full     time.Duration // by then the bucket is full again, unless more is taken
	since    time.Duration // when it was full, and noted was taken from it
	noted    int           // tokens that are yet to be taken from tokens
	interval float64       // nanoseconds until one more token has come in for sure; 0 without a limit
	burst    int
	clock    stopwatch.Stopwatch // may be read without the mutex; in the second line of memory, which that reading loads
	shift    time.Duration       // not 0 when the clock was replaced

	certain   int // so many tokens are in tokens without looking, but for rounding
	perSecond float64
	rounding  float64      // nanoseconds of refill that may be missing by rounding alone; below 1
	tokens    rate.Limiter // a value, so that a limiter is one piece of memory
}

// fill makes b, which must be new, a full bucket.
func (b *bucket) fill(perSecond float64, burst int) {
	b.clock = stopwatch.Start()
	b.tokens.SetBurstAt(b.clock.Time(0), burst)
	b.giveBack(burst) // while the rate is still 0: at an infinite one there is nothing to give
	b.set(perSecond, burst)
}

// limit is perSecond as [rate.Limiter] wants it: its infinity is another number than the language's.
func limit(perSecond float64) rate.Limit {
	if math.IsInf(perSecond, 1) {
		return rate.Inf
	}
	return rate.Limit(perSecond)
}

// advance sets the time for everything that follows. A reading that is earlier than one before counts as that one:
// rate.Limiter would mint tokens from time that goes back.
func (b *bucket) advance(reading time.Duration) {
	if b.now-(reading+b.shift) > replaced {
		reading = b.clock.Elapsed() // it may just be very old: a process can be stopped between the reading and the lock
	}
	if b.now-(reading+b.shift) > replaced {
		b.shift = b.now - reading // go on from here, by the new clock
	}
	b.now = max(b.now, reading+b.shift)
}

// replaced is how far back a reading must lie to show that the clock is another one, as in a testing/synctest bubble
// around a limiter that was made outside of it. Then it is better to go on from the new time than to freeze.
const replaced = 24 * time.Hour

// instant returns what the clock shows, or will show, at a moment.
func (b *bucket) instant(moment time.Duration) time.Time { return b.clock.Time(moment - b.shift) }

// take takes n tokens if they are there.
//
// It does not leave the decision to AllowN, which lends a nanosecond of refill, so that with a round rate a token
// comes a nanosecond early. What take admits, AllowN admits too, but for what rounding has taken from tokens.
func (b *bucket) take(n int) bool {
	if n < 0 {
		return false
	}
	if b.now >= b.full && n <= b.burst {
		b.since, b.noted = b.now, n // what was noted before has come in again
		b.refill(n)
		return true
	}
	tokens := b.told()
	if n > b.certain {
		level := b.level()
		if !b.enough(float64(n) - level) {
			return false
		}
		b.certain = max(n, int(min(level, MaxBurst)))
	}
	if !tokens.AllowN(b.clock.Time(b.now), n) { // n is above the burst, or rounding has taken from tokens
		b.certain = 0
		return false
	}
	b.certain -= n
	b.refill(n)
	return true
}

// taken returns how many tokens an attempt has taken that has just been admitted at a cost of n. Without a limit it is none, and
// none must come back.
func (b *bucket) taken(n int) int {
	if b.interval == 0 {
		return 0
	}
	return n
}

// refill sets when the bucket, from which n tokens are taken now, is full again.
func (b *bucket) refill(n int) {
	from := max(b.now, b.full)
	if wait := float64(n) * b.interval; wait < float64(horizon-from) {
		b.full = from + time.Duration(wait) + 1
	} else {
		b.full = math.MaxInt64
	}
}

// told returns tokens when it knows of everything that was taken.
func (b *bucket) told() *rate.Limiter {
	if b.noted > 0 {
		at, n := b.clock.Time(b.since), b.noted
		if !b.tokens.AllowN(at, n) { // by its own rounding it is not quite full
			b.tokens.AllowN(at, -b.burst)
			b.tokens.AllowN(at, n)
		}
		b.certain, b.noted = b.burst-n, 0
	}
	return &b.tokens
}

// giveBack puts n tokens back; what is above the burst overflows. rate.Limiter's own way, to cancel a reservation, is
// of no use: it does nothing once the time of the reservation has passed, and loses tokens when there is a later one.
// A negative n adds exactly -n; TestNegativeAllowAddsTokens watches over that.
func (b *bucket) giveBack(n int) {
	b.told().AllowN(b.clock.Time(b.now), -n)
}

// level returns how many tokens there are.
func (b *bucket) level() float64 { return b.told().TokensAt(b.clock.Time(b.now)) }

// wait returns how many nanoseconds it takes until missing tokens have come in, in the very steps of [rate.Limiter].
func (b *bucket) wait(missing float64) float64 {
	return missing / b.perSecond * float64(time.Second)
}

// enough reports whether nothing is missing but what rounding has taken away.
func (b *bucket) enough(missing float64) bool {
	return missing <= 0 || b.wait(missing) < b.rounding
}

// turn returns the first moment, from now on, at which n tokens can be taken: exactly then, and not a nanosecond
// before. It reports false when that is never.
func (b *bucket) turn(n int) (time.Duration, bool) {
	if n > b.burst {
		return 0, false
	}
	tokens := b.told()
	there := func(moment time.Duration) bool {
		return moment >= b.full || b.enough(float64(n)-tokens.TokensAt(b.clock.Time(moment)))
	}
	if there(b.now) {
		return b.now, true
	}
	wait := b.wait(float64(n) - b.level())
	if !(wait < float64(horizon-b.now)) { // +Inf at a rate of 0
		return 0, false
	}
	// The quotient is rounded: close in on the first moment from both sides of it.
	early, late := b.now, b.now+time.Duration(wait)
	for step := time.Duration(1); !there(late); step *= 2 {
		early, late = late, late+step
	}
	for step := time.Duration(1); late-step > early; step *= 2 {
		if !there(late - step) {
			early = late - step
			break
		}
		late -= step
	}
	for late-early > 1 {
		if middle := early + (late-early)/2; there(middle) {
			late = middle
		} else {
			early = middle
		}
	}
	return late, true
}

// turnBehind returns when n tokens can be taken by somebody who stands behind others who wait for owed tokens. It is
// accurate to a nanosecond for each of them, and to what rounding has taken from the level.
func (b *bucket) turnBehind(owed, n int) (time.Duration, bool) {
	if owed == 0 {
		return b.turn(n)
	}
	if n > b.burst {
		return 0, false
	}
	missing := float64(owed) + float64(n) - b.level()
	if b.enough(missing) { // at a rate of 0 too, where nothing divided by nothing is no number
		return b.now, true
	}
	wait := b.wait(missing)
	if !(wait < float64(horizon-b.now)) {
		return 0, false
	}
	return b.now + time.Duration(math.Ceil(wait-b.rounding)), true
}

// set changes the rate and the burst, as of now.
func (b *bucket) set(perSecond float64, burst int) {
	tokens := b.told()
	tokens.SetLimitAt(b.clock.Time(b.now), limit(perSecond))
	tokens.SetBurstAt(b.clock.Time(b.now), burst)
	b.perSecond, b.burst, b.certain = perSecond, burst, 0
	// A thousandth of a nanosecond, or a few of the last bits of the level if the refill is so slow that they take longer.
	bits := b.wait(float64(burst) * 0x1p-50)
	b.rounding = min(max(1e-3, bits), 0.999)
	b.interval = b.wait(1 + 0x1p-40) // a little more than one, for what is lost by rounding
	b.full = b.now
	if missing := float64(burst) - b.level(); missing > 0 {
		b.refill(int(math.Ceil(missing)))
	}
}
