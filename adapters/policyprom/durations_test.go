package policyprom_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestFault230_RefusalsAreNoFastAnswersAndAttemptsAreNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := policyprom.NewDurations()
		b := breaker.New(breaker.ConsecutiveFailures(3))
		p := named("users", retry.New(retry.Attempts(3), retry.Constant(time.Second), retry.NoJitter()), b, resilience.Observe(d))
		require.Error(t, p.Run(t.Context(), func(context.Context) error { time.Sleep(100 * time.Millisecond); return errDown }))
		for range 10 {
			require.ErrorIs(t, p.Run(t.Context(), ok), breaker.ErrOpen)
		}
		s := gather(t, d)
		require.EqualValues(t, 1, s.of("resilience_call_duration_seconds")["outcome=failed pipeline=users"])
		require.EqualValues(t, 3, s.of("resilience_attempt_duration_seconds")["outcome=failed pipeline=users"])
		require.Contains(t, s.text(t), `resilience_call_duration_seconds_sum{outcome="failed",pipeline="users"} 2.3`)
		require.InDelta(t, 0.3, sumOf(s, "resilience_attempt_duration_seconds", "failed"), 1e-9)
		for labels, n := range s.of("resilience_call_duration_seconds") {
			if labels != "outcome=failed pipeline=users" {
				require.Zero(t, n, labels)
			}
		}
		require.NotContains(t, s.text(t), "rejected")
	})
}

func sumOf(s samples, name, outcome string) float64 {
	for _, family := range s.families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == outcome {
				return m.GetHistogram().GetSampleSum()
			}
		}
	}
	return -1
}

func TestDurations_EveryWayToEnd(t *testing.T) {
	d := policyprom.NewDurations()
	observe := resilience.Observe(d)
	p := named("users", observe)
	require.NoError(t, p.Run(t.Context(), ok))
	require.Error(t, p.Run(t.Context(), fail))
	require.Panics(t, func() { _ = p.Run(t.Context(), func(context.Context) error { panic("!") }) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(context.Background(), func(context.Context) error { runtime.Goexit(); return nil })
	}()
	<-done
	ctx, cancel := context.WithCancel(t.Context())
	require.Error(t, p.Run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() }))
	expected := named("users", observe, resilience.Classify(func(error) policy.Class { return policy.Expected }))
	require.Error(t, expected.Run(t.Context(), fail))
	require.Equal(t, map[string]float64{
		"outcome=succeeded pipeline=users": 1, "outcome=failed pipeline=users": 1, "outcome=panicked pipeline=users": 2,
		"outcome=canceled pipeline=users": 1, "outcome=expected pipeline=users": 1,
	}, gather(t, d).of("resilience_call_duration_seconds"))
}

func TestUM5_PipelinesMadePerKeyAddABoundedNumberOfSeries(t *testing.T) {
	d := policyprom.NewDurations(policyprom.ForPipelines("users"))
	for i := range 1000 {
		require.NoError(t, named(fmt.Sprintf("host-%d", i), resilience.Observe(d)).Run(t.Context(), ok))
	}
	s := gather(t, d)
	require.Len(t, s.of("resilience_call_duration_seconds"), 5*101)
	require.EqualValues(t, 901, s.of("resilience_call_duration_seconds")["outcome=succeeded pipeline=other"])
	require.EqualValues(t, 1, s.of("resilience_call_duration_seconds")["outcome=succeeded pipeline=host-98"])
}

func TestDurations_NativeHistogramsOnRequest(t *testing.T) {
	for _, c := range []struct {
		opts            []policyprom.DurationsOption
		classic, native bool
	}{
		{nil, true, false},
		{[]policyprom.DurationsOption{policyprom.Native()}, false, true},
		{[]policyprom.DurationsOption{policyprom.Native(), policyprom.Buckets(0.1, 1)}, true, true},
	} {
		d := policyprom.NewDurations(c.opts...)
		require.NoError(t, named("users", resilience.Observe(d)).Run(t.Context(), ok))
		for _, family := range gather(t, d).families {
			h := family.GetMetric()[0].GetHistogram()
			require.Equal(t, c.classic, len(h.GetBucket()) > 0)
			require.Equal(t, c.native, h.Schema != nil)
		}
	}
}

// A bucket leads to a call that was in it. What an exemplar may not be costs the exemplar, not the count.
func TestDurations_ExemplarsOnRequest(t *testing.T) {
	type traceKey struct{}
	for _, native := range []bool{false, true} {
		opts := []policyprom.DurationsOption{policyprom.Exemplars(func(ctx context.Context) prometheus.Labels {
			switch id := ctx.Value(traceKey{}).(type) {
			case string:
				return prometheus.Labels{"trace_id": id}
			case error:
				panic(id)
			}
			return nil
		})}
		if native {
			opts = append(opts, policyprom.Native())
		}
		d := policyprom.NewDurations(opts...)
		p := named("users", resilience.Observe(d))
		for _, trace := range []any{"4bf92f3577b34da6", nil, strings.Repeat("x", 200), "\xff", errDown} {
			require.NoError(t, p.Run(context.WithValue(t.Context(), traceKey{}, trace), ok))
		}
		found := gather(t, d)
		require.EqualValues(t, 5, found.of("resilience_call_duration_seconds")["outcome=succeeded pipeline=users"])
		var ids []string
		for _, family := range found.families {
			for _, m := range family.GetMetric() {
				exemplars := m.GetHistogram().GetExemplars()
				for _, bucket := range m.GetHistogram().GetBucket() {
					if bucket.GetExemplar() != nil {
						exemplars = append(exemplars, bucket.GetExemplar())
					}
				}
				for _, e := range exemplars {
					ids = append(ids, e.GetLabel()[0].GetValue())
				}
			}
		}
		require.Equal(t, []string{"4bf92f3577b34da6"}, slices.Compact(ids), "native: %v", native)
	}
}

func TestDurations_ABadOptionIsRefused(t *testing.T) {
	for problem, opt := range map[string]policyprom.DurationsOption{
		"option 1 is nil":   nil,
		"Buckets([1 1])":    policyprom.Buckets(1, 1),
		"Buckets([0])":      policyprom.Buckets(0),
		"Buckets([-1])":     policyprom.Buckets(-1),
		"ForPipelines: 101": policyprom.ForPipelines(make([]string, 101)...),
		"Buckets([1e+300])": policyprom.Buckets(1e300),
	} {
		func() {
			defer func() {
				err, isConfig := recover().(*policy.ConfigError)
				require.True(t, isConfig, problem)
				require.ErrorContains(t, err, problem)
			}()
			policyprom.NewDurations(opt)
		}()
	}
}
