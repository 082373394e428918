package main

import (
	"context"
	"slices"
	"sync"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// mostSpans is how many spans are kept.
const mostSpans = 100

// recent is an exporter that keeps the last spans with events. It is safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan // the oldest first
}

// ExportSpans keeps those of the spans that have events.
func (r *recent) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, span := range spans {
		if len(span.Events()) > 0 {
			r.spans = append(r.spans, span)
		}
	}
	r.spans = slices.Delete(r.spans, 0, max(0, len(r.spans)-mostSpans))
	return nil
}

// Shutdown does nothing: what is kept is in memory only.
func (r *recent) Shutdown(context.Context) error { return nil }

func (r *recent) list() []sdktrace.ReadOnlySpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}
