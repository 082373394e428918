package main

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestOnlyTheLastSpansWithEventsAreKept(t *testing.T) {
	var kept recent
	for i := range mostSpans + 50 {
		spans := tracetest.SpanStubs{
			{Name: strconv.Itoa(i), Events: []sdktrace.Event{{Name: "resilience.retry"}}},
			{Name: "nothing has happened"},
		}
		require.NoError(t, kept.ExportSpans(t.Context(), spans.Snapshots()))
	}
	require.Len(t, kept.list(), mostSpans)
	for i, span := range kept.list() {
		require.Equal(t, strconv.Itoa(i+50), span.Name())
	}
}
