package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// ErrLimited is matched by every rejection of a limiter. The rejection says when to come back; when it says no time
// (its Until is zero), coming back is of no use, and its text says why.
var ErrLimited = errors.New("no token")

// Not now.
var (
	errMaxWait   = fmt.Errorf("%w: the wait would be longer than allowed", ErrLimited)
	errDeadline  = fmt.Errorf("%w: the wait would outlast the deadline", ErrLimited)
	errQueueFull = fmt.Errorf("%w: too many wait already", ErrLimited)
)

// Never.
var (
	errNegative = fmt.Errorf("%w: the cost is negative", ErrLimited)
	errTooDear  = fmt.Errorf("%w: the cost is above the burst", ErrLimited)
	errDry      = fmt.Errorf("%w: no more tokens will come", ErrLimited)
)

// refuse returns the rejection of an attempt whose time would come at until, 0 for never.
func (l *Limiter) refuse(reason error, until time.Duration) *policy.Rejection {
	l.counts.rejected++
	r := &policy.Rejection{Kind: "rate limiter", Name: l.name, Reason: reason}
	if until > 0 {
		r.Until = l.bucket.instant(until)
	}
	return r
}
