package policygrpc

import (
	"errors"
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// Call is how a call went. [Info] fills it in.
type Call struct {
	// Attempts is how often the call was handed on: 0 if a policy refused at once.
	Attempts int
	// Waits are the times between an attempt that failed and the next one, queueing included; the last 16 if there were
	// more. There are none between attempts at the same time, as of a hedge.
	Waits []time.Duration
	// Reason is why a failure was not followed by another attempt: a reason of this package or of package retry, the
	// rejection of the policy that refused. It is nil when the call succeeded, and when another attempt was never in
	// question, as after a NOT_FOUND.
	Reason error
	// Err is the error that the pipeline ended with, nil for success.
	Err error
}

// Code returns the [policy.Code] of Reason, such as "retry.exhausted" or "breaker.open", or that of Err if there is no
// Reason. It is "" for success.
func (c Call) Code() string {
	if code := policy.Code(c.Reason); code != "" {
		return code
	}
	return policy.Code(c.Err)
}

// LogValue returns the fields as a group.
func (c Call) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("attempts", c.Attempts)}
	if len(c.Waits) > 0 {
		attrs = append(attrs, slog.Any("waits", c.Waits))
	}
	if code := c.Code(); code != "" {
		attrs = append(attrs, slog.String("code", code))
	}
	if c.Reason != nil {
		attrs = append(attrs, slog.String("reason", c.Reason.Error()))
	}
	if c.Err != nil {
		attrs = append(attrs, slog.String("error", c.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// reasonOf returns why err was not followed by another attempt.
func reasonOf(err error) error {
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		if !errors.Is(gaveUp.Reason, retry.ErrFinal) {
			return gaveUp.Reason
		}
		err = gaveUp.Last
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.final
	}
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return rejection
	}
	return nil
}
