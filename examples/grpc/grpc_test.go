package main

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), &out, slog.New(slog.NewTextHandler(&log, nil))))
	require.Regexp(t, regexp.MustCompile(`^call 0: SERVING, attempts 2
call 1: SERVING, attempts 2
call 2: SERVING, attempts 2
stream: SERVING
stream: NOT_SERVING
sick server: \d+ calls failed, [1-9]\d* were refused
$`), out.String())
	require.Contains(t, log.String(), "call.attempts=2")
}
