package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// During an outage of a minute, messages stay in the queue, and none is set aside.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var whileDown atomic.Int64
		q := newQueue()
		for range 1000 {
			q.Send("order")
		}
		c := newConsumer(q, func(context.Context, message) error {
			time.Sleep(100 * time.Millisecond)
			if at := time.Since(began); at > time.Second && at < time.Minute {
				whileDown.Add(1)
				return errors.New("connection refused")
			}
			return nil
		})

		stop, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		require.NoError(t, c.Run(stop, 4, time.Second))
		require.Equal(t, 1000, q.Counts().acknowledged)
		require.Zero(t, q.Counts().setAside)
		require.Less(t, whileDown.Load(), int64(80), "a breaker lets a probe through each second")
	})
}

// A message that can never succeed is tried once, and does not count against the dependency.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		for range 50 {
			q.Send("poison")
		}
		calls := 0
		c := newConsumer(q, func(context.Context, message) error { calls++; return errMalformed })

		stop, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, c.Run(stop, 1, time.Second))
		require.Equal(t, 50, q.Counts().setAside)
		require.Equal(t, 50, calls)
	})
}

// A message that always fails, with an error that says nothing about it, ends in the dead letters, also when it is the
// only one: then each of its failures is that of a probe, and opens the circuit again.
func TestPoisonThatNobodyRecognises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.Send("poison")
		calls := 0
		c := newConsumer(q, func(context.Context, message) error { calls++; return errors.New("500") })

		stop, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		require.NoError(t, c.Run(stop, 4, time.Second))
		require.Equal(t, 1, q.Counts().setAside)
		require.Less(t, calls, 100)
	})
}

// An outage of an hour sets no healthy message aside, however few there are to share its probes.
func TestLongOutage(t *testing.T) {
	for _, messages := range []int{1, 8, 1000} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			q := newQueue()
			for range messages {
				q.Send("order")
			}
			c := newConsumer(q, func(context.Context, message) error {
				time.Sleep(100 * time.Millisecond)
				if time.Since(began) < time.Hour {
					return errors.New("connection refused")
				}
				return nil
			})

			stop, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
			defer cancel()
			require.NoError(t, c.Run(stop, 4, time.Second))
			require.Zero(t, q.Counts().setAside)
			require.Equal(t, messages, q.Counts().acknowledged)
		})
	}
}

// What a full quota refuses is not taken again at once: a loop that never sleeps stops virtual time.
func TestRefusedMessagesAreHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		for range 30 {
			q.Send("order")
		}
		calls := 0
		c := newConsumer(q, func(context.Context, message) error { calls++; return nil })
		c.backend = resilience.Compose(retry.New(), ratelimit.New(1, 1)) // refuses all but one a second

		stop, cancel := context.WithTimeout(t.Context(), 20*time.Second+time.Millisecond)
		defer cancel()
		require.NoError(t, c.Run(stop, 1, time.Second))
		require.Equal(t, calls, q.Counts().acknowledged)
		require.Equal(t, 30, q.Counts().acknowledged+q.Counts().waiting)
		require.GreaterOrEqual(t, calls, 15)
		require.Less(t, q.Counts().givenBack, 30*20, "each at most once a second")
	})
}

// Whatever moment the shutdown comes at, every message is acknowledged or in the queue.
func TestShutdown(t *testing.T) {
	for _, at := range []time.Duration{time.Millisecond, 150 * time.Millisecond, 550 * time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue()
			for range 20 {
				q.Send("order")
			}
			var done sync.Map
			c := newConsumer(q, func(_ context.Context, m message) error {
				time.Sleep(200 * time.Millisecond)
				if _, twice := done.LoadOrStore(m.id, true); twice {
					t.Errorf("message %d was handled twice", m.id)
				}
				return nil
			})

			stop, cancel := context.WithTimeout(t.Context(), at)
			defer cancel()
			require.NoError(t, c.Run(stop, 4, time.Second))
			counts := q.Counts()
			require.Equal(t, 20, counts.acknowledged+counts.waiting)
			require.Equal(t, min(20, 4*(1+int(at/(200*time.Millisecond)))), counts.acknowledged, "those in flight have ended")
		})
	}
}

// What hangs is cancelled after the time of grace, and given back.
func TestShutdownOfWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.Send("order")
		c := newConsumer(q, func(ctx context.Context, _ message) error { <-ctx.Done(); return context.Cause(ctx) })

		began := time.Now()
		stop, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, c.Run(stop, 4, time.Second), errShutdown)
		require.Equal(t, 1500*time.Millisecond, time.Since(began))
		require.Equal(t, counts{givenBack: 1, waiting: 1}, q.Counts())
	})
}
