package policyotel_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyotel"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/retry"
)

// call runs f inside a span of the caller, and returns all spans, the caller's last.
func call(t *testing.T, provider *sdktrace.TracerProvider, exporter *tracetest.InMemoryExporter, f func(context.Context)) tracetest.SpanStubs {
	t.Helper()
	ctx, span := provider.Tracer("test").Start(t.Context(), "caller")
	f(ctx)
	span.End()
	spans := exporter.GetSpans()
	exporter.Reset()
	return spans
}

func TestO5_EventsOnTheSpanOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, exporter := newTracer()
		traces := policyotel.NewTraces()
		b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(2), breaker.OnChange(traces.Change))
		p := named("users", retry.New(retry.Attempts(4), retry.Constant(time.Second), retry.NoJitter()), b, resilience.Observe(traces))
		spans := call(t, provider, exporter, func(ctx context.Context) {
			require.ErrorIs(t, p.Run(ctx, fail), breaker.ErrOpen)
		})
		require.Len(t, spans, 1, "no new span")
		require.Equal(t, codes.Unset, spans[0].Status.Code)
		var names []string
		for _, e := range spans[0].Events {
			names = append(names, e.Name)
		}
		require.Equal(t, []string{"resilience.retry", "resilience.breaker.state_change", "resilience.given_up"}, names)
		require.Equal(t, map[string]any{
			"resilience.attempt.number": int64(1), "resilience.pipeline.name": "users", "resilience.error.class": "transient", "resilience.retry.wait": 1.0,
		}, attrs(spans[0].Events[0].Attributes))
		require.Equal(t, map[string]any{
			"resilience.policy.name": "db", "resilience.breaker.from": "closed", "resilience.breaker.to": "open",
			"resilience.reason": "consecutive failures", "resilience.breaker.cause": "2 calls in a row failed, the limit is 2",
		}, attrs(spans[0].Events[1].Attributes))
		require.Equal(t, map[string]any{
			"resilience.attempt.number": int64(2), "resilience.pipeline.name": "users", "resilience.error.class": "transient",
			"resilience.error.code": "breaker.open", "resilience.reason": "breaker.open",
		}, attrs(spans[0].Events[2].Attributes))

		spans = call(t, provider, exporter, func(ctx context.Context) {
			require.ErrorIs(t, p.Run(ctx, fail), breaker.ErrOpen)
		})
		require.Len(t, spans[0].Events, 1)
		require.Equal(t, "resilience.rejected", spans[0].Events[0].Name)
		require.Equal(t, map[string]any{
			"resilience.attempt.number": int64(1), "resilience.pipeline.name": "users", "resilience.error.class": "ignored",
			"resilience.error.code": "breaker.open", "resilience.policy.name": "db", "resilience.policy.type": "breaker",
		}, attrs(spans[0].Events[0].Attributes))
	})
}

func TestO5_ASuccessAndACallWithoutASpanHaveNoEvents(t *testing.T) {
	provider, exporter := newTracer()
	traces := policyotel.NewTraces()
	p := named("users", retry.New(retry.Attempts(2), retry.Constant(0)), resilience.Observe(traces))
	require.Empty(t, call(t, provider, exporter, func(ctx context.Context) { require.NoError(t, p.Run(ctx, ok)) })[0].Events)
	require.Error(t, p.Run(t.Context(), fail))
	require.Empty(t, exporter.GetSpans())
}

func TestO5_AnOldChangeIsOnNoSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, exporter := newTracer()
		traces := policyotel.NewTraces()
		b := breaker.New(breaker.OpenFor(time.Hour), breaker.OnChange(traces.Change))
		for range 20 {
			b.Trip()
			b.Reset()
		}
		b.Trip()
		p := named("users", b, resilience.Observe(traces))
		run := func(ctx context.Context) { require.Error(t, p.Run(ctx, ok)) }
		require.Len(t, call(t, provider, exporter, run)[0].Events, 16+1, "the latest are kept")
		b.Reset()
		b.Trip()
		time.Sleep(11 * time.Second)
		require.Len(t, call(t, provider, exporter, run)[0].Events, 1)
	})
}

func TestO5_OneSpanPerAttemptOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, exporter := newTracer()
		b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(3))
		p := named("users", retry.New(retry.Attempts(3), retry.Constant(time.Second), retry.NoJitter()), b, policyotel.Attempts(provider))
		tries := 0
		spans := call(t, provider, exporter, func(ctx context.Context) {
			require.NoError(t, p.Run(ctx, func(ctx context.Context) error {
				_, inner := provider.Tracer("test").Start(ctx, "query")
				defer inner.End()
				if tries++; tries < 3 {
					return errDown
				}
				return nil
			}))
		})
		require.Len(t, spans, 7, "three queries in three attempts in one caller")
		caller := spans[6]
		require.Equal(t, codes.Unset, caller.Status.Code, "the call was rescued")
		for i := range 3 {
			query, attempt := spans[2*i], spans[2*i+1]
			require.Equal(t, attempt.SpanContext.SpanID(), query.Parent.SpanID())
			require.Equal(t, caller.SpanContext.SpanID(), attempt.Parent.SpanID())
			require.Equal(t, trace.SpanKindInternal, attempt.SpanKind)
			require.Equal(t, "resilience.attempt", attempt.Name)
			require.EqualValues(t, i+1, attrs(attempt.Attributes)["resilience.attempt.number"])
		}
		require.Equal(t, "_OTHER", attrs(spans[1].Attributes)["error.type"])
		require.Equal(t, codes.Error, spans[1].Status.Code)
		require.Equal(t, codes.Unset, spans[5].Status.Code)

		b.Trip()
		spans = call(t, provider, exporter, func(ctx context.Context) { require.Error(t, p.Run(ctx, ok)) })
		require.Len(t, spans, 2)
		refused := spans[0]
		require.Zero(t, refused.EndTime.Sub(refused.StartTime), "a short span")
		require.Equal(t, "breaker.open", attrs(refused.Attributes)["error.type"])
		require.Equal(t, "rejected", attrs(refused.Attributes)["resilience.outcome"])
	})
}

func TestFault231_EverySpanEnds(t *testing.T) {
	provider, exporter := newTracer()
	attempts := policyotel.Attempts(provider)
	p := named("users", attempts)
	ends := func(outcome string, status codes.Code, f func(ctx context.Context)) {
		t.Helper()
		spans := call(t, provider, exporter, f)
		require.NotEmpty(t, spans)
		require.Len(t, spans, 2, outcome)
		require.Equal(t, outcome, attrs(spans[0].Attributes)["resilience.outcome"])
		require.Equal(t, status, spans[0].Status.Code)
	}
	ends("panicked", codes.Error, func(ctx context.Context) {
		require.Panics(t, func() { _ = p.Run(ctx, func(context.Context) error { panic("!") }) })
	})
	ends("panicked", codes.Error, func(ctx context.Context) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = p.Run(ctx, func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-done
	})
	ends("canceled", codes.Unset, func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		require.Error(t, p.Run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() }))
	})
	// A result that stays open: the span ends when the operation has returned.
	ends("succeeded", codes.Unset, func(ctx context.Context) {
		_, permit, err := resilience.Open(ctx, p, func(context.Context) (int, error) { return 1, nil })
		require.NoError(t, err)
		require.Len(t, exporter.GetSpans(), 1)
		require.True(t, permit.Done(errDown))
	})
	_, permit, err := resilience.Open(t.Context(), p, func(context.Context) (int, error) { return 0, errDown })
	require.ErrorIs(t, err, errDown)
	require.Nil(t, permit)
	require.Len(t, exporter.GetSpans(), 1)
}

func TestO5_AttemptsOfAHedgeAreSpansOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, exporter := newTracer()
		p := named("users", hedge.New(hedge.Idempotent(), hedge.After(10*time.Millisecond)), policyotel.Attempts(provider))
		require.NoError(t, p.Run(t.Context(), func(ctx context.Context) error {
			if hedge.Attempt(ctx) == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}))
		synctest.Wait()
		outcomes := map[any]any{}
		for _, span := range exporter.GetSpans() {
			found := attrs(span.Attributes)
			outcomes[found["resilience.hedge.number"]] = found["resilience.outcome"]
		}
		require.Equal(t, map[any]any{nil: "canceled", int64(2): "succeeded"}, outcomes)
	})
}

func TestAttemptsIsAGuardByTheRules(t *testing.T) {
	provider, _ := newTracer()
	policytest.Guard(t, func() policy.Guard { return policyotel.Attempts(provider).(policy.Guard) })
}

// processor is a span processor that does what it is told.
type processor struct{ start, end func() }

func (p processor) OnStart(context.Context, sdktrace.ReadWriteSpan) { p.start() }
func (p processor) OnEnd(sdktrace.ReadOnlySpan)                     { p.end() }
func (processor) Shutdown(context.Context) error                    { return nil }
func (processor) ForceFlush(context.Context) error                  { return nil }

func TestFault231_ASpanProcessorThatPanicsChangesNoCall(t *testing.T) {
	nothing := func() {}
	bad := func() { panic("processor") }
	for name, p := range map[string]processor{"start": {bad, nothing}, "end": {nothing, bad}} {
		t.Run(name, func(t *testing.T) {
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))
			p := named("users", retry.New(retry.Attempts(2), retry.Constant(0)), policyotel.Attempts(provider), resilience.Observe(policyotel.NewTraces()))
			tries := 0
			require.NoError(t, p.Run(t.Context(), func(context.Context) error {
				if tries++; tries == 1 {
					return errDown
				}
				return nil
			}))
			require.ErrorIs(t, p.Run(t.Context(), fail), errDown)
		})
	}
}

// A processor that blocks holds the call whose span ends, as documented; with the batching one no call waits for an exporter.
func TestFault231_AnExporterThatHangsHoldsNoCallWhenItIsBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		slow := &hanging{hang: hang}
		batched := sdktrace.NewTracerProvider(sdktrace.WithBatcher(slow, sdktrace.WithBatchTimeout(time.Second)))
		before := time.Now()
		for range 100 {
			require.NoError(t, named("users", policyotel.Attempts(batched)).Run(t.Context(), ok))
		}
		require.Zero(t, time.Since(before))
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 1, slow.hangs.Load(), "it does hang")
		require.NoError(t, named("users", policyotel.Attempts(batched)).Run(t.Context(), ok))

		synchronous := sdktrace.NewTracerProvider(sdktrace.WithSyncer(&hanging{hang: hang}))
		done := make(chan error)
		go func() { done <- named("users", policyotel.Attempts(synchronous)).Run(t.Context(), ok) }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("the call does not wait: then it need not be documented")
		default:
		}
		close(hang)
		require.NoError(t, <-done)
		require.NoError(t, batched.Shutdown(t.Context()))
		require.NoError(t, synchronous.Shutdown(t.Context()))
	})
}

// hanging is an exporter that hangs.
type hanging struct {
	hang  chan struct{}
	hangs atomic.Int64
}

func (e *hanging) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	e.hangs.Add(1)
	<-e.hang
	return nil
}
func (*hanging) Shutdown(context.Context) error { return nil }

// O6: http.Client over a retry over otelhttp over ResendCount over the wire.
func TestO6_ARequestThatIsSentAgainSaysSo(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	provider, exporter := newTracer()
	base := &http.Transport{}
	transport := otelhttp.NewTransport(policyotel.ResendCount(base), otelhttp.WithTracerProvider(provider))
	p := named("users", retry.New(retry.Attempts(3), retry.Constant(time.Millisecond)), resilience.Observe(policyotel.NewTraces()))
	spans := call(t, provider, exporter, func(ctx context.Context) {
		require.NoError(t, p.Run(ctx, func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
			if err != nil {
				return err
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			_, _ = io.Copy(io.Discard, response.Body)
			if response.StatusCode >= 500 {
				return errDown
			}
			return nil
		}))
	})
	require.Len(t, spans, 4)
	var counts []any
	for _, span := range spans[:3] {
		require.True(t, strings.HasPrefix(span.Name, "HTTP"), span.Name)
		counts = append(counts, attrs(span.Attributes)["http.request.resend_count"])
	}
	require.Equal(t, []any{nil, int64(1), int64(2)}, counts)
	require.Equal(t, codes.Unset, spans[3].Status.Code, "rescued")
	policyotel.ResendCount(base).(interface{ CloseIdleConnections() }).CloseIdleConnections()
	policyotel.ResendCount(nil).(interface{ CloseIdleConnections() }).CloseIdleConnections()
}
