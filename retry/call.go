package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// history bounds the errors that a call remembers, so that endless retries keep memory flat.
const history = 16

// call is what is known about one call. It is made at the first failure: a call whose first attempt succeeds has
// none, unless its elapsed time is limited. It belongs to the goroutine of the call.
//
// Times are readings of the Retrier's clock.
type call struct {
	failed   time.Duration   // when the first attempt ended
	source   backoff.BackOff // nil until the first delay
	previous time.Duration   // the last delay, for decorrelated jitter
	paid     bool            // a token of the budget is held for an attempt that was not made yet
	awaited  bool            // a gate was waited for
	since    time.Duration   // since when
	attempts int             // how many entered the operation
	errs     []error         // of the operation, the latest; a ring once it is full
	few      [3]error        // room for the errors of most calls
}

// note remembers the error of an attempt that entered the operation.
func (c *call) note(err error) {
	switch {
	case c.errs == nil:
		c.errs = append(c.few[:0], err)
	case len(c.errs) < history:
		c.errs = append(c.errs, err)
	default:
		c.errs[c.attempts%history] = err
	}
	c.attempts++
	c.paid = false // spent
}

// giveUp returns the error of the call at now. At least one attempt entered the operation.
func (c *call) giveUp(name string, reason error, now time.Duration) *Error {
	e := &Error{Name: name, Attempts: c.attempts, Elapsed: now - c.failed, Reason: reason}
	for i := max(0, c.attempts-history); i < c.attempts; i++ {
		e.Errs = append(e.Errs, c.errs[i%history])
	}
	e.Last = e.Errs[len(e.Errs)-1]
	return e
}
