package resilience_test

// Faults that need several policies at once, or every policy in turn; see faults_test.go.

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policytest"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// everyEngine returns one of each policy that keeps state.
func everyEngine() []policy.Layer {
	return []policy.Layer{
		breaker.New(), bulkhead.New(2, bulkhead.Queue(2, time.Minute)), hedge.New(), ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)),
		retry.New(), throttle.New(), timeout.PerAttempt(time.Second), timeout.Abandon(time.Second), timeout.Total(time.Minute),
	}
}

// What go vet looks for is a type with Lock and Unlock, at any depth, which sync/atomic's types have too.
func TestFault055_VetFlagsCopiesOfEveryPolicy(t *testing.T) {
	locker := reflect.TypeFor[sync.Locker]()
	var flagged func(typ reflect.Type) bool
	flagged = func(typ reflect.Type) bool {
		if reflect.PointerTo(typ).Implements(locker) {
			return true
		}
		switch typ.Kind() {
		case reflect.Array:
			return flagged(typ.Elem())
		case reflect.Struct:
			for field := range typ.Fields() {
				if flagged(field.Type) {
					return true
				}
			}
		}
		return false
	}
	for _, layer := range everyEngine() {
		typ := reflect.TypeOf(layer)
		require.Equal(t, reflect.Pointer, typ.Kind(), "%v is no pointer", typ)
		require.True(t, flagged(typ.Elem()), "go vet would not notice a copy of a %v", typ.Elem())
	}
	require.False(t, flagged(reflect.TypeFor[struct{ n int }]()), "the test finds locks where there are none")
}

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

func TestFault144_ABulkheadInsideItself(t *testing.T) {
	slots := bulkhead.New(1)
	for name, layers := range map[string][]policy.Layer{
		"twice":           {slots, slots},
		"at two stages":   {slots, policy.At(policy.StageShed, slots)},
		"nested pipeline": {slots, resilience.Compose(retry.New(), slots)},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, resilience.Validate(layers...), "bulkhead 1: the same instance occurs twice")
		})
	}
}

func TestFault168_AProbeThatWaitsForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opensAt(1, 5*time.Second, breaker.ProbeLease(5*time.Second))
		tokens := ratelimit.Every(10*time.Second, 1, ratelimit.MaxWait(time.Minute))
		backend := resilience.Compose(db, tokens)
		require.Equal(t, errBackend, backend.Run(t.Context(), func(context.Context) error { return errBackend }))
		time.Sleep(5 * time.Second) // the open time; the next token comes 5 s later
		_, ticket, err := tokens.Admit(t.Context())
		require.NoError(t, err)
		tokens.Settle(t.Context(), ticket, policy.Outcome{Kind: policy.Returned}) // somebody else takes it
		require.Equal(t, breaker.HalfOpen, db.State())

		first := make(chan error, 1)
		go func() { first <- backend.Run(context.Background(), func(context.Context) error { return nil }) }()
		synctest.Wait()
		require.ErrorIs(t, backend.Run(t.Context(), func(context.Context) error { return nil }), breaker.ErrOpen, "the slot is taken")

		time.Sleep(5 * time.Second) // the lease
		permit, err := policy.Acquire(t.Context(), db)
		require.NoError(t, err, "the lease is over: another probe")
		require.True(t, permit.Done(nil))
		require.Equal(t, breaker.Closed, db.State())
		require.NoError(t, <-first, "the probe that lost its lease is not interrupted")
		require.Equal(t, uint64(1), db.Snapshot().Stale, "and says nothing")
	})
}

func TestFault177_OrdersThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		layers []policy.Layer
		want   string
	}{
		"an attempt longer than the total":    {[]policy.Layer{timeout.Total(time.Second), timeout.PerAttempt(time.Second)}, "attempt timeout 1s: must be below"},
		"an abandon longer than the total":    {[]policy.Layer{timeout.Total(time.Second), timeout.Abandon(time.Minute)}, "must be below"},
		"an abandon inside a bulkhead":        {[]policy.Layer{policy.At(policy.StageShed, bulkhead.New(1)), timeout.Abandon(time.Second)}, "is inside bulkhead 1"},
		"two retries at one stage":            {[]policy.Layer{retry.New(), retry.New()}, "multiply"},
		"a hedge that the timeout forestalls": {[]policy.Layer{timeout.Total(time.Second), hedge.New(hedge.After(2 * time.Second))}, "would start after 2s"},
		"a window shorter than two attempts": {[]policy.Layer{
			breaker.New(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Second, 10)), timeout.PerAttempt(time.Second)}, "the window 1s is shorter than twice"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, resilience.Validate(c.layers...), c.want)
		})
	}
}

func TestFault179_TheNumberOfBucketsIsBounded(t *testing.T) {
	require.NoError(t, breaker.Validate(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Hour, 10_000)))
	for _, buckets := range []int{10_001, math.MaxInt, -1, 0} {
		err := breaker.Validate(breaker.FailureRate(0.5, 10), breaker.TimeWindow(time.Hour, buckets))
		require.ErrorContains(t, err, fmt.Sprint(buckets))
	}
	require.ErrorContains(t, breaker.Validate(breaker.FailureRate(0.5, 10), breaker.CountWindow(100_001)), "100001")
}

func TestFault183_ANumberThatLostItsUnit(t *testing.T) {
	for name, option := range map[string]breaker.Option{
		"OpenFor": breaker.OpenFor(5), "ProbeLease": breaker.ProbeLease(5), "Ramp": breaker.Ramp(5), "Growth": breaker.Growth(2, 5),
	} {
		require.ErrorContains(t, breaker.Validate(option), name)
		require.ErrorContains(t, breaker.Validate(option), "5ns")
	}
	require.Error(t, breaker.Validate(breaker.FailureRate(0.5, 10), breaker.TimeWindow(5, 1)))
	require.Error(t, breaker.Validate(breaker.SlowCalls(5, 0.5, 10)))
}

func TestFault230_RefusalsAreNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder policytest.Recorder
		db := opensAt(1, 5*time.Second)
		again := steady(3, time.Second)
		backend := resilience.Compose(again, db, resilience.Observe(&recorder))
		op := func(context.Context) error { time.Sleep(40 * time.Millisecond); return errBackend }
		require.ErrorIs(t, backend.Run(t.Context(), op), breaker.ErrOpen)
		require.ErrorIs(t, backend.Run(t.Context(), op), breaker.ErrOpen)

		attempts, refusals, calls := 0, 0, 0
		for _, event := range recorder.Events() {
			switch event.Kind {
			case policy.EventAttempt:
				attempts++
				require.Equal(t, 40*time.Millisecond, event.Elapsed)
				require.Equal(t, policy.Returned, event.Outcome.Kind)
			case policy.EventRejected:
				refusals++
				require.Zero(t, event.Elapsed)
				require.Equal(t, policy.NotCalled, event.Outcome.Kind)
			case policy.EventCall:
				calls++
			}
		}
		require.Equal(t, []int{1, 1, 2}, []int{attempts, refusals, calls})
	})
}
