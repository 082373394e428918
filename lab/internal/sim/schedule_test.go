package sim_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/lab/internal/sim"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// Whoever a policy's timer wakes acts at that time, however long the scheduler wants to sleep.
func TestWhoWakesEarlyIsNotLate(t *testing.T) {
	var acted []time.Duration
	record := run(t, 1, func(w *sim.World) {
		note := func(a *sim.Actor) { acted = append(acted, a.Now()) }
		w.Go(func(a *sim.Actor) {
			require.NoError(t, a.Sleep(time.Second))
			note(a)
		})
		for _, wait := range []time.Duration{500, 600, 650} { // in ms; while the first one sleeps in the world, the others wake
			w.Go(func(a *sim.Actor) {
				time.Sleep(wait * time.Millisecond) // as a policy does
				a.Turn()
				note(a)
				require.NoError(t, a.Sleep(2*(800-wait)*time.Millisecond))
				note(a)
			})
		}
	})
	ms := time.Millisecond
	require.Equal(t, []time.Duration{500 * ms, 600 * ms, 650 * ms, 950 * ms, 1000 * ms, 1000 * ms, 1100 * ms}, acted)
	require.Equal(t, 1100*ms, record.Elapsed)
}

// A world is over when the last actor ends, also while the scheduler sleeps until something that nobody waits for.
func TestTheEndIsNotLate(t *testing.T) {
	ticks := 0
	record := run(t, 1, func(w *sim.World) {
		w.Every(10*time.Second, func(time.Duration) { ticks++ })
		w.Go(func(*sim.Actor) { time.Sleep(time.Second) })
	})
	require.Equal(t, time.Second, record.Elapsed)
	require.Zero(t, ticks)
}

// A policy's timer comes before the model also where it wakes a call, and not an attempt.
func TestAWaitThatEndsComesBeforeTheModel(t *testing.T) {
	for range 20 {
		var order []int
		run(t, 1, func(w *sim.World) {
			w.Go(func(a *sim.Actor) {
				require.NoError(t, a.Sleep(time.Second))
				order = append(order, a.Number())
			})
			w.Go(func(a *sim.Actor) {
				time.Sleep(time.Second)
				a.Turn()
				order = append(order, a.Number())
			})
		})
		require.Equal(t, []int{2, 1}, order)
	}
}

// A world that ends, or goes wrong, at the instant at which the scheduler wakes ends once.
func TestTheEndWhenTheSchedulerWakes(t *testing.T) {
	for range 50 {
		record := run(t, 1, func(w *sim.World) {
			w.Every(time.Second, func(time.Duration) { panic("after the end") })
			w.Go(func(*sim.Actor) { time.Sleep(time.Second) })
		})
		require.Equal(t, time.Second, record.Elapsed)
		_, err := sim.Run(1, func(w *sim.World) {
			w.Every(time.Second, func(time.Duration) {})
			w.Go(func(*sim.Actor) {
				time.Sleep(time.Second)
				panic("boom")
			})
		})
		require.ErrorContains(t, err, "actor: panic: boom")
	}
}

// A policy's timer comes first also where its call only waits for its turn to go on.
func TestAPolicysTimerComesBeforeATurn(t *testing.T) {
	for range 50 {
		attempts := 0
		run(t, 1, func(w *sim.World) {
			pipeline := sim.Compose(timeout.Total(10*time.Millisecond), retry.New(retry.Constant(time.Millisecond), retry.NoJitter()))
			tally := w.Tally()
			w.Go(func(a *sim.Actor) {
				_ = tally.Call(a, func(a *sim.Actor) error {
					return pipeline.Run(a, func(context.Context) error {
						attempts++
						time.Sleep(8950 * time.Microsecond) // and then back to where the call is apart from others: to the timeout
						return sim.ErrFailed
					})
				})
			})
		})
		require.Equal(t, 1, attempts)
	}
}

// A call that waits under a policy's timer without looking at its context finds it ended at that instant.
func TestAPolicysTimerComesBeforeACallThatDoesNotLook(t *testing.T) {
	for range 50 {
		var found error
		run(t, 1, func(w *sim.World) {
			pipeline := resilience.Compose(timeout.Total(time.Second))
			w.Go(func(a *sim.Actor) {
				_ = pipeline.Run(a, func(ctx context.Context) error {
					_ = a.Sleep(time.Second)
					found = ctx.Err()
					return nil
				})
			})
		})
		require.ErrorIs(t, found, context.DeadlineExceeded)
	}
}
