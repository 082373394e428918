package bulkhead_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func TestDrainRefusesAndWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Hour))
		sleep := func(context.Context) (int, error) { time.Sleep(time.Second); return 0, nil }
		var served atomic.Int64
		for range 3 { // one inside, two in the queue
			go func() {
				if _, err := resilience.Do(context.Background(), b, sleep); err == nil {
					served.Add(1)
				}
			}()
			synctest.Wait()
		}
		start := time.Now()
		var drains sync.WaitGroup
		for range 3 {
			drains.Go(func() {
				if err := b.Drain(context.Background()); err != nil {
					t.Error(err)
				}
				if waited := time.Since(start); waited != 3*time.Second {
					t.Errorf("waited %v", waited)
				}
			})
		}
		impatient, cancel := context.WithTimeoutCause(context.Background(), 1500*time.Millisecond, errors.New("grace is over"))
		defer cancel()
		err := b.Drain(impatient)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "grace is over")
		require.True(t, b.Snapshot().Draining)
		require.Equal(t, 1, b.Snapshot().InFlight)
		require.Equal(t, 1, b.Snapshot().Waiting)
		_, err = resilience.Do(context.Background(), b, sleep)
		require.ErrorIs(t, err, bulkhead.ErrDraining)
		require.ErrorIs(t, err, policy.ErrRejected)
		require.Zero(t, b.Snapshot().TimedOut)
		drains.Wait()
		require.Equal(t, int64(3), served.Load(), "those inside and those that waited")

		ended, cancel := context.WithCancel(context.Background())
		cancel()
		require.NoError(t, b.Drain(ended), "nothing is inside: there is nothing to wait for")
		_, err = resilience.Do(context.Background(), b, sleep)
		require.ErrorIs(t, err, bulkhead.ErrDraining)
		require.Equal(t, uint64(2), b.Snapshot().Rejected)
		require.False(t, b.Idle())
		report := b.Report()
		require.Equal(t, "draining", report.State.Name)
		require.Equal(t, start, report.State.Since)
		require.NoError(t, b.Reconfigure(5))
		_, err = resilience.Do(context.Background(), b, sleep)
		require.ErrorIs(t, err, bulkhead.ErrDraining, "there is no way back")
	})
}

func TestDrainOfAnEmptyBulkhead(t *testing.T) {
	for name, b := range map[string]*bulkhead.Bulkhead{
		"fixed":    bulkhead.New(1),
		"queue":    bulkhead.New(1, bulkhead.Queue(1, time.Hour)),
		"weights":  bulkhead.New(1, bulkhead.WeightOf(weightMark)),
		"shadow":   bulkhead.New(1, bulkhead.Shadow()),
		"adaptive": bulkhead.Adaptive(bulkhead.Vegas(), 1, 2),
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				_, err := resilience.Do(context.Background(), b, nothing)
				require.NoError(t, err)
			}
			require.NoError(t, b.Drain(context.Background()))
			_, err := resilience.Do(context.Background(), b, nothing)
			require.ErrorIs(t, err, bulkhead.ErrDraining)
			require.NoError(t, b.Drain(context.Background()))
			require.Zero(t, b.Snapshot().InFlight)
		})
	}
	require.PanicsWithValue(t, "bulkhead: Drain with a nil context", func() {
		bulkhead.New(1).Drain(nil) //nolint:staticcheck // that is what is tested
	})
}

// Those that give up waiting, and those refused because the wait is over, end the wait of Drain too.
func TestDrainWaitsForThoseThatLeave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Minute), bulkhead.WeightOf(weightMark))
		holder := acquire(t, b)
		ctx, cancel := context.WithCancel(context.Background())
		left, late := make(chan error, 1), make(chan error, 1)
		go func() { _, err := policy.Acquire(ctx, b); left <- err }()
		synctest.Wait()
		go func() { _, err := policy.Acquire(context.Background(), b); late <- err }()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(context.Background()) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-left, context.Canceled)
		require.ErrorIs(t, <-late, bulkhead.ErrQueueTimeout)
		require.Empty(t, drained)
		holder.Done(nil)
		require.NoError(t, <-drained)
	})
}

// In real time: once Drain has returned nil, nothing is inside and nothing enters.
func TestDrainUnderLoad(t *testing.T) {
	for range rounds(t, 100) {
		for _, options := range [][]bulkhead.Option{nil, {bulkhead.Queue(3, time.Second)}, {bulkhead.Shadow()}, {bulkhead.Shadow(), bulkhead.Queue(2, time.Millisecond)}} {
			b := bulkhead.New(2, options...)
			var inside, entered atomic.Int64
			var closed atomic.Bool
			var workers sync.WaitGroup
			for range 4 {
				workers.Go(func() {
					for {
						_, err := resilience.Do(context.Background(), b, func(context.Context) (int, error) {
							if inside.Add(1); closed.Load() {
								t.Error("entered after Drain had returned")
							}
							entered.Add(1)
							runtime.Gosched()
							inside.Add(-1)
							return 0, nil
						})
						if errors.Is(err, bulkhead.ErrDraining) {
							return
						}
					}
				})
			}
			for entered.Load() < 10 {
				runtime.Gosched()
			}
			require.NoError(t, b.Drain(context.Background()))
			closed.Store(true)
			require.Zero(t, inside.Load())
			workers.Wait()
			require.Zero(t, b.Snapshot().InFlight)
		}
	}
}
