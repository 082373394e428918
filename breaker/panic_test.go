package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// caught returns what op's panic is when it comes out of the breaker.
func caught(b *breaker.Breaker, op func(context.Context) error) (value any) {
	defer func() { value = recover() }()
	_ = do(b, op)
	return nil
}

func TestFault058_ThePanicValueIsTheSame(t *testing.T) {
	b := tripAt(100)
	for _, value := range []any{http.ErrAbortHandler, "text", 7, errDown, &struct{}{}} {
		require.Equal(t, value, caught(b, func(context.Context) error { panic(value) }))
	}
	require.EqualValues(t, 5, b.Snapshot().Failures)
}

func TestFault059_PanicsAreFailures(t *testing.T) {
	b := tripAt(3)
	for range 3 {
		require.Equal(t, breaker.Closed, b.State())
		require.NotNil(t, caught(b, func(context.Context) error { panic("boom") }))
	}
	require.Equal(t, breaker.Open, b.State())
	exits := tripAt(3)
	for range 3 {
		exit(exits)
	}
	require.Equal(t, breaker.Open, exits.State())
}

func TestFault060_TheClassifierPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var classifier func(error) policy.Class
		b := tripAt(2, breaker.Classify(func(err error) policy.Class { return classifier(err) }))
		classifier = func(error) policy.Class { panic("classifier") }
		for range 2 {
			require.Equal(t, breaker.Closed, b.State())
			require.Equal(t, "classifier", caught(b, fail))
		}
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(D)
		require.Equal(t, "classifier", caught(b, fail))
		require.Equal(t, breaker.Open, b.State())
		require.EqualValues(t, 3, b.Snapshot().Failures, "counted once each")
		require.ErrorIs(t, b.Snapshot().Cause, errDown)
		time.Sleep(D)

		classifier = func(error) policy.Class { runtime.Goexit(); return policy.Expected }
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = do(b, fail)
		}()
		<-done
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
		identity(t, b.Snapshot())
	})
}

func TestFault062_AllKindsOfPanics(t *testing.T) {
	b := tripAt(100)
	var none map[string]int
	var nothing *http.Request
	_, isNilError := caught(b, func(context.Context) error { panic(nil) }).(*runtime.PanicNilError)
	require.True(t, isNilError)
	for _, op := range []func(context.Context) error{
		func(context.Context) error { none["x"] = 1; return nil },
		func(context.Context) error { return nothing.Context().Err() },
	} {
		_, isRuntimeError := caught(b, op).(runtime.Error)
		require.True(t, isRuntimeError)
	}
	require.EqualValues(t, 3, b.Snapshot().Failures)
	require.Equal(t, 3, b.Snapshot().ConsecutiveFailures)
}

func TestFault066_APanicLeavesNothingInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Probes(3), breaker.Successes(2))
		failTimes(b, 1)
		time.Sleep(D)
		require.NotNil(t, caught(b, func(context.Context) error { panic("boom") }))
		s := b.Snapshot()
		require.Zero(t, s.InFlight)
		require.Zero(t, s.Probes)
		identity(t, s)
	})
}

func TestFault068_TheSourceOfChancePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chance := func() float64 { panic("chance") }
		b := breaker.New(breaker.ConsecutiveFailures(1), breaker.OpenFor(D), breaker.Ramp(D), breaker.Rand(luck(func() float64 { return chance() })))
		require.Equal(t, "chance", caught(b, fail))
		require.Equal(t, breaker.Open, b.State(), "not settled")
		time.Sleep(D)
		require.Equal(t, "chance", caught(b, ok))
		chance = func() float64 { return 0 }
		require.NoError(t, do(b, ok))
		require.Equal(t, breaker.Closed, b.State())
		identity(t, b.Snapshot())
	})
}

func TestFault061_TheErrorThatOpensPanics(t *testing.T) {
	b := breaker.New(breaker.ConsecutiveFailures(1), breaker.RetryAfter(time.Minute))
	require.Nil(t, caught(b, func(context.Context) error { return hint(func() time.Duration { panic("hint") }) }), "it says nothing")
	require.Equal(t, breaker.Open, b.State())
}

func TestFault070_APanicThatTheOperationRecovered(t *testing.T) {
	b := tripAt(1)
	err := do(b, func(context.Context) (err error) {
		defer func() { err = fmt.Errorf("recovered: %v", recover()) }()
		panic("boom")
	})
	require.EqualError(t, err, "recovered: boom")
	require.Equal(t, breaker.Open, b.State())
}

// TestOutcomes settles every kind of outcome in every kind of state: each must be counted exactly once, and no slot and
// no lock may be lost.
func TestOutcomes(t *testing.T) {
	outcomes := map[string]struct {
		outcome policy.Outcome
		cancel  bool
		verdict policy.Verdict
		panics  bool
	}{
		"success":             {outcome: policy.Outcome{Kind: policy.Returned}, verdict: policy.Success},
		"failure":             {outcome: policy.Outcome{Kind: policy.Returned, Err: errDown}, verdict: policy.Failure},
		"neutral":             {outcome: policy.Outcome{Kind: policy.Returned, Err: errNeutral}, verdict: policy.Neutral},
		"panic":               {outcome: policy.Outcome{Kind: policy.Panicked}, verdict: policy.Failure},
		"exit":                {outcome: policy.Outcome{Kind: policy.Exited}, verdict: policy.Failure},
		"not called":          {outcome: policy.Outcome{Kind: policy.NotCalled, Err: errDown}, verdict: policy.Neutral},
		"cancelled":           {outcome: policy.Outcome{Kind: policy.Returned, Err: errDown}, cancel: true, verdict: policy.Neutral},
		"cancelled success":   {outcome: policy.Outcome{Kind: policy.Returned}, cancel: true, verdict: policy.Success},
		"deadline":            {outcome: policy.Outcome{Kind: policy.Returned, Err: context.DeadlineExceeded}, verdict: policy.Failure},
		"rejection":           {outcome: policy.Outcome{Kind: policy.Returned, Err: &policy.Rejection{}}, verdict: policy.Neutral},
		"classified success":  {outcome: policy.Outcome{Kind: policy.Returned, Err: errFine}, verdict: policy.Success},
		"nonsense":            {outcome: policy.Outcome{Kind: policy.Returned, Err: errNonsense}, verdict: policy.Failure},
		"classifier panicked": {outcome: policy.Outcome{Kind: policy.Returned, Err: errExplosive}, verdict: policy.Failure, panics: true},
	}
	states := map[string]struct {
		prepare func(*breaker.Breaker)
		after   func(*breaker.Breaker)
		stale   bool
		// displaced: another probe is in flight in its place
		displaced bool
		want      [3]breaker.State // after Failure, Success, Neutral
	}{
		"closed":        {want: [3]breaker.State{breaker.Open, breaker.Closed, breaker.Closed}},
		"half-open":     {prepare: half, want: [3]breaker.State{breaker.Open, breaker.Closed, breaker.HalfOpen}},
		"forced closed": {prepare: (*breaker.Breaker).ForceClosed, want: [3]breaker.State{breaker.ForcedClosed, breaker.ForcedClosed, breaker.ForcedClosed}},
		"shadow":        {prepare: (*breaker.Breaker).Shadow, want: [3]breaker.State{breaker.Open, breaker.Closed, breaker.Closed}},
		"shadow, would be open": {prepare: func(b *breaker.Breaker) { b.Shadow(); failTimes(b, 1) },
			want: [3]breaker.State{breaker.Open, breaker.Open, breaker.Open}},
		"after a reset":       {after: (*breaker.Breaker).Reset, stale: true, want: [3]breaker.State{}},
		"after a forced open": {after: (*breaker.Breaker).ForceOpen, stale: true, want: [3]breaker.State{breaker.ForcedOpen, breaker.ForcedOpen, breaker.ForcedOpen}},
		"half-open after a reset": {prepare: half, after: (*breaker.Breaker).Reset, stale: true,
			want: [3]breaker.State{}},
		"half-open, lease over": {prepare: half, after: func(*breaker.Breaker) { time.Sleep(D) },
			want: [3]breaker.State{breaker.Open, breaker.Closed, breaker.HalfOpen}},
		"half-open, lease over and slot taken": {prepare: half, after: func(b *breaker.Breaker) { time.Sleep(D); admitQuietly(b) },
			displaced: true, stale: true, want: [3]breaker.State{breaker.HalfOpen, breaker.HalfOpen, breaker.HalfOpen}},
	}
	for outcomeName, o := range outcomes {
		for stateName, s := range states {
			t.Run(stateName+"/"+outcomeName, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := tripAt(1, breaker.Classify(classify))
					if s.prepare != nil {
						s.prepare(b)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					permit, err := policy.Acquire(ctx, b)
					require.NoError(t, err)
					if s.after != nil {
						s.after(b)
					}
					before := b.Snapshot()
					identity(t, before)
					if o.cancel {
						cancel()
					}
					unasked := before.State == breaker.Open && before.Shadow // nothing counts, so no question is asked
					var panicked any
					func() {
						defer func() { panicked = recover() }()
						permit.Settle(o.outcome)
					}()
					require.Equal(t, o.panics && !unasked, panicked != nil)
					after := b.Snapshot()
					identity(t, after)
					require.Equal(t, s.want[o.verdict], after.State)
					if s.displaced {
						require.EqualValues(t, 1, after.InFlight)
						require.Equal(t, [4]uint64{before.Successes, before.Failures, before.Neutral, before.Stale},
							[4]uint64{after.Successes, after.Failures, after.Neutral, after.Stale})
						return
					}
					require.Zero(t, after.InFlight)
					gained := [4]uint64{after.Successes - before.Successes, after.Failures - before.Failures, after.Neutral - before.Neutral, after.Stale - before.Stale}
					var want [4]uint64
					switch {
					case before.InFlight == 0 && s.stale && s.prepare != nil: // the ledger knew already
					case s.stale:
						want[3] = 1
					case before.State == breaker.Open: // only the shadow let it through
					default:
						want[map[policy.Verdict]int{policy.Success: 0, policy.Failure: 1, policy.Neutral: 2}[o.verdict]] = 1
					}
					require.Equal(t, want, gained)
				})
			})
		}
	}
}

var (
	errFine      = errors.New("fine")
	errNonsense  = errors.New("nonsense")
	errExplosive = errors.New("explosive")
)

func classify(err error) policy.Class {
	switch err {
	case errFine:
		return policy.Expected
	case errNeutral:
		return policy.Ignored
	case errNonsense:
		return 77
	case errExplosive:
		panic(err)
	}
	return policy.Unclassified
}

// admitQuietly admits an attempt that never ends.
func admitQuietly(b *breaker.Breaker) { _, _ = policy.Acquire(context.Background(), b) }

// half makes a breaker that trips at the first failure half-open.
func half(b *breaker.Breaker) {
	failTimes(b, 1)
	time.Sleep(D)
}

// Returned counts a success and then asks TripWhen, if it was slow. The engine settles after a panic there, with the ticket
// of Admit: the attempt must not count again.
func TestATripWhenThatPanicsWhenTheOperationReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		explode := func() { panic("trip") }
		b := breaker.New(breaker.SlowCalls(time.Second, 0.9, 100), breaker.CountWindow(100),
			breaker.TripWhen(func(breaker.Snapshot) bool { explode(); return false }))
		slow := func(context.Context) (int, error) { time.Sleep(2 * time.Second); return 1, nil }
		open := func() (recovered any) {
			defer func() { recovered = recover() }()
			_, permit, err := resilience.Open(t.Context(), b, slow)
			require.NoError(t, err)
			permit.Done(nil)
			return nil
		}
		for n := range uint64(3) {
			require.Equal(t, "trip", open())
			s := b.Snapshot()
			require.Equal(t, n+1, s.Requests)
			require.Equal(t, n+1, s.Successes)
			require.EqualValues(t, n+1, s.CallsSlow)
			require.Zero(t, s.Failures, "a slow success is no failure")
			identity(t, s)
		}
		explode = runtime.Goexit
		done := make(chan struct{})
		go func() { defer close(done); open() }()
		<-done
		require.EqualValues(t, 4, b.Snapshot().Requests)
		require.Zero(t, b.Snapshot().Failures)

		explode = func() {}
		require.Nil(t, open())
		require.NotNil(t, caught(b, func(context.Context) error { panic("boom") }), "others count")
		s := b.Snapshot()
		require.EqualValues(t, 6, s.Requests)
		require.EqualValues(t, 1, s.Failures)
		identity(t, s)
	})
}
