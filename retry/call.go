package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/internal/stopwatch"
	"github.com/go-resilience/resilience/policy"
)

// history bounds the errors that a call remembers, so that endless retries keep memory flat.
const history = 16

// call is what is known about one call. It is made at the first failure: a call whose first attempt succeeds has
// none. It belongs to the goroutine of the call.
type call struct {
	clock    stopwatch.Stopwatch // runs since the end of the first attempt
	source   backoff.BackOff     // nil until the first delay
	previous time.Duration       // the last delay, for decorrelated jitter
	attempts int                 // how many entered the operation
	errs     [history]error      // of the operation, the latest; a ring
}

func newCall() *call { return &call{clock: stopwatch.Start()} }

// note remembers how an attempt ended.
func (c *call) note(outcome policy.Outcome) {
	if outcome.Kind == policy.Returned {
		c.errs[c.attempts%history] = outcome.Err
		c.attempts++
	}
}

// giveUp returns the error of the call. There was an attempt that entered the operation.
func (c *call) giveUp(name string, reason error) *Error {
	e := &Error{Name: name, Attempts: c.attempts, Elapsed: c.clock.Elapsed(), Reason: reason}
	for i := max(0, c.attempts-history); i < c.attempts; i++ {
		e.Errs = append(e.Errs, c.errs[i%history])
	}
	if len(e.Errs) > 0 {
		e.Last = e.Errs[len(e.Errs)-1]
	}
	return e
}
