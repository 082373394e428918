package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"
)

// EventKind says what happened.
type EventKind uint8

// The kinds of event. The table at [Event] says which fields are set.
const (
	// EventAttempt: an attempt entered the operation and has ended.
	EventAttempt EventKind = iota + 1
	// EventRejected: Layer refused an attempt, or the context ended while it waited there.
	EventRejected
	// EventRetry: Layer will make another attempt, after Wait; there is at most one for each attempt.
	EventRetry
	// EventWait: Layer waits longer than it said in EventRetry, because a gate refuses.
	EventWait
	// EventStopped: Layer made no further attempt after a failed one. A call that was refused at its first attempt has
	// none.
	EventStopped
	// EventCall: a call has ended; there is exactly one for each call. Where a result stays open it comes when the
	// operation has returned.
	EventCall
	// EventSettled: the permit of a result that stayed open was settled.
	EventSettled
)

var eventNames = [...]string{"event 0", "attempt", "rejected", "retry", "wait", "stopped", "call", "settled"}

// String returns the name of the kind in lower case.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// MarshalText returns what String does.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is something that happened in a pipeline. Kind, Pipeline and Outcome are set in every event, the other fields where
// the table says of what:
//
//	Kind           Call  Layer         Attempt  Outcome          Reason  Elapsed                       Queued      Wait
//	EventAttempt   yes   -             yes      of the attempt   -       the operation                 before it   -
//	EventRejected  yes   that refused  yes      of the attempt   -       -                             before it   -
//	EventRetry     yes   the repeater  yes      of the attempt   -       -                             -           after it
//	EventWait      yes   the repeater  yes      of the attempt   -       -                             -           after it
//	EventStopped   yes   the repeater  yes      Err of the call  yes     -                             -           -
//	EventCall      yes   -             -        of the call      -       everything                    the sum     the sum
//	EventSettled   -     -             -        of the permit    -       since the operation returned  -           -
//
// Without a hedge, the Queued and Wait of a call and the Elapsed of its attempts add up to the call's Elapsed.
type Event struct {
	Kind     EventKind
	Pipeline string  // the name of the pipeline, "" if it has none
	Call     uint64  // the number of the call, no other's; 0 for a call that is not timed, see [KindObserver]
	Layer    Layer   // the layer that refused, or the repeater
	Attempt  int     // the number of the attempt, from 1: of the one that has ended
	Outcome  Outcome // how the attempt or the call ended, with its class
	Reason   error   // why there was no further attempt

	Elapsed time.Duration // how long it took
	Queued  time.Duration // from when the attempt was due to the operation, or to the refusal
	Wait    time.Duration // before the next attempt, as the repeater has decided; for EventCall as it really was
}

// Code returns the code of the error that the attempt or the call ended with; see the function [Code].
func (e Event) Code() string { return Code(e.Outcome.Err) }

// LogValue returns what is set as a group.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("event", e.Kind.String())}
	add := func(ok bool, attr slog.Attr) {
		if ok {
			attrs = append(attrs, attr)
		}
	}
	add(e.Pipeline != "", slog.String("pipeline", e.Pipeline))
	add(e.Call > 0, slog.Uint64("call", e.Call))
	add(e.Layer != nil, slog.String("layer", layerText(e.Layer)))
	add(e.Attempt > 0, slog.Int("attempt", e.Attempt))
	attrs = append(attrs, slog.String("outcome", e.Outcome.Kind.String()))
	add(e.Outcome.Class != Unclassified, slog.String("class", e.Outcome.Class.String()))
	add(e.Outcome.Err != nil, slog.String("error", errorText(e.Outcome.Err)))
	code := e.Code()
	add(code != "", slog.String("code", code))
	add(e.Reason != nil, slog.String("reason", errorText(e.Reason)))
	add(e.Elapsed > 0, slog.Duration("elapsed", e.Elapsed))
	add(e.Queued > 0, slog.Duration("queued", e.Queued))
	add(e.Wait > 0, slog.Duration("wait", e.Wait))
	return slog.GroupValue(attrs...)
}

// String returns what is set, on one line.
func (e Event) String() string {
	return oneLine(strings.Trim(e.LogValue().String(), "[]"))
}

// MarshalJSON writes the layer and the errors as text, and durations as numbers of seconds.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind     EventKind `json:"kind"`
		Pipeline string    `json:"pipeline,omitempty"`
		Call     uint64    `json:"call,omitempty"`
		Layer    string    `json:"layer,omitempty"`
		Attempt  int       `json:"attempt,omitempty"`
		Outcome  Outcome   `json:"outcome"`
		Code     string    `json:"code,omitempty"`
		Reason   string    `json:"reason,omitempty"`
		Elapsed  float64   `json:"elapsed,omitempty"`
		Queued   float64   `json:"queued,omitempty"`
		Wait     float64   `json:"wait,omitempty"`
	}{
		e.Kind, e.Pipeline, e.Call, layerText(e.Layer), e.Attempt, e.Outcome, e.Code(), errorText(e.Reason),
		e.Elapsed.Seconds(), e.Queued.Seconds(), e.Wait.Seconds(),
	})
}

// Observer is told what happens in a pipeline.
//
// Observe is called on the goroutine of the call, outside of all locks, after the fact; so it must be fast and safe
// for concurrent use. A panic in it is contained and dropped: observing never fails a call. ctx is the context of the
// attempt or of the call, and may have ended.
type Observer interface {
	Observe(ctx context.Context, event Event)
}

// KindObserver is what an [Observer] implements in addition when it needs only some kinds of events. A call that causes
// none of them then costs next to nothing. Without EventAttempt and EventCall among the kinds no clock is read, and
// Queued and Call are 0 in the events of other kinds.
type KindObserver interface {
	Observer

	// ObservedKinds returns the kinds that the observer needs. It is asked when a pipeline is composed, and must always
	// return the same.
	ObservedKinds() []EventKind
}

// ObserveOnly returns observer as a [KindObserver] that is told of the kinds given and of nothing else. It panics with a
// [*ConfigError] when observer is nil or no kind is given.
func ObserveOnly(observer Observer, kinds ...EventKind) Observer {
	problems := ConfigError{Policy: "policy.ObserveOnly"}
	// As resilience.Observe asks.
	if v := reflect.ValueOf(observer); observer == nil || (v.Kind() == reflect.Func || v.Kind() == reflect.Pointer) && v.IsNil() {
		problems.Add("the observer is nil")
	}
	if len(kinds) == 0 {
		problems.Add("no kind is given")
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return &kindObserver{observer, slices.Clone(kinds)}
}

type kindObserver struct {
	Observer
	kinds []EventKind
}

func (o *kindObserver) ObservedKinds() []EventKind { return slices.Clone(o.kinds) }

// ObserverFunc is a function that is an [Observer].
type ObserverFunc func(ctx context.Context, event Event)

// Observe calls the function.
func (f ObserverFunc) Observe(ctx context.Context, event Event) { f(ctx, event) }
