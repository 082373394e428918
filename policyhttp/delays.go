package policyhttp

import (
	"slices"
	"time"
)

// delays are the times between attempts, once one has failed.
type delays struct {
	failedAt time.Time // when the last of them failed
	waits    []time.Duration
}

// maxWaits bounds what a call remembers.
const maxWaits = 16

// noteFailure notes that an attempt has failed now.
func (c *call) noteFailure() {
	if c.delays == nil {
		c.delays = new(delays)
	}
	c.delays.failedAt = time.Now()
}

// noteWait notes that another attempt begins, after one that has failed if one has.
func (c *call) noteWait() {
	d := c.delays
	if d == nil {
		return
	}
	if len(d.waits) == maxWaits {
		d.waits = slices.Delete(d.waits, 0, 1)
	}
	d.waits = append(d.waits, time.Since(d.failedAt))
}
