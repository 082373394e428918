package breaker

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Delays is a source of open times. Every backoff.BackOff of github.com/cenkalti/backoff is one.
type Delays = interface{ NextBackOff() time.Duration }

// maxGrowth bounds how often a source is asked for one open time.
const maxGrowth = 100

// openTime says for how long the breaker opens. Parts of it are functions of users, so it is asked before any lock is
// taken.
type openTime struct {
	base   time.Duration
	factor float64 // of growth; 1 for none
	limit  time.Duration
	source func() Delays // instead of base and factor; nil for none
	jitter float64
	hint   time.Duration  // the longest extension that an error may ask for; 0: errors are not asked
	random func() float64 // in [0, 1)
}

// of returns the time of the nth opening in a row, from 1, which cause brings about.
func (o *openTime) of(nth int, cause error) time.Duration {
	d := o.grown(nth)
	if o.jitter > 0 {
		d = after(d, scale(d, o.jitter*o.random()))
	}
	if o.hint > 0 && cause != nil {
		if wait, ok := policy.RetryAfter(cause); ok {
			d = max(d, min(wait, o.hint))
		}
	}
	return d
}

// grown returns the time before jitter.
func (o *openTime) grown(nth int) time.Duration {
	if o.source == nil {
		return min(o.limit, scale(o.base, math.Pow(o.factor, float64(nth-1))))
	}
	// Asking a fresh source as often as needed, instead of keeping one, leaves nothing that callers could race for.
	d, source := o.base, o.source()
	for range min(nth, maxGrowth) {
		next := source.NextBackOff()
		if next <= 0 { // such as backoff.Stop: no further growth
			break
		}
		d = next
	}
	return d
}

// scale returns d times factor, or the end of time.
func scale(d time.Duration, factor float64) time.Duration {
	if scaled := float64(d) * factor; scaled < math.MaxInt64 {
		return time.Duration(scaled)
	}
	return math.MaxInt64
}
