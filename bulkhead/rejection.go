package bulkhead

import (
	"errors"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// ErrFull is matched by every rejection of a bulkhead. The text of the rejection says more: that no slot became free
// within the queue's wait, or that the attempt's weight can never be met.
var ErrFull = errors.New("all slots are taken")

// rejections are made once, since they say nothing about the single attempt: a refusal allocates nothing.
type rejections struct {
	noSlot   *policy.Rejection
	tooLate  *policy.Rejection
	tooHeavy *policy.Rejection
	tooLight *policy.Rejection
}

func newRejections(c *config) rejections {
	because := func(reason error) *policy.Rejection {
		return &policy.Rejection{Kind: "bulkhead", Name: c.name, Reason: reason}
	}
	return rejections{
		noSlot:   because(ErrFull),
		tooLate:  because(fmt.Errorf("%w: none became free within %v", ErrFull, c.wait)),
		tooHeavy: because(fmt.Errorf("%w: the weight is above the limit", ErrFull)),
		tooLight: because(fmt.Errorf("%w: the weight is below 1", ErrFull)),
	}
}

// full is the rejection of an attempt that finds no free slot at a limit.
func (r *rejections) full(weight, limit int) *policy.Rejection {
	switch {
	case weight < 1:
		return r.tooLight
	case weight > limit:
		return r.tooHeavy
	}
	return r.noSlot
}
