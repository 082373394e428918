package ratelimit

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/go-resilience/resilience/internal/peaks"
	"github.com/go-resilience/resilience/internal/stopwatch"
)

// bucket is the tokens and the time, guarded by the limiter's mutex.
//
// Invariant: the level is from 0 to the burst. Nothing is taken before it is there, so there are no debts.
//
// A bucket begins as the zero value; fill sets its rate and burst, and pours the tokens in.
type bucket struct {
	now    time.Duration    // the time, see moveTo
	clock  stopwatch.Steady // may be read without the mutex
	tokens tokens
	peaks  peaks.Peaks // how full the bucket was since each take: what a token that comes back is worth
}

// fill makes b, which must be new, a full bucket.
func (b *bucket) fill(perSecond float64, burst int) {
	b.clock = stopwatch.StartSteady()
	b.set(perSecond, burst)
	b.add(float64(burst))
}

// set changes the rate and the burst, as of now. The tokens that are there stay, up to the burst.
func (b *bucket) set(perSecond float64, burst int) {
	// Before the burst changes: with a larger one it would look as if the bucket had never been as full as it was.
	b.peaks.See(float64(b.tokens.burst) - b.level())
	b.tokens.set(b.now, perSecond, burst)
}

func (b *bucket) unlimited() bool { return b.tokens.limit == rate.Inf }

// moveTo moves the time on to a moment that is not before now. What the other methods say and do is as of then.
func (b *bucket) moveTo(moment time.Duration) { b.now = moment }

// level returns how many tokens there are, by rounding sometimes a little less than none.
func (b *bucket) level() float64 { return b.tokens.levelAt(b.now) }

// take takes n tokens if they are there, and returns the number of the take: 0 without a limit, where nothing need be
// taken.
func (b *bucket) take(n int) (number uint64, ok bool) {
	if b.unlimited() {
		return 0, n >= 0
	}
	level, ok := b.tokens.take(b.now, n)
	if !ok {
		return 0, false
	}
	b.peaks.See(float64(b.tokens.burst) - level)
	return b.peaks.Take(float64(n)), true
}

// giveBack returns the n tokens of the take with that number, or as many as would be there now had they never been taken.
func (b *bucket) giveBack(number uint64, n int) { b.add(b.peaks.GiveBack(number, float64(n))) }

// add adds n tokens; what is above the burst overflows.
func (b *bucket) add(n float64) { b.tokens.add(b.now, n) }
