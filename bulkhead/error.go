package bulkhead

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// ErrFull is matched, with [errors.Is], by every refusal of a bulkhead, whatever its reason. Alone it is the reason when
// all slots are taken and the attempt does not wait. Its code is "bulkhead.full".
var ErrFull = policy.NewReason("bulkhead.full", "all slots are taken")

// The reasons that say more than [ErrFull], and match it too.
var (
	// ErrQueueFull: all slots are taken, and all places in the [Queue]. Its code is "bulkhead.queue_full".
	ErrQueueFull error = &reason{"bulkhead.queue_full", "all slots and all places in the queue are taken"}
	// ErrQueueTimeout: the attempt waited as long as [Queue] allows. Its code is "bulkhead.queue_timeout".
	ErrQueueTimeout error = &reason{"bulkhead.queue_timeout", "all slots are taken: none became free in time"}
	// ErrTooHeavy: the weight of the attempt is above the limit. Its code is "bulkhead.weight".
	ErrTooHeavy error = &reason{"bulkhead.weight", "the weight is above the limit"}
	// ErrDeadline: the attempt's context reached its deadline, or the end of a timeout, while the attempt waited. The
	// error is not a [*policy.Rejection]: it is the error of the context, and matches [context.DeadlineExceeded] and the
	// context's cause as well. Its code is "bulkhead.deadline".
	ErrDeadline error = &reason{"bulkhead.deadline", "the deadline came before a free slot"}
	// ErrDraining: [Bulkhead.Drain] was called. Its code is "bulkhead.draining".
	ErrDraining error = &reason{"bulkhead.draining", "draining"}

	errTooLight error = &reason{"bulkhead.weight", "the weight is below 1"}
)

// reason is a reason to refuse that matches ErrFull.
type reason struct{ code, text string }

func (r *reason) Error() string        { return r.text }
func (r *reason) Code() string         { return r.code }
func (r *reason) Is(target error) bool { return target == ErrFull }

// deadlineError is the error of an attempt whose deadline passed while it waited.
type deadlineError struct {
	name  string
	ended error // of the context
}

func (e *deadlineError) Error() string {
	if e.name == "" {
		return "bulkhead: " + ErrDeadline.Error()
	}
	return fmt.Sprintf("bulkhead %q: %v", e.name, ErrDeadline)
}

func (e *deadlineError) Unwrap() []error { return []error{ErrDeadline, e.ended} }

// ended returns the error of an attempt whose context ended while it waited, nil if the context has not ended.
func (b *Bulkhead) ended(ctx context.Context) error {
	err := policy.ContextError(ctx)
	if err == nil || policy.Canceled(ctx) {
		return err
	}
	return &deadlineError{b.current().name, err}
}

// refuse counts and returns a rejection. The frequent one was made before, so that it costs no allocation: it says
// nothing about the single attempt.
func (b *Bulkhead) refuse(c *config, reason error) error {
	b.rejected.Add(1)
	if reason == c.frequent.Reason {
		return &c.frequent
	}
	return c.rejection(reason)
}

// noSlot is the reason to refuse an attempt that finds no free slot.
func noSlot(weight, limit int) error {
	switch {
	case weight < 1:
		return errTooLight
	case weight > limit:
		return ErrTooHeavy
	}
	return ErrFull
}
