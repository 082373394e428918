package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
)

// Run it with -race.
func TestFault057_PrintingDuringTraffic(t *testing.T) {
	engines := everyEngine()
	pipeline := resilience.Compose(engines[0], engines[1], engines[3], engines[4], engines[5], engines[6], engines[8])
	var traffic sync.WaitGroup
	for worker := range 4 {
		traffic.Go(func() {
			for i := range 200 {
				_ = pipeline.Run(t.Context(), func(context.Context) error {
					if (i+worker)%3 == 0 {
						return errBackend
					}
					return nil
				})
			}
		})
	}
	for range 50 {
		require.NotEmpty(t, fmt.Sprint(pipeline))
		for _, engine := range engines {
			require.NotEmpty(t, fmt.Sprint(engine))
			require.NotEmpty(t, reflect.ValueOf(engine).MethodByName("Snapshot").Call(nil))
		}
	}
	traffic.Wait()
}

// TestFault176_LedgerOfAPipelineUnderLoad: what the observer counted adds up, and agrees with what the callers saw.
func TestFault176_LedgerOfAPipelineUnderLoad(t *testing.T) {
	recorder := &policytest.Recorder{}
	db := breaker.New(breaker.FailureRate(0.5, 10), breaker.CountWindow(20), breaker.OpenFor(time.Millisecond))
	slots := bulkhead.New(4, bulkhead.Queue(4, time.Millisecond))
	p := resilience.Compose(resilience.Observe(recorder), steady(3, 0), db, slots)
	var entered, panics, successes, cancelled, others atomic.Int64
	const callers, each = 16, 200
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(context.Background())
				recovered, _ := caught(func() {
					_, err := resilience.Do(ctx, p, func(context.Context) (int, error) {
						entered.Add(1)
						switch (caller + i) % 7 {
						case 0:
							return 0, errBackend
						case 1:
							panic("boom")
						case 2:
							cancel()
							return 0, ctx.Err()
						}
						return 1, nil
					})
					switch {
					case err == nil:
						successes.Add(1)
					case errors.Is(err, context.Canceled):
						cancelled.Add(1)
					default:
						others.Add(1)
					}
				})
				if recovered != nil {
					panics.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	require.Equal(t, callers*each, recorder.Count(policy.EventCall))
	require.EqualValues(t, entered.Load(), recorder.Count(policy.EventAttempt))
	require.EqualValues(t, callers*each, successes.Load()+cancelled.Load()+others.Load()+panics.Load())
	ended := map[policy.Kind]int64{}
	succeeded := int64(0)
	for _, event := range recorder.Events() {
		if event.Kind == policy.EventCall {
			ended[event.Outcome.Kind]++
			if event.Outcome.Succeeded() {
				succeeded++
			}
		}
	}
	require.Equal(t, successes.Load(), succeeded)
	require.Equal(t, panics.Load(), ended[policy.Panicked])
	require.Zero(t, ended[policy.Exited])
	require.Zero(t, slots.Snapshot().InFlight)
	require.Positive(t, panics.Load())
	require.Positive(t, others.Load())
}
