package main

import (
	"io"
	"log/slog"

	"github.com/go-resilience/resilience/policyslog"
)

// newLog returns the first way to look: lines for changes of the breaker, for refusals (at most one per second) and for
// calls that were given up. Attempts are DEBUG, and this logger is not enabled for that.
func newLog(out io.Writer) *policyslog.Log {
	return policyslog.New(slog.New(slog.NewTextHandler(out, nil)))
}
