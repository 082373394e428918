package policyprom_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func stack(more ...policy.Layer) *resilience.Pipeline {
	return named("users", append(more, retry.New(), breaker.New(), bulkhead.New(64))...)
}

func value(context.Context) (int, error) { return 1, nil }

func TestFault232_ACollectorCostsNoCallAnything(t *testing.T) {
	p := stack()
	gather(t, policyprom.NewCollector(policyprom.Pipelines(p)))
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(context.Background(), p, value) }))
}

// The histograms allocate nothing. What a call that is observed allocates is the engine's.
func TestFault232_TheHistogramsAllocateNothing(t *testing.T) {
	for name, d := range map[string]*policyprom.Durations{
		"classic": policyprom.NewDurations(), "native": policyprom.NewDurations(policyprom.Native()),
	} {
		attempt := policy.Event{Kind: policy.EventAttempt, Pipeline: "users", Outcome: policy.Outcome{Kind: policy.Returned}, Elapsed: time.Millisecond}
		call := attempt
		call.Kind = policy.EventCall
		d.Observe(context.Background(), attempt)
		d.Observe(context.Background(), call)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			d.Observe(context.Background(), attempt)
			d.Observe(context.Background(), call)
		}), name)
	}
}

func BenchmarkCall(b *testing.B) {
	collected := stack()
	registry := prometheus.NewRegistry()
	registry.MustRegister(policyprom.NewCollector(policyprom.Pipelines(collected)))
	none := policy.ObserveOnly(policy.ObserverFunc(func(context.Context, policy.Event) {}), policy.EventAttempt, policy.EventCall)
	for _, c := range []struct {
		name     string
		pipeline *resilience.Pipeline
	}{
		{"nothing", stack()},
		{"collector", collected},
		{"an observer that does nothing", stack(resilience.Observe(none))},
		{"durations", stack(resilience.Observe(policyprom.NewDurations()))},
		{"durations native", stack(resilience.Observe(policyprom.NewDurations(policyprom.Native())))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = resilience.Do(context.Background(), c.pipeline, value)
			}
		})
	}
}

func BenchmarkBothHistograms(b *testing.B) {
	for name, d := range map[string]*policyprom.Durations{
		"classic": policyprom.NewDurations(), "native": policyprom.NewDurations(policyprom.Native()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			event := policy.Event{Pipeline: "users", Outcome: policy.Outcome{Kind: policy.Returned}, Elapsed: time.Millisecond}
			for b.Loop() {
				event.Kind = policy.EventAttempt
				d.Observe(context.Background(), event)
				event.Kind = policy.EventCall
				d.Observe(context.Background(), event)
			}
		})
	}
}

func BenchmarkP3_AScrapeOf10000KeyedBreakers(b *testing.B) {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() }, keyed.Max(10_000))
	for i := range 10_000 {
		hosts.Get(fmt.Sprint(i))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(policyprom.NewCollector(policyprom.Registry("hosts", hosts)))
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
