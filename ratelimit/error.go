package ratelimit

import (
	"time"

	"github.com/go-resilience/resilience/policy"
)

// ErrLimited is matched by every rejection of a limiter. It is itself the reason where no token is there and the attempt
// may not wait. The rejection says when to come back; when it says no time (its Until is zero), coming back is of no use.
// Its [policy.Code] is "ratelimit.limited".
var ErrLimited = policy.NewReason("ratelimit.limited", "no token")

// The reasons of rejections, beside [ErrLimited], which all of them match too.
var (
	// ErrMaxWait: the wait would be longer than [MaxWait]. Its code is "ratelimit.limited".
	ErrMaxWait error = &reason{"ratelimit.limited", "no token: the wait would be longer than allowed"}
	// ErrDeadline: the token would come too late for the deadline of the attempt's context. Its code is
	// "ratelimit.deadline".
	ErrDeadline error = &reason{"ratelimit.deadline", "no token: the wait would outlast the deadline"}
	// ErrQueueFull: [MaxWaiters] attempts wait already. Its code is "ratelimit.full".
	ErrQueueFull error = &reason{"ratelimit.full", "no token: too many wait already"}
	// ErrCost: the attempt can never be admitted, because it costs more than the burst or less than nothing. Its code
	// is "ratelimit.cost".
	ErrCost error = &reason{"ratelimit.cost", "no token: the cost is above the burst or negative"}
	// ErrExhausted: no more tokens will come, because the rate is 0 or so low that they would take a century. Its code is
	// "ratelimit.exhausted".
	ErrExhausted error = &reason{"ratelimit.exhausted", "no token: no more tokens will come"}
)

// reason is why there is no token.
type reason struct{ code, text string }

func (r *reason) Error() string { return r.text }
func (r *reason) Code() string  { return r.code }
func (r *reason) Unwrap() error { return ErrLimited }

// Two texts for [ErrCost], which says both.
var (
	errNegative error = &costReason{"no token: the cost is negative"}
	errTooDear  error = &costReason{"no token: the cost is above the burst"}
)

type costReason struct{ text string }

func (r *costReason) Error() string { return r.text }
func (r *costReason) Unwrap() error { return ErrCost }

// rejection returns the rejection of an attempt whose time would come at until, 0 for never.
func (l *Limiter) rejection(reason error, until time.Duration) *policy.Rejection {
	r := &policy.Rejection{Kind: kind, Name: l.config.Load().name, Reason: reason}
	if until > 0 {
		r.Until = l.bucket.clock.Time(until)
	}
	return r
}
