package bulkhead_test

import (
	"context"
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
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

func TestFault139_ResizeUpWakesWaiters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(10, time.Hour))
		holder := acquire(t, b)
		permits := make(chan *policy.Permit, 10)
		for range 5 {
			go func() {
				permit, err := policy.Acquire(context.Background(), b)
				if err != nil {
					t.Error(err)
				}
				permits <- permit
			}()
		}
		synctest.Wait()
		require.NoError(t, b.Reconfigure(4, bulkhead.Queue(10, time.Hour)))
		synctest.Wait()
		require.Len(t, permits, 3)
		require.Equal(t, bulkhead.Snapshot{Limit: 4, InFlight: 4, PeakInFlight: 4, Waiting: 2, PeakWaiting: 5, Waited: 5}, b.Snapshot())
		require.Equal(t, "bulkhead 4+10", b.String())
		holder.Done(nil)
		for range 5 {
			permit := <-permits
			permit.Done(nil)
		}
		require.Equal(t, 4, b.Snapshot().PeakInFlight)
		require.Equal(t, 4, free(t, b))
	})
}

func TestFault139_ResizeDownDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(4, bulkhead.Queue(10, time.Hour), bulkhead.WeightOf(weightMark))
		var holders []*policy.Permit
		for range 4 {
			holders = append(holders, acquire(t, b))
		}
		type result struct {
			name string
			err  error
		}
		results := make(chan result, 3)
		for _, waiter := range []struct {
			name   string
			weight int
		}{{"heavy", 3}, {"first", 1}, {"second", 2}} {
			go func() {
				permit, err := policy.Acquire(context.WithValue(context.Background(), weightKey{}, waiter.weight), b)
				results <- result{waiter.name, err}
				if err == nil {
					time.Sleep(time.Second)
					permit.Done(nil)
				}
			}()
			synctest.Wait()
		}
		require.NoError(t, b.Reconfigure(2, bulkhead.Queue(10, time.Hour)))
		doomed := <-results
		require.Equal(t, "heavy", doomed.name)
		require.ErrorIs(t, doomed.err, bulkhead.ErrFull)
		require.ErrorContains(t, doomed.err, "above the limit")
		require.Equal(t, 4, b.Snapshot().InFlight, "nobody is interrupted")
		for i, holder := range holders {
			synctest.Wait()
			if i < 3 {
				require.Empty(t, results, "%d in flight", b.Snapshot().InFlight)
			}
			holder.Done(nil)
		}
		require.Equal(t, result{"first", nil}, <-results)
		require.Equal(t, 1, b.Snapshot().InFlight, "the second weighs 2")
		require.Equal(t, result{"second", nil}, <-results)
		time.Sleep(time.Minute)
		require.Equal(t, bulkhead.Snapshot{Limit: 2, PeakInFlight: 4, PeakWaiting: 3, Waited: 3, Rejected: 1}, b.Snapshot())
		require.Equal(t, 2, free(t, b))
	})
}

func TestFault139_ResizeRefusesWhoIsTooHeavyAndAdmitsWhoIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(4, bulkhead.Queue(10, time.Hour), bulkhead.WeightOf(weightMark))
		holder := acquire(t, b)
		heavy, light := make(chan error), make(chan error)
		go func() {
			_, err := policy.Acquire(context.WithValue(context.Background(), weightKey{}, 4), b)
			heavy <- err
		}()
		synctest.Wait()
		go func() { _, err := policy.Acquire(context.Background(), b); light <- err }()
		synctest.Wait()
		require.Equal(t, 2, b.Snapshot().Waiting)
		require.NoError(t, b.Reconfigure(3, bulkhead.Queue(10, time.Hour)))
		s := b.Snapshot() // at once, and not when the heavy one has found out
		require.Zero(t, s.Waiting)
		require.Equal(t, 2, s.InFlight)
		require.ErrorContains(t, <-heavy, "above the limit")
		require.NoError(t, <-light)
		holder.Done(nil)
	})
}

// Admissions past the mutex must never lose or mint a slot while the word is frozen, without a queue either.
func TestFault139_ResizeUnderLoad(t *testing.T) {
	for _, options := range [][]bulkhead.Option{nil, {bulkhead.Queue(3, time.Millisecond)}} {
		b := bulkhead.New(8, options...)
		var inside, most gauge
		var workers sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			workers.Go(func() {
				for range rounds(t, 100_000) / 4 {
					resilience.Do(context.Background(), b, func(context.Context) (int, error) {
						most.raise(inside.Add(1))
						inside.Add(-1)
						return 0, nil
					})
				}
			})
		}
		var changer sync.WaitGroup
		changer.Go(func() {
			random := rand.New(rand.NewPCG(3, 4))
			for {
				select {
				case <-stop:
					return
				default:
					if err := b.Reconfigure(1+random.IntN(8), options...); err != nil {
						t.Error(err)
					}
					runtime.Gosched()
				}
			}
		})
		workers.Wait()
		close(stop)
		changer.Wait()
		require.LessOrEqual(t, most.Load(), int64(8))
		require.NoError(t, b.Reconfigure(5))
		require.Zero(t, b.Snapshot().InFlight)
		require.Equal(t, 5, free(t, b))
	}
}

// Four goroutines never are more than a limit of four: whatever Reconfigure does meanwhile, without a queue none of them may
// be refused.
func TestReconfigureRefusesNobodyWhoFits(t *testing.T) {
	b := bulkhead.New(4)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 20_000 {
				if _, err := resilience.Do(context.Background(), b, nothing); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for limit := range 2000 {
		require.NoError(t, b.Reconfigure(4+limit%2))
		runtime.Gosched()
	}
	workers.Wait()
	require.Zero(t, b.Snapshot().Rejected)
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
	for n := 0; n < 1000 && runtime.NumGoroutine() > before; n++ {
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

// many is n, or a tenth of it under the race detector.
func many(n int) int {
	if raced {
		return n / 10
	}
	return n
}
