package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
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

// Whatever moment the shutdown comes at, every message is acknowledged or in the queue.
func TestShutdown(t *testing.T) {
	for _, at := range []time.Duration{time.Millisecond, 150 * time.Millisecond, 550 * time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue()
			for range 20 {
				q.Send("order")
			}
			c := newConsumer(q, func(context.Context, message) error { time.Sleep(200 * time.Millisecond); return nil })

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
