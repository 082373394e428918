package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// A random pipeline under a wrapper that calls concurrently: whatever its calls come to, every admission is settled once
// and exactly one result has an owner. Run it with -race.
func TestConcurrentCallsOfAWrapperAreAllSettled(t *testing.T) {
	for _, open := range []bool{false, true} {
		inner, outer := &meter{}, &probe{stage: policy.StageShed}
		var discarded atomic.Int64
		var succeeded atomic.Int64
		m := &many{calls: 6, onDiscard: func(any) { discarded.Add(1) }}
		p := resilience.Compose(resilience.Name("raced"), outer, m, &fussy{}, inner, policy.At(policy.StageChaos, &decided{}))
		won := int64(0)
		for round := range 300 {
			op := func(ctx context.Context) (int, error) {
				if n := rand.IntN(4); n == 0 || round%10 == 0 {
					return 0, errBackend
				}
				succeeded.Add(1)
				return round + 1, nil
			}
			var permit *policy.Permit
			var err error
			if open {
				_, permit, err = resilience.Open(context.Background(), p, op)
			} else {
				_, err = resilience.Do(context.Background(), p, op)
			}
			if err == nil {
				won++
				require.Equal(t, open, permit.Context().Err() == nil && permit.Done(nil))
			} else {
				require.Nil(t, permit)
			}
			require.Equal(t, inner.admitted.Load(), inner.settled.Load())
			require.Equal(t, outer.admitted.Load(), outer.settled.Load())
		}
		require.Equal(t, succeeded.Load(), won+discarded.Load())
		require.EqualValues(t, won, p.Report().Calls.Succeeded)
	}
}

// fussy is a guard that refuses now and then.
type fussy struct{ quietGuard }

func (*fussy) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	if rand.IntN(8) == 0 {
		return ctx, policy.Ticket{}, errRefused
	}
	return ctx, policy.Ticket{}, nil
}
