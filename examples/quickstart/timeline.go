package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// timeline prints what happens, with the time at which it happens.
type timeline struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func newTimeline(w io.Writer) *timeline { return &timeline{w: w, start: time.Now()} }

func (t *timeline) say(who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%5.1fs  %-8s  %s\n", time.Since(t.start).Seconds(), who, fmt.Sprintf(format, args...))
}

// changed prints a change of the breaker's state. Half-open is not worth a line of its own: what the probe finds out
// follows soon.
func (t *timeline) changed(change breaker.Change) {
	switch {
	case change.To == breaker.HalfOpen:
	case change.From == breaker.HalfOpen:
		t.say("breaker", "%v -> %v -> %v: %v", breaker.Open, breaker.HalfOpen, change.To, change.Reason)
	default:
		t.say("breaker", "%v -> %v: %v", change.From, change.To, change.Reason)
	}
}

// reader remembers how much of an arm has been told.
type reader struct {
	calls    int
	requests int64
}

// news tells what has happened to an arm since the last time.
func (r *reader) news(a *arm) string {
	ended, requests := a.ended(), a.server.requestsOf(wholeRun)
	succeeded := 0
	for _, call := range ended[r.calls:] {
		if !call.failed {
			succeeded++
		}
	}
	text := fmt.Sprintf("%3d calls ended, %3d ok, %3d failed; %3d requests reached the server",
		len(ended)-r.calls, succeeded, len(ended)-r.calls-succeeded, requests-r.requests)
	r.calls, r.requests = len(ended), requests
	return text
}

// tally counts what a pipeline says about itself. It is safe for concurrent use; the zero value is ready.
type tally struct {
	mu       sync.Mutex
	latest   heard // since the last news
	calls    int
	attempts int
}

type heard struct {
	retries  int
	rejected map[string]int // by who refused and why
	stopped  map[string]int // retries that were not made, by reason
}

// Observe implements [policy.Observer].
func (t *tally) Observe(_ context.Context, event policy.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch event.Kind {
	case policy.EventCall:
		t.calls++
	case policy.EventAttempt:
		t.attempts++
	case policy.EventRejected:
		count(&t.latest.rejected, reason(event.Outcome.Err))
	case policy.EventRetry:
		t.latest.retries++
	case policy.EventStopped:
		if event.Outcome.Kind != policy.NotCalled { // that is a rejection, which was counted above
			count(&t.latest.stopped, reason(event.Outcome.Err))
		}
	}
}

// news returns what has happened since the last time, "" if nothing has.
func (t *tally) news() string {
	t.mu.Lock()
	latest := t.latest
	t.latest = heard{}
	t.mu.Unlock()
	var news []string
	if latest.retries > 0 {
		news = append(news, fmt.Sprintf("%d retries", latest.retries))
	}
	if len(latest.stopped) > 0 {
		news = append(news, "retries not made: "+list(latest.stopped))
	}
	if len(latest.rejected) > 0 {
		news = append(news, "rejected: "+list(latest.rejected))
	}
	return strings.Join(news, "; ")
}

func list(counts map[string]int) string {
	var items []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		items = append(items, fmt.Sprintf("%d (%s)", counts[why], why))
	}
	return strings.Join(items, ", ")
}

func count(counts *map[string]int, key string) {
	if *counts == nil {
		*counts = make(map[string]int)
	}
	(*counts)[key]++
}

// reason says in a few words, without figures, why a call ended with err.
func reason(err error) string {
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		return fmt.Sprintf("%s, %v", rejection.Kind, rejection.Reason)
	}
	if gaveUp, ok := errors.AsType[*retry.Error](err); ok {
		return gaveUp.Reason.Error()
	}
	return "not worth it"
}
