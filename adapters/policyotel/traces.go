package policyotel

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"go.opentelemetry.io/otel"

	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// Traces is an observer that adds events to the span in the context of a call: resilience.retry, resilience.rejected,
// resilience.given_up, and, with [Traces.Change], resilience.breaker.state_change. It makes no spans and changes no
// status. A call that succeeds at its first attempt costs next to nothing. Make it with [NewTraces]. It is safe for
// concurrent use.
type Traces struct {
	waiting atomic.Int32 // changes
	mu      sync.Mutex
	changes []breaker.Change // that no span has yet, the oldest first
}

var _ policy.KindObserver = (*Traces)(nil)

// NewTraces returns a Traces.
func NewTraces() *Traces { return &Traces{} }

// ObservedKinds returns refusals, retries, waits and stops.
func (t *Traces) ObservedKinds() []policy.EventKind {
	return []policy.EventKind{policy.EventRejected, policy.EventRetry, policy.EventWait, policy.EventStopped}
}

// Observe adds an event to the span of the caller.
func (t *Traces) Observe(ctx context.Context, event policy.Event) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	t.takeChanges(span)
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, attribute.Int(attrAttempt, event.Attempt))
	attrs = appendText(attrs, attrPipeline, event.Pipeline)
	if number := hedge.Attempt(ctx); number > 1 {
		attrs = append(attrs, attribute.Int(attrHedge, number))
	}
	attrs = appendError(attrs, event.Outcome)
	var name string
	switch event.Kind {
	case policy.EventRetry, policy.EventWait:
		name = eventRetry
		if event.Kind == policy.EventWait {
			name = eventWait
		}
		attrs = append(attrs, attribute.Float64(attrWait, event.Wait.Seconds()))
	case policy.EventRejected:
		name = eventRejected
		if rejection, ok := match.As[*policy.Rejection](event.Outcome.Err); ok {
			attrs = append(appendText(attrs, attrPolicy, rejection.Name), attribute.String(attrType, rejection.Kind))
		}
	case policy.EventStopped:
		name = eventStopped
		attrs = appendText(attrs, attrReason, policy.Code(event.Reason))
	default:
		return
	}
	span.AddEvent(name, trace.WithAttributes(attrs...))
}

func appendText(attrs []attribute.KeyValue, key, text string) []attribute.KeyValue {
	if text == "" {
		return attrs
	}
	return append(attrs, attribute.String(key, target.Text(text)))
}

// appendError adds what an outcome says of its error, if it has one.
func appendError(attrs []attribute.KeyValue, o policy.Outcome) []attribute.KeyValue {
	if o.Class != policy.Unclassified {
		attrs = append(attrs, attribute.String(attrClass, o.Class.String()))
	}
	return appendText(attrs, attrCode, policy.Code(o.Err))
}

// What is kept of changes that no span has yet.
const (
	maxChanges = 16
	maxAge     = 10 * time.Second
)

// Change is a subscriber for changes of a breaker: breaker.OnChange(traces.Change). A change has no context, so it is
// added to the next span that gets an event. That is the span of the call that caused the change if that call retries
// or gives up, and otherwise the span of the first refused call. A change that has waited for 10 s is dropped.
func (t *Traces) Change(change breaker.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.changes) == maxChanges {
		t.changes = slices.Delete(t.changes, 0, 1)
	}
	t.changes = append(t.changes, change)
	t.waiting.Store(int32(len(t.changes)))
}

// takeChanges adds the changes that wait to a span.
func (t *Traces) takeChanges(span trace.Span) {
	if t.waiting.Load() == 0 {
		return
	}
	t.mu.Lock()
	changes := t.changes
	t.changes = nil
	t.waiting.Store(0)
	t.mu.Unlock()
	for _, c := range changes {
		if time.Since(c.At) > maxAge {
			continue
		}
		attrs := appendText(nil, attrPolicy, c.Snapshot.Name)
		attrs = append(attrs, attribute.String(attrFrom, c.From.String()), attribute.String(attrTo, c.To.String()),
			attribute.String(attrReason, c.Reason.String()))
		attrs = appendText(attrs, attrCause, c.Cause.String())
		span.AddEvent(eventChange, trace.WithTimestamp(c.At), trace.WithAttributes(attrs...))
	}
}

// Attempts returns a layer that makes one span of kind INTERNAL for each attempt, around everything inside retry and
// hedge. The span covers the time in queues and the operation, whose own spans are its children. A refused attempt is a
// short span with error.type. The tracer is taken from provider once; nil stands for the global provider.
//
// The span ends when the operation has returned, also for a result that stays open. It costs one allocation for a
// context, plus what the SDK needs.
func Attempts(provider trace.TracerProvider) policy.Layer {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return &attempts{provider.Tracer(scope)}
}

// attempts is a guard that admits everything. It has no report: it is no policy.
type attempts struct{ tracer trace.Tracer }

var (
	_ policy.Guard    = (*attempts)(nil)
	_ policy.Returner = (*attempts)(nil)
)

func (*attempts) String() string { return "attempt spans" }

// Stage is inside retry and hedge, and outside everything else.
func (*attempts) Stage() policy.Stage { return policy.StageHedge + 50 }

// Idle reports true: nothing is lost with it.
func (*attempts) Idle() bool { return true }

// spanKey finds the span of an attempt: the span in the context may be another.
type spanKey struct{ of *attempts }

// Admit begins the span. A panic of the SDK costs the span.
func (a *attempts) Admit(ctx context.Context) (admitted context.Context, _ policy.Ticket, _ error) {
	admitted = ctx
	defer func() {
		if recover() != nil {
			admitted = context.WithValue(ctx, spanKey{a}, trace.Span(nil))
		}
	}()
	attrs := []attribute.KeyValue{attribute.Int(attrAttempt, retry.Attempt(ctx))}
	if number := hedge.Attempt(ctx); number > 1 {
		attrs = append(attrs, attribute.Int(attrHedge, number))
	}
	inner, span := a.tracer.Start(ctx, spanAttempt, trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(attrs...))
	return context.WithValue(inner, spanKey{a}, span), policy.Ticket{}, nil
}

// Returned ends the span of a result that stays open.
func (a *attempts) Returned(ctx context.Context, ticket policy.Ticket) policy.Ticket {
	a.end(ctx, policy.Outcome{Kind: policy.Returned})
	ticket.Number = ended
	return ticket
}

// ended marks the ticket of a span that has ended.
const ended = 1

// Settle ends the span.
func (a *attempts) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ticket.Number != ended {
		a.end(ctx, outcome)
	}
}

// end ends the span of an attempt. A panic of the SDK is dropped.
func (a *attempts) end(ctx context.Context, outcome policy.Outcome) {
	defer func() { _ = recover() }()
	span, _ := ctx.Value(spanKey{a}).(trace.Span)
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	how := target.OutcomeOf(outcome)
	span.SetAttributes(appendError([]attribute.KeyValue{attribute.String(attrOutcome, target.Outcomes[how])}, outcome)...)
	switch how {
	case target.Succeeded, target.Expected, target.Canceled:
	default:
		span.SetAttributes(attribute.String(attrErrorType, errorType(how, outcome.Err)))
		span.SetStatus(codes.Error, "")
	}
}

// errorType returns a word of low cardinality: the code of an error, or how it ended.
func errorType(how target.Outcome, err error) string {
	switch code := policy.Code(err); {
	case code != "":
		return target.Text(code)
	case how == target.Panicked:
		return target.Outcomes[how]
	}
	return "_OTHER" // of the semantic conventions
}
