package bulkhead

import (
	"errors"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// ErrFull is matched by every rejection of a bulkhead. The text of the rejection says more: that no slot became free
// in time, or that the attempt's weight can never be met.
var ErrFull = errors.New("all slots are taken")

var (
	errTooLate  = fmt.Errorf("%w: none became free in time", ErrFull)
	errTooHeavy = fmt.Errorf("%w: the weight is above the limit", ErrFull)
	errTooLight = fmt.Errorf("%w: the weight is below 1", ErrFull)
)

// refuse counts and returns a rejection. The frequent one was made before, so that it costs no allocation: it says
// nothing about the single attempt.
func (b *Bulkhead) refuse(reason error) error {
	b.rejected.Add(1)
	if reason == ErrFull {
		return &b.full
	}
	return &policy.Rejection{Kind: "bulkhead", Name: b.name, Reason: reason}
}

// noSlot is the reason to refuse an attempt that finds no free slot.
func noSlot(weight, limit int) error {
	switch {
	case weight < 1:
		return errTooLight
	case weight > limit:
		return errTooHeavy
	}
	return ErrFull
}
