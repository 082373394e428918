package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun runs the whole example: real servers and connections, and the delays of the retries.
func TestRun(t *testing.T) {
	var out, logged strings.Builder
	require.NoError(t, run(t.Context(), &out, slog.New(slog.NewTextHandler(&logged, nil))))
	text := out.String()
	for i := range 5 {
		require.Contains(t, text, []string{"order 0:", "order 1:", "order 2:", "order 3:", "order 4:"}[i])
	}
	require.Equal(t, 5, strings.Count(text, "201 Created"))
	require.Contains(t, text, "download: 8388608 bytes")
	require.NotContains(t, text, " 0 were refused")
	require.Contains(t, text, "the other server: 200 OK; it has 5 orders")
	require.Contains(t, logged.String(), "event.event=retry")
	require.Contains(t, logged.String(), "event.code=breaker.open")
}
