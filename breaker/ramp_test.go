package breaker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

func TestRamp(t *testing.T) {
	const ramp = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		share := 0.999
		b := tripAt(3, breaker.Ramp(ramp), breaker.Probes(2), breaker.Successes(1), breaker.Rand(luck(func() float64 { return share })))
		b.Trip()
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		s := b.Snapshot()
		require.Equal(t, breaker.Closed, s.State)
		require.Equal(t, ramp, s.Until.Sub(s.Since))

		// As many as there may be probes are admitted without luck, also when one after the other.
		for range 10 {
			require.NoError(t, do(b, ok))
		}
		one, two := admit(t, b), admit(t, b)
		require.Equal(t, "breaker: circuit open: recovering", refused(t, b).Error())
		require.NoError(t, b.Ready(t.Context()))

		// The rest needs it: the share that is admitted is the share of the ramp that is over.
		for _, over := range []float64{0.1, 0.25, 0.5, 0.9} {
			time.Sleep(time.Until(s.Since.Add(time.Duration(over * float64(ramp)))))
			share = over + 0.001
			refused(t, b)
			share = over - 0.001
			admit(t, b).Settle(policy.Outcome{}) // never called: it comes and goes
		}
		one.Done(nil)
		share = 0.999
		require.NoError(t, do(b, ok), "a slot came back")
		two.Done(nil)

		time.Sleep(time.Until(s.Until))
		for range 100 {
			admit(t, b)
		}
		require.True(t, b.Snapshot().Until.IsZero())
		identity(t, b.Snapshot())
	})
}

func TestRampAdmitsAGrowingShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		numbers := 0.0
		evenly := func() float64 { // 0.05, 0.15, … 0.95, 0.05, …
			numbers++
			return (float64(int(numbers)%10) + 0.5) / 10
		}
		b := tripAt(3, breaker.Ramp(10*time.Second), breaker.Rand(luck(evenly)))
		b.Trip()
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		admit(t, b) // takes the slot that needs no luck
		for second := range 10 {
			admitted := 0
			for range 1000 {
				if do(b, ok) == nil {
					admitted++
				}
			}
			require.Equal(t, 100*second, admitted)
			time.Sleep(time.Second)
		}
	})
}

func TestRampFallsBackOnFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(3, breaker.Ramp(10*time.Second), breaker.Growth(2, time.Hour))
		failTimes(b, 3)
		openFor := func() time.Duration { s := b.Snapshot(); return s.Until.Sub(s.Since) }
		require.Equal(t, D, openFor())
		time.Sleep(D)
		require.NoError(t, do(b, ok))
		failTimes(b, 3)
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, 2*D, openFor(), "it had not recovered")
		time.Sleep(2 * D)
		require.NoError(t, do(b, ok))
		time.Sleep(10 * time.Second)
		require.NoError(t, do(b, ok)) // the ramp is over
		failTimes(b, 3)
		require.Equal(t, D, openFor())
		time.Sleep(D)
		failTimes(b, 1)
		require.Equal(t, 2*D, openFor(), "a new row")
	})
}

func TestEveryRampBeginsWithFreeSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := tripAt(1, breaker.Ramp(10*time.Second), breaker.Probes(2), breaker.Rand(luck(func() float64 { return 0.999 })))
		for range 3 {
			b.Trip()
			time.Sleep(D)
			require.NoError(t, do(b, ok))
			require.Equal(t, breaker.Closed, b.State())
			admit(t, b) // two that never end
			admit(t, b)
			refused(t, b)
		}
	})
}

func TestNoRampAfterReset(t *testing.T) {
	b := tripAt(3, breaker.Ramp(time.Hour), breaker.Rand(luck(func() float64 { return 0.999 })))
	b.Trip()
	b.Reset()
	for range 10 {
		admit(t, b)
	}
}

// The ramp ends by time alone, also when nobody asks meanwhile.
func TestARowOfOpeningsEndsWithTheRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.ConsecutiveFailures(1), breaker.Jitter(0), breaker.Ramp(time.Second), breaker.OpenFor(time.Second), breaker.Growth(10, time.Hour))
		_, _ = resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errors.New("down") })
		time.Sleep(time.Second)
		_, err := resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, nil })
		require.NoError(t, err)
		time.Sleep(24 * time.Hour)
		b.Trip()
		s := b.Snapshot()
		require.Equal(t, time.Second, s.Until.Sub(s.Since))
		time.Sleep(time.Second)
		_, _ = resilience.Do(t.Context(), b, func(context.Context) (int, error) { return 0, errors.New("still down") })
		s = b.Snapshot()
		require.Equal(t, 10*time.Second, s.Until.Sub(s.Since), "the second of the new row")
	})
}
