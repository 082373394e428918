package breaker

import (
	"math"
	"time"

	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// openTime says for how long the breaker opens. It calls errors and sources of chance, which are code of the user, so it is
// used before any lock is taken.
type openTime struct {
	base            time.Duration
	growth          float64 // the factor; 1 for none
	growthLimit     time.Duration
	jitter          float64        // the largest share that is added
	retryAfterLimit time.Duration  // the longest extension that an error may ask for; 0: errors are not asked
	random          func() float64 // in [0, 1)
}

// of returns how long the nth opening in a row lasts, from 1. cause is the error that brings it about.
func (o *openTime) of(nth int, cause error) time.Duration {
	d := min(o.growthLimit, saturate.Scale(o.base, math.Pow(o.growth, float64(nth-1))))
	if o.jitter > 0 {
		d = saturate.Add(d, saturate.Scale(d, o.jitter*o.random()))
	}
	if o.retryAfterLimit > 0 && cause != nil {
		d = max(d, o.asked(cause))
	}
	return d
}

// maximumPause is how long a throttled probe can keep its slot, unless [RetryAfter] sets another limit.
const maximumPause = time.Minute

// pause returns for how long a probe that was throttled keeps its slot.
func (o *openTime) pause(cause error) time.Duration {
	return max(o.base, o.asked(cause))
}

// asked returns how long err asks to be left alone, within the limit.
func (o *openTime) asked(err error) time.Duration {
	limit := o.retryAfterLimit
	if limit == 0 {
		limit = maximumPause
	}
	wait, _ := policy.RetryAfter(err)
	return min(wait, limit)
}
