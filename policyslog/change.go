package policyslog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/oneline"
)

// Change writes the line of a change of a breaker. It is a subscriber:
//
//	breaker.New(breaker.Name("users-db"), breaker.OnChange(log.Change))
//
// The message says what happened, why, and for how long:
//
//	breaker "users-db" opened: 26 of the last 40 calls failed (65 %), the limit is 50 % of at least 20; for 5.2s
//
// For a breaker in shadow mode, which refuses nothing, the message says "would have opened".
func (l *Log) Change(change breaker.Change) {
	level := l.config.changes[change.To] // INFO for a state that is not there
	if change.Shadow {
		level = min(level, slog.LevelInfo)
	}
	if ctx := context.Background(); l.logger.Enabled(ctx, level) {
		l.write(ctx, level, changeText(change), changeAttrs(change))
	}
}

// changeText returns the message of a change.
func changeText(change breaker.Change) string {
	var text strings.Builder
	text.WriteString("breaker ")
	if name := change.Snapshot.Name; name != "" {
		fmt.Fprintf(&text, "%q ", name)
	}
	text.WriteString(verbOf(change))
	if change.Reason != breaker.ReasonForced { // which the verb says
		fmt.Fprintf(&text, ": %s", causeText(change))
	}
	if d := lasting(change); d > 0 {
		fmt.Fprintf(&text, "; for %v", d)
	}
	return text.String()
}

// verbOf returns what the breaker has done.
func verbOf(change breaker.Change) string {
	verb := map[breaker.State][2]string{
		breaker.Open:         {"opened", "would have opened"},
		breaker.HalfOpen:     {"is half-open", "would be half-open"},
		breaker.Closed:       {"closed", "would have closed"},
		breaker.ForcedOpen:   {"was forced open", "would be forced open"},
		breaker.ForcedClosed: {"was forced closed", "would be forced closed"},
	}[change.To]
	if change.Shadow {
		return verb[1]
	}
	return verb[0]
}

// causeText returns why, with the numbers where there are some.
func causeText(change breaker.Change) string {
	switch {
	case change.Cause.What == "":
		return change.Reason.String()
	case change.Reason == breaker.ReasonProbeFailed || change.Reason == breaker.ReasonProbeSlow:
		return change.Reason.String() + ", " + change.Cause.String()
	}
	return change.Cause.String()
}

// lasting returns how long the state lasts by itself, 0 if that is not known. The two moments are read one after the
// other, which is what the rounding hides.
func lasting(change breaker.Change) time.Duration {
	if change.Snapshot.Until.IsZero() {
		return 0
	}
	return rounded(max(0, change.Snapshot.Until.Sub(change.At)))
}

// rounded returns d with about three digits.
func rounded(d time.Duration) time.Duration {
	for unit := time.Second; unit > time.Nanosecond; unit /= 10 {
		if d >= 100*unit {
			return d.Round(unit)
		}
	}
	return d
}

func changeAttrs(change breaker.Change) []slog.Attr {
	s := change.Snapshot
	a := make(attrs, 0, 20)
	a = append(a, slog.String(attrEvent, "change"), slog.String(attrKind, "breaker"))
	a.text(attrName, s.Name)
	a = append(a,
		slog.Uint64(attrNumber, change.Number),
		slog.String(attrFrom, change.From.String()),
		slog.String(attrTo, change.To.String()),
		slog.String(attrReason, change.Reason.String()),
		slog.Bool(attrShadow, change.Shadow),
		slog.Time(attrSince, change.At),
	)
	a.moment(attrUntil, s.Until)
	a.duration(attrFor, lasting(change))
	a = append(a,
		slog.Int64(attrCalls, s.Calls),
		slog.Int64(attrCallsFailed, s.CallsFailed),
		slog.Int64(attrCallsSlow, s.CallsSlow),
		slog.Int(attrConsecutiveFailures, s.ConsecutiveFailures),
		slog.Uint64(attrRejected, s.Rejected),
	)
	if s.FailureRateKnown {
		a = append(a, slog.Float64(attrFailureRate, s.FailureRate))
	}
	if s.SlowRateKnown {
		a = append(a, slog.Float64(attrSlowRate, s.SlowRate))
	}
	a.cause(change.Cause)
	if s.Cause != nil {
		a.text(attrError, oneline.Of(s.Cause))
	}
	return a
}
