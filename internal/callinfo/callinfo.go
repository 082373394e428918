// Package callinfo is what the clients of this module, for HTTP and for gRPC, note about a call and tell its caller.
package callinfo

import (
	"log/slog"
	"slices"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Call has the fields of policyhttp.Call and policygrpc.Call, which convert to it.
type Call struct {
	Attempts int
	Waits    []time.Duration
	Reason   error
	Err      error
}

// Code returns the code of the reason, or of the error if the reason has none.
func (c Call) Code() string {
	if code := policy.Code(c.Reason); code != "" {
		return code
	}
	return policy.Code(c.Err)
}

// LogValue returns the fields as a group, without those that say nothing.
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

// maxWaits bounds what a call remembers.
const maxWaits = 16

// Waits are the times between an attempt that has failed and the next one. The zero value has none. It is not safe for
// concurrent use.
type Waits struct {
	failedAt time.Time // when the last attempt has failed
	last     []time.Duration
}

// Begin notes that a wait begins: an attempt has failed.
func (w *Waits) Begin() { w.failedAt = time.Now() }

// End notes that the wait ends: the next attempt begins.
func (w *Waits) End() {
	if len(w.last) == maxWaits {
		w.last = slices.Delete(w.last, 0, 1)
	}
	w.last = append(w.last, time.Since(w.failedAt))
}

// Last returns the last waits, in order, as a copy.
func (w *Waits) Last() []time.Duration { return slices.Clone(w.last) }
