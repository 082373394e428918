package hold_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/hold"
)

var (
	errInner = errors.New("the inner deadline has passed")
	errOuter = errors.New("the outer deadline has passed")
	errLeft  = errors.New("the caller has left")
)

func within(parent context.Context, d time.Duration, cause error) *hold.Context {
	return hold.WithDeadline(parent, time.Now().Add(d), cause)
}

// parents make contexts that a deadline may be derived from: one that nobody can cancel, and one that somebody can.
var parents = map[string]func() (context.Context, context.CancelFunc){
	"background":  func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
	"cancellable": func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
}

func requireEnded(t *testing.T, ctx context.Context, err, cause error) {
	t.Helper()
	require.Equal(t, err, ctx.Err())
	require.Equal(t, cause, context.Cause(ctx))
	select {
	case <-ctx.Done():
	default:
		require.Fail(t, "Done is open")
	}
	require.Equal(t, err, ctx.Err(), "for good")
	require.Equal(t, cause, context.Cause(ctx))
}

func TestADeadlineIsOneWhoeverAsksWhat(t *testing.T) {
	for name, newParent := range parents {
		t.Run(name, func(t *testing.T) {
			for _, asksDone := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := newParent()
					defer cancel()
					c := within(context.WithValue(parent, testKey{}, "value"), time.Second, errInner)
					defer c.Settle(false)
					if asksDone {
						require.NotNil(t, c.Done())
						require.Equal(t, c.Done(), c.Done())
					}
					deadline, ok := c.Deadline()
					require.True(t, ok)
					require.Equal(t, time.Second, time.Until(deadline))
					require.Equal(t, "value", c.Value(testKey{}))
					time.Sleep(time.Second - 1)
					require.NoError(t, c.Err())
					require.NoError(t, context.Cause(c))
					time.Sleep(1)
					synctest.Wait()
					requireEnded(t, c, context.DeadlineExceeded, errInner)
					require.Equal(t, "value", c.Value(testKey{}))
				})
			}
		})
	}
}

func TestWhoWaitsIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := within(context.Background(), time.Second, errInner)
		start := time.Now()
		<-c.Done()
		require.Equal(t, time.Second, time.Since(start))
		requireEnded(t, c, context.DeadlineExceeded, errInner)
		c.Settle(false)
		requireEnded(t, c, context.DeadlineExceeded, errInner)
	})
}

func TestContextsThatAreDerivedFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := within(context.Background(), time.Second, errInner)
		before := runtime.NumGoroutine()
		child, cancel := context.WithCancel(context.WithValue(c, testKey{}, "value"))
		defer cancel()
		require.Equal(t, before, runtime.NumGoroutine(), "a child costs no goroutine")
		stopped := make(chan struct{})
		context.AfterFunc(c, func() { close(stopped) })
		<-stopped
		requireEnded(t, child, context.DeadlineExceeded, errInner)
	})
}

func TestTheEndOfTheOperation(t *testing.T) {
	for name, newParent := range parents {
		t.Run(name, func(t *testing.T) {
			for _, asksDone := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := newParent()
					defer cancel()
					c := within(context.WithValue(parent, testKey{}, "value"), time.Second, errInner)
					if asksDone {
						c.Done()
					}
					c.Settle(true)
					requireEnded(t, c, context.Canceled, context.Canceled)
					require.Equal(t, "value", c.Value(testKey{}))
					time.Sleep(2 * time.Second)
					requireEnded(t, c, context.Canceled, context.Canceled)
				})
			}
		})
	}
}

// Fault 83: whoever was first is named, also when nobody looked before both had ended.
func TestTheFirstOfTwoDeadlinesIsNamed(t *testing.T) {
	for name, newParent := range parents {
		t.Run(name, func(t *testing.T) {
			for _, innerFirst := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := newParent()
					defer cancel()
					outer := within(parent, 2*time.Second, errOuter)
					inner := within(outer, time.Second, errInner)
					time.Sleep(3 * time.Second)
					look := []func(){
						func() { requireEnded(t, inner, context.DeadlineExceeded, errInner) },
						func() { requireEnded(t, outer, context.DeadlineExceeded, errOuter) },
					}
					if innerFirst {
						look[0]()
						look[1]()
					} else {
						look[1]()
						look[0]()
					}
				})
			}
		})
	}
}

func TestFault083_TheCallerThatLeftFirstIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, leaves := range []time.Duration{time.Second, 3 * time.Second} {
			caller, cancel := context.WithCancelCause(context.Background())
			outer := within(caller, 4*time.Second, errOuter)
			inner := within(outer, 2*time.Second, errInner)
			time.AfterFunc(leaves, func() { cancel(errLeft) })
			time.Sleep(5 * time.Second)
			requireEnded(t, outer, context.Canceled, errLeft)
			if leaves < 2*time.Second {
				requireEnded(t, inner, context.Canceled, errLeft)
			} else {
				requireEnded(t, inner, context.DeadlineExceeded, errInner)
			}
		}
	})
}

// A context between the two that can be cancelled, and does not ask for Done of the outer one before it is asked itself.
type merged struct {
	context.Context
	done chan struct{}
}

func (m merged) Done() <-chan struct{} { return m.done }
func (m merged) Err() error {
	select {
	case <-m.done:
		return context.Canceled
	default:
		return nil
	}
}

func TestAForeignContextBetweenTwoDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		between := merged{within(context.Background(), time.Hour, errOuter), make(chan struct{})}
		inner := within(between, time.Minute, errInner)
		time.AfterFunc(time.Second, func() { close(between.done) })
		<-inner.Done()
		require.Equal(t, context.Canceled, inner.Err())
		inner.Settle(false)
	})
}

// The cause comes from wherever it is asked first.
func TestTheCauseIsAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := within(context.Background(), time.Second, errInner)
		require.NoError(t, context.Cause(c))
		time.Sleep(time.Second)
		require.Equal(t, errInner, context.Cause(c))
	})
}

// An operation that outlives the one around it has been left, whatever its own deadline says.
func TestASettledContextEndsThoseInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, asksDone := range []bool{false, true} {
			for _, later := range []time.Duration{0, time.Hour} {
				outer := within(context.Background(), 3*time.Minute, errOuter)
				middle := within(outer, 2*time.Minute, errOuter)
				inner := within(middle, time.Minute, errInner)
				if asksDone {
					middle.Done()
				}
				middle.Settle(true)
				time.Sleep(later)
				requireEnded(t, inner, context.Canceled, context.Canceled)
				if later == 0 {
					require.NoError(t, outer.Err())
				}
			}
		}
	})
}

// A context that is printed, as mocks do with their arguments, must not be read while others ask for it.
func TestPrintingIsNoRace(t *testing.T) {
	c := within(context.Background(), time.Hour, errInner)
	var others sync.WaitGroup
	others.Go(func() { c.Done() })
	others.Go(func() { c.Settle(false) })
	require.Contains(t, fmt.Sprint(c), "context.Background.WithDeadline(")
	others.Wait()
	require.Equal(t, fmt.Sprint(t.Context())+".Held", fmt.Sprint(hold.New(t.Context(), func() {})))
}

func TestManyAskAtOnce(t *testing.T) {
	for range 200 {
		c := within(context.Background(), time.Hour, errInner)
		var asking sync.WaitGroup
		seen := make([]<-chan struct{}, 4)
		for i := range seen {
			asking.Go(func() { seen[i] = c.Done() })
		}
		asking.Go(func() { c.Settle(false) })
		asking.Wait()
		for _, done := range seen {
			<-done // whatever they got, it has ended
		}
		requireEnded(t, c, context.Canceled, context.Canceled)
	}
}

func TestAHeldDeadlineGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := within(context.Background(), time.Minute, errOuter)
		inner := within(outer, time.Second, errInner)
		release := hold.Take(inner)
		inner.Settle(true)
		outer.Settle(true)
		require.NoError(t, inner.Err())
		time.Sleep(2 * time.Second)
		requireEnded(t, inner, context.DeadlineExceeded, errInner)
		require.NoError(t, outer.Err())
		release()
		requireEnded(t, outer, context.Canceled, context.Canceled)
	})
}
