package timeout_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

// TestFault147_AnAbandonedOperationWasCalled: a breaker outside hears of a failure, not of an attempt that was never
// made; otherwise a dependency that hangs could never open it.
func TestFault147_AnAbandonedOperationWasCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.ConsecutiveFailures(3))
		p := resilience.Compose(b, timeout.Abandon(50*ms))
		for range 3 {
			_, err := resilience.Do(t.Context(), p, deaf(time.Second, 0, nil))
			require.ErrorIs(t, err, timeout.ErrTimeout)
		}
		_, err := resilience.Do(t.Context(), p, deaf(0, 0, nil))
		require.ErrorIs(t, err, breaker.ErrOpen)
		time.Sleep(time.Second)
	})
}

// TestFault150_ASuccessThatTheWrapperMissedHasAnOwner: it ended, but the wrapper left before it heard of it.
func TestFault150_ASuccessThatTheWrapperMissedHasAnOwner(t *testing.T) {
	missed := missing{}
	value, err := resilience.Do(t.Context(), &missed, func(context.Context) (int, error) { return 7, nil })
	require.Equal(t, 7, value)
	require.NoError(t, err)
	require.Empty(t, missed.discarded)
}

// missing is a wrapper that leaves without having heard of the success of its call.
type missing struct {
	discarded []any
}

func (*missing) Stage() policy.Stage { return policy.StageHedge }
func (*missing) Run(ctx context.Context, call func(context.Context) error) error {
	done := make(chan struct{})
	go func() { defer close(done); _ = call(ctx) }()
	<-done
	return context.DeadlineExceeded
}
func (m *missing) Discard(value any) { m.discarded = append(m.discarded, value) }

// TestFault153_ASuccessBesideAPanicIsDiscarded: the panic is what the caller gets, so the results need an owner, the
// one that was there and the one that comes later.
func TestFault153_ASuccessBesideAPanicIsDiscarded(t *testing.T) {
	p := &panicking{later: make(chan struct{}), done: make(chan struct{}), began: make(chan struct{})}
	var calls atomic.Int64
	require.PanicsWithValue(t, "boom", func() {
		_, _ = resilience.Do(t.Context(), p, func(context.Context) (int, error) {
			if calls.Add(1) == 1 {
				close(p.began)
				<-p.later
			}
			return 7, nil
		})
	})
	close(p.later)
	<-p.done
	require.Equal(t, []any{7, 7}, p.discarded)
}

// panicking is a wrapper that panics after a success, and lets another call end later.
type panicking struct {
	missing
	later, done, began chan struct{}
}

func (p *panicking) Run(ctx context.Context, call func(context.Context) error) error {
	go func() { defer close(p.done); _ = call(ctx) }()
	<-p.began
	_ = call(ctx)
	panic("boom")
}

// Whatever the order of ends and deadlines: each value has one owner and nothing stays counted.
func TestAbandonConserves(t *testing.T) {
	var discarded atomic.Int64
	limit := timeout.Abandon(200*time.Microsecond, timeout.MaxRunning(5), timeout.OnDiscard(func(any) { discarded.Add(1) }))
	var callers sync.WaitGroup
	var made, got atomic.Int64
	for range 8 {
		callers.Go(func() {
			for i := range 200 {
				_, err := resilience.Do(t.Context(), limit, func(context.Context) (int, error) {
					for start := time.Now(); time.Since(start) < time.Duration(i%5)*100*time.Microsecond; {
						runtime.Gosched()
					}
					made.Add(1)
					return 0, nil
				})
				if err == nil {
					got.Add(1)
				}
			}
		})
	}
	callers.Wait()
	for limit.Snapshot().Running > 0 {
		runtime.Gosched()
	}
	require.Equal(t, made.Load(), got.Load()+discarded.Load())
	require.Zero(t, limit.Snapshot().Abandoned)
}
