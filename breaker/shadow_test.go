package breaker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// On the same trace a breaker in shadow knows exactly what its enforcing twin knows.
func TestAShadowIsItsEnforcingTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var real, shadow []string
		log := func(to *[]string) breaker.Option {
			return breaker.OnChange(func(c breaker.Change) { *to = append(*to, fmt.Sprint(c.Number, c, c.At)) })
		}
		opts := []breaker.Option{breaker.FailureRate(0.5, 4), breaker.Probes(2), breaker.Successes(2), breaker.FailedProbes(1)}
		twin, b := newBreaker(append(opts, log(&real))...), newBreaker(append(opts, log(&shadow), breaker.Shadow())...)
		for i := range 2000 {
			err := errDown
			if i/100%3 == 0 || i%7 == 0 {
				err = nil
			}
			op := func(context.Context) error { return err }
			if got := do(twin, op); got != err {
				require.ErrorIs(t, got, breaker.ErrOpen)
			}
			require.Equal(t, err, do(b, op), "a shadow refused")
			require.NoError(t, b.Ready(t.Context()))
			want, got := twin.Snapshot(), b.Snapshot()
			require.True(t, got.Shadow)
			want.Shadow, want.Rejected, want.ShadowRejected = true, 0, want.Rejected
			require.Equal(t, want, got)
			time.Sleep(100 * time.Millisecond)
		}
		require.Greater(t, len(real), 10)
		require.Greater(t, b.Snapshot().ShadowRejected, uint64(100))
		require.Equal(t, real, shadow)
	})
}

func TestEnforceGoesOnFromTheShadowsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(2)
		failTimes(b, 1)
		b.Shadow()
		require.Equal(t, 1, b.Snapshot().ConsecutiveFailures, "the mode changes, and nothing else")
		failTimes(b, 1)
		before := b.Snapshot()
		require.Equal(t, breaker.Open, before.State)
		require.NoError(t, do(b, ok))
		b.Enforce()
		after := b.Snapshot()
		require.False(t, after.Shadow)
		before.Shadow, before.ShadowRejected = false, 1
		require.Equal(t, before, after)
		refused(t, b)
		time.Sleep(D)

		b.Shadow()
		probe := admit(t, b)
		require.NoError(t, do(b, ok), "the probe's slot is taken, but nothing is refused")
		require.Equal(t, breaker.HalfOpen, b.State(), "and what would have been refused decides nothing")
		b.Enforce()
		refused(t, b)
		probe.Done(nil)
		require.Equal(t, breaker.Closed, b.State(), "a probe is a probe in both modes")
		identity(t, b.Snapshot())
	})
}

func TestAShadowRefusesNothingWhateverTheState(t *testing.T) {
	for name, change := range map[string]func(*breaker.Breaker){
		"trip": (*breaker.Breaker).Trip, "force open": (*breaker.Breaker).ForceOpen, "force closed": (*breaker.Breaker).ForceClosed,
		"reset": (*breaker.Breaker).Reset,
	} {
		b := newBreaker(breaker.Shadow())
		change(b)
		require.True(t, b.Snapshot().Shadow, name)
		require.NoError(t, do(b, ok), name)
		require.NoError(t, b.Ready(t.Context()), name)
		require.Zero(t, b.Snapshot().Rejected)
	}
}

func TestChangedToldOfTheMode(t *testing.T) {
	b := newBreaker()
	b.Trip()
	for _, change := range []func(){b.Shadow, b.Enforce} {
		changed := b.Changed(t.Context())
		change()
		select {
		case <-changed:
		default:
			t.Fatal("Ready answers differently now")
		}
	}
}

// The rules do not see how those attempts end that would have been refused.
func TestAShadowDoesNotCountWhatItWouldHaveRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Shadow(), breaker.Ramp(time.Hour), breaker.Rand(luck(func() float64 { return 0.999 })))
		failTimes(b, 1)
		time.Sleep(D)
		probe := admit(t, b)
		before := b.Snapshot()
		require.NoError(t, do(b, ok), "half-open, and the probe is taken")
		require.Equal(t, errDown, do(b, fail))
		s := b.Snapshot()
		require.Equal(t, before.Counts, s.Counts)
		require.Equal(t, before.ShadowRejected+2, s.ShadowRejected)

		probe.Done(nil)
		require.Equal(t, breaker.Closed, b.State())
		slot := admit(t, b) // the one that needs no luck while it is recovering
		require.Equal(t, errDown, do(b, fail))
		s = b.Snapshot()
		require.Equal(t, breaker.Closed, s.State, "it would not have been made, so it opens nothing")
		require.Zero(t, s.ConsecutiveFailures)
		slot.Settle(policy.Outcome{Kind: policy.Returned, Err: errDown})
		require.Equal(t, breaker.Open, b.State())
	})
}
