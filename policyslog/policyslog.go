package policyslog

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/oneline"
	"github.com/go-resilience/resilience/policy"
)

// Log logs what happens in pipelines. Make it with [New]. It is an observer for resilience.Observe, and its method
// [Log.Change] is a subscriber for [breaker.OnChange]. One Log can serve any number of pipelines and breakers. It is
// safe for concurrent use.
type Log struct {
	logger   *slog.Logger
	config   *config
	levels   [policy.EventSettled + 1]slog.Level
	kinds    []policy.EventKind // in order
	refusals refusals
}

var _ policy.KindObserver = (*Log)(nil)

// New returns a Log that writes to logger. If logger is nil, each line goes to whatever [slog.Default] is at that
// moment. New panics with a [*policy.ConfigError] when an option is out of its range.
func New(logger *slog.Logger, opts ...Option) *Log {
	c, err := configure(opts)
	if err != nil {
		panic(err)
	}
	var next slog.Handler
	if logger != nil {
		next = logger.Handler()
	}
	l := &Log{logger: slog.New(contained{next}), config: c}
	l.refusals = refusals{log: l, every: c.every, policies: make(map[refuser]*refused), writing: make(map[chan struct{}]bool)}
	defaults := map[policy.EventKind]slog.Level{
		policy.EventRejected: slog.LevelWarn,
		policy.EventRetry:    slog.LevelDebug,
		policy.EventWait:     slog.LevelDebug,
		policy.EventStopped:  slog.LevelWarn,
		policy.EventSettled:  slog.LevelDebug,
	}
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		defaults[policy.EventAttempt] = slog.LevelDebug
	}
	for kind := policy.EventAttempt; kind <= policy.EventSettled; kind++ {
		level, given := c.levels[kind]
		if !given {
			level, given = defaults[kind]
		}
		if given && !c.off[kind] {
			l.levels[kind] = level
			l.kinds = append(l.kinds, kind)
		}
	}
	return l
}

// ObservedKinds returns the kinds of events that have a level.
func (l *Log) ObservedKinds() []policy.EventKind { return append([]policy.EventKind(nil), l.kinds...) }

// messages are what the lines of events say. Everything that differs from line to line is in the attributes.
var messages = [...]string{
	policy.EventAttempt:  "attempt ended",
	policy.EventRejected: "refused",
	policy.EventRetry:    "retry",
	policy.EventWait:     "retry waits longer",
	policy.EventStopped:  "call given up",
	policy.EventCall:     "call ended",
	policy.EventSettled:  "result settled",
}

// Observe writes the line of an event, or counts a refusal.
func (l *Log) Observe(ctx context.Context, event policy.Event) {
	if int(event.Kind) >= len(messages) || !l.wants(event.Kind) {
		return
	}
	level, canceled := l.levels[event.Kind], canceled(ctx, event)
	if canceled {
		level = min(level, slog.LevelDebug)
	}
	if !l.logger.Enabled(ctx, level) {
		return
	}
	if event.Kind == policy.EventRejected && !canceled {
		l.refusals.note(ctx, event)
		return
	}
	l.write(ctx, level, messages[event.Kind], eventAttrs(ctx, event))
}

// canceled reports whether the caller has ended what the event is about. A retry that was stopped by its caller while it
// waited reports the attempt before, which was not.
func canceled(ctx context.Context, event policy.Event) bool {
	return event.Outcome.Canceled || event.Kind == policy.EventStopped && policy.Canceled(ctx)
}

func (l *Log) wants(kind policy.EventKind) bool {
	for _, k := range l.kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// Flush writes the lines for refusals that were counted but not yet logged, and waits for lines that are being written.
// Call it before a program ends. Without it the lines follow within the time of [RefusalsEvery]. A handler must not
// call Flush.
func (l *Log) Flush() { l.refusals.flush() }

// write writes a line whose attributes are in the group.
func (l *Log) write(ctx context.Context, level slog.Level, message string, attrs []slog.Attr) {
	l.logger.LogAttrs(ctx, level, message, slog.Attr{Key: l.config.group, Value: slog.GroupValue(attrs...)})
}

// eventAttrs returns what is set in an event.
func eventAttrs(ctx context.Context, event policy.Event) []slog.Attr {
	a := make(attrs, 0, 14)
	a = append(a, slog.String(attrEvent, event.Kind.String()))
	a.text(attrPipeline, event.Pipeline)
	if event.Layer != nil {
		a.text(attrKind, kindOf(event.Layer))
	}
	if event.Call > 0 {
		a = append(a, slog.Uint64(attrCall, event.Call))
	}
	if event.Attempt > 0 {
		a = append(a, slog.Int(attrAttempt, event.Attempt))
		if number := hedge.Attempt(ctx); number > 1 {
			a = append(a, slog.Int(attrHedge, number))
		}
	}
	a = append(a, slog.String(attrOutcome, outcomeOf(event.Outcome)))
	a.failure(event.Outcome)
	if event.Reason != nil {
		a.text(attrReason, oneline.Of(event.Reason))
	}
	a.duration(attrElapsed, event.Elapsed)
	a.duration(attrQueued, event.Queued)
	a.duration(attrWait, event.Wait)
	return a
}

// kindOf returns what kind of layer a layer is, from where it stands.
func kindOf(layer policy.Layer) string { return layer.Stage().String() }

// attrs grow by what is set.
type attrs []slog.Attr

func (a *attrs) text(key, value string) {
	if value != "" {
		*a = append(*a, slog.String(key, value))
	}
}

func (a *attrs) duration(key string, d time.Duration) {
	if d > 0 {
		*a = append(*a, slog.Duration(key, d))
	}
}

func (a *attrs) failure(o policy.Outcome) {
	if o.Class != policy.Unclassified {
		a.text(attrClass, o.Class.String())
	}
	if o.Err != nil {
		a.text(attrCode, policy.Code(o.Err))
		a.text(attrError, oneline.Of(o.Err))
	}
}
