package policyslog

import (
	"context"
	"log/slog"
)

// contained is a handler that survives a panic of the handler inside: the line is lost, nothing else.
type contained struct {
	next slog.Handler // nil: that of slog.Default at the time of the line
}

func (h contained) handler() slog.Handler {
	if h.next == nil {
		return slog.Default().Handler()
	}
	return h.next
}

func (h contained) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return h.handler().Enabled(ctx, level)
}

func (h contained) Handle(ctx context.Context, record slog.Record) error {
	defer func() { _ = recover() }()
	return h.handler().Handle(ctx, record)
}

func (h contained) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contained{h.handler().WithAttrs(attrs)}
}

func (h contained) WithGroup(name string) slog.Handler {
	return contained{h.handler().WithGroup(name)}
}
