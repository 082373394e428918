package policy

import (
	"context"
	"fmt"
	"time"
)

// EventKind says what happened.
type EventKind uint8

const (
	// EventAttempt: an attempt entered the operation and has ended. Attempt, Outcome and Elapsed are set.
	EventAttempt EventKind = iota + 1
	// EventRejected: Layer refused an attempt, or the context ended while it waited there. Attempt and Outcome are set.
	EventRejected
	// EventRetry: Layer will make another attempt, after Wait; there is at most one for each attempt. Attempt and
	// Outcome are those of the failed attempt.
	EventRetry
	// EventWait: Layer waits longer than it said in EventRetry, because a gate refuses. Set as for EventRetry.
	EventWait
	// EventStopped: Layer made no further attempt after a failed one. Outcome.Err is the error that the call gets. A
	// call that was refused at its first attempt has none.
	EventStopped
	// EventCall: a call has ended; there is exactly one for each call. Outcome and Elapsed are set.
	EventCall
)

// String returns the name of the kind in lower case.
func (k EventKind) String() string {
	switch k {
	case EventAttempt:
		return "attempt"
	case EventRejected:
		return "rejected"
	case EventRetry:
		return "retry"
	case EventWait:
		return "wait"
	case EventStopped:
		return "stopped"
	case EventCall:
		return "call"
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is something that happened in a pipeline.
type Event struct {
	Kind    EventKind
	Layer   Layer         // the layer that refused, repeated or stopped; nil for EventAttempt and EventCall
	Attempt int           // the number of the attempt, from 1; 0 for EventCall
	Outcome Outcome       // how the attempt or the call ended
	Wait    time.Duration // EventRetry, EventWait: the wait before the next attempt
	Elapsed time.Duration // EventAttempt, EventCall: how long it took
}

// Observer hears what happens in a pipeline.
//
// Observe is called on the goroutine of the call, outside of all locks, after the fact; so it must be fast and safe
// for concurrent use. A panic in it is contained and dropped: observing never fails a call. ctx is the context of the
// attempt or of the call, and may have ended.
type Observer interface {
	Observe(ctx context.Context, event Event)
}

// ObserverFunc is a function that is an [Observer].
type ObserverFunc func(ctx context.Context, event Event)

// Observe calls the function.
func (f ObserverFunc) Observe(ctx context.Context, event Event) { f(ctx, event) }
