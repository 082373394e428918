package bulkhead_test

import (
	"context"
	"errors"
	"math"
	"math/bits"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

func TestFault137_DoomedRequestsFailAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, options := range [][]bulkhead.Option{nil, {bulkhead.Queue(5, time.Hour)}} {
			b := bulkhead.New(4, append(options, bulkhead.WeightOf(weightMark))...)
			start := time.Now()
			for weight, want := range map[int]string{5: "the weight is above the limit", 1 << (bits.UintSize/2 + 8): "above the limit", 0: "below 1", -1: "below 1", math.MinInt: "below 1"} {
				_, err := policy.Acquire(context.WithValue(context.Background(), weightKey{}, weight), b)
				require.ErrorIs(t, err, bulkhead.ErrFull)
				require.ErrorContains(t, err, want)
			}
			require.Zero(t, time.Since(start))
			require.Equal(t, bulkhead.Snapshot{Limit: 4, Rejected: 5}, b.Snapshot())
			require.Equal(t, 4, free(t, b))
		}
	})
}

// A registry may forget a bulkhead only when a new one would be the same.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
		require.True(t, b.Idle())
		holder := acquire(t, b)
		require.False(t, b.Idle())
		holder.Done(nil)
		require.True(t, b.Idle())

		holder = acquire(t, b)
		next := make(chan *policy.Permit)
		go func() {
			permit, err := policy.Acquire(context.Background(), b)
			if err != nil {
				t.Error(err)
			}
			next <- permit
		}()
		synctest.Wait()
		require.False(t, b.Idle())
		holder.Done(nil)
		holder = <-next
		require.False(t, b.Idle())
		holder.Done(nil)
		require.True(t, b.Idle(), "also when somebody has waited")

		holder = acquire(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := policy.Acquire(ctx, b); left <- err }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-left, context.Canceled)
		holder.Done(nil)
		require.True(t, b.Idle(), "also when somebody has given up")

		holder = acquire(t, b)
		ctx, cancel = context.WithCancel(t.Context())
		go func() { _, err := policy.Acquire(ctx, b); left <- err }()
		synctest.Wait()
		holder.Done(nil) // grants the slot to somebody who cannot run before
		cancel()         // its context has ended
		require.ErrorIs(t, <-left, context.Canceled)
		require.True(t, b.Idle(), "also when somebody has given up what was granted")

		_, err := policy.Acquire(context.Background(), b)
		require.NoError(t, err)
		require.NoError(t, b.Reconfigure(1))
		require.False(t, b.Idle())
	})
	b := bulkhead.New(2)
	require.NoError(t, b.Reconfigure(1))
	require.False(t, b.Idle(), "a new one would have two slots")
}

// abandon is a wrapper that returns after d, whether or not the call has ended.
type abandon struct {
	d     time.Duration
	calls sync.WaitGroup
}

func (a *abandon) Stage() policy.Stage { return policy.StageTotalTimeout }

func (a *abandon) Run(ctx context.Context, call func(context.Context) error) error {
	done := make(chan error, 1)
	a.calls.Go(func() { done <- call(ctx) })
	select {
	case err := <-done:
		return err
	case <-time.After(a.d):
		return errors.New("abandoned")
	}
}

func TestFault140_AbandonedOperationKeepsItsSlot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, impatient := bulkhead.New(2), &abandon{d: time.Second}
		p := resilience.Compose(impatient, b)
		var inside, most gauge
		hang := func(context.Context) error {
			most.raise(inside.Add(1))
			defer inside.Add(-1)
			time.Sleep(time.Hour)
			return nil
		}
		for i := range 10 {
			err := p.Run(context.Background(), hang)
			if i < 2 {
				require.EqualError(t, err, "abandoned")
			} else {
				require.ErrorIs(t, err, bulkhead.ErrFull)
			}
		}
		require.Equal(t, 2, b.Snapshot().InFlight)
		impatient.calls.Wait()
		require.Equal(t, int64(2), most.Load())
		require.Equal(t, 2, free(t, b))
	})
}

// The context ends after the engine has looked at it, and before the attempt is in the queue.
func TestFault049_NoLostWakeup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		b := bulkhead.New(1, bulkhead.Queue(1, time.Hour), bulkhead.WeightOf(func(asking context.Context) int {
			if asking == ctx {
				cancel()
			}
			return 1
		}))
		holder := acquire(t, b)
		start := time.Now()
		_, err := resilience.Do(ctx, b, nothing)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, time.Since(start))
		require.Zero(t, b.Snapshot().Waiting)
		holder.Done(nil)
		require.Equal(t, 1, free(t, b))
	})
}

func TestFault050_GoroutinesReturnToBase(t *testing.T) {
	before := runtime.NumGoroutine()
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(3, bulkhead.Queue(10_000, time.Minute))
		var calls sync.WaitGroup
		for i := range many(10_000) {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
				defer cancel()
				resilience.Do(ctx, b, func(context.Context) (int, error) { time.Sleep(100 * time.Millisecond); return 0, nil })
			})
		}
		calls.Wait()
		require.Equal(t, 3, free(t, b))
	})
	for n := 0; n < 30_000 && runtime.NumGoroutine() > before; n++ {
		time.Sleep(time.Millisecond) // those of earlier tests and of timers are on their way out
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestFault051_NoGoroutinePerInstance(t *testing.T) {
	before, base := runtime.NumGoroutine(), heap()
	var all []*bulkhead.Bulkhead
	for range many(100_000) {
		b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
		_, err := resilience.Do(context.Background(), b, nothing)
		require.NoError(t, err)
		all = append(all, b)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	t.Logf("%d bytes each", (heap()-base)/uint64(len(all)))
	runtime.KeepAlive(all)
	require.Less(t, heap(), base+1<<20, "dropped bulkheads are collected")
}

func TestFault052_TimersAreReleased(t *testing.T) {
	b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
	defer acquire(t, b).Done(nil)
	base := heap()
	for range many(100_000) {
		_, err := policy.Acquire(&impatient{Context: context.Background()}, b)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Less(t, heap(), base+1<<20)
	require.Zero(t, b.Snapshot().Waiting)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// many is n, or a tenth of it in a short run and under the race detector.
func many(n int) int {
	if raced {
		return n / 10
	}
	return testsize.Pick(n/10, n)
}
