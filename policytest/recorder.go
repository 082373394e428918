package policytest

import (
	"context"
	"slices"
	"sync"

	"github.com/go-resilience/resilience/policy"
)

// Recorder is an observer that keeps every event, in the order of arrival. The zero value is ready to use. It is safe
// for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	events []policy.Event
}

var _ policy.Observer = (*Recorder)(nil)

// Observe keeps event.
func (r *Recorder) Observe(_ context.Context, event policy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// Events returns a copy of the events so far.
func (r *Recorder) Events() []policy.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Kinds returns the kinds of the events so far.
func (r *Recorder) Kinds() []policy.EventKind {
	events := r.Events()
	kinds := make([]policy.EventKind, len(events))
	for i, event := range events {
		kinds[i] = event.Kind
	}
	return kinds
}

// Count returns how many events of kind there were so far.
func (r *Recorder) Count(kind policy.EventKind) int {
	count := 0
	for _, event := range r.Events() {
		if event.Kind == kind {
			count++
		}
	}
	return count
}

// Reset forgets the events so far.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}
