package bulkhead_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

// hostile is a context one of whose methods does not return, from a call on.
type hostile struct {
	context.Context
	inDone, inErr, inValue func()
}

func (c *hostile) Done() <-chan struct{} { c.inDone(); return c.Context.Done() }
func (c *hostile) Err() error            { c.inErr(); return c.Context.Err() }
func (c *hostile) Value(key any) any     { c.inValue(); return c.Context.Value(key) }

// An attempt whose context panics, or ends the goroutine, while it waits leaves the queue, and takes no slot with it.
func TestFault243_AHostileContextLeavesTheQueue(t *testing.T) {
	nothing := func() {}
	for way, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		for name, hostileContext := range map[string]func(armed *atomic.Bool) *hostile{
			"Done": func(*atomic.Bool) *hostile { return &hostile{inDone: end, inErr: nothing, inValue: nothing} },
			"Err": func(armed *atomic.Bool) *hostile {
				return &hostile{inDone: nothing, inValue: nothing, inErr: func() {
					if armed.Load() {
						end()
					}
				}}
			},
			"Value": func(*atomic.Bool) *hostile { return &hostile{inDone: nothing, inErr: nothing, inValue: end} },
		} {
			for _, granted := range []bool{true, false} {
				t.Run(way+" in "+name, func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						b := bulkhead.New(1, bulkhead.Queue(2, time.Minute))
						holder := acquire(t, b)
						var armed atomic.Bool
						ctx := hostileContext(&armed)
						ctx.Context = context.Background()
						over := make(chan struct{})
						go func() {
							isolated(func() { _, _ = policy.Acquire(ctx, b) })
							close(over)
						}()
						synctest.Wait()
						armed.Store(true)
						if granted {
							holder.Done(nil)
							<-over
						} else {
							time.Sleep(time.Hour) // its wait is over
							<-over
							holder.Done(nil)
						}
						require.Zero(t, b.Snapshot().InFlight)
						require.Zero(t, b.Snapshot().Waiting)
						require.Equal(t, 1, free(t, b))
					})
				})
			}
		}
	}
}

func TestNoWaitIsRefusedInsteadOfQueued(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Minute))
		hurried := policy.NoWait(context.Background())
		permit, err := policy.Acquire(hurried, b)
		require.NoError(t, err, "a free slot is taken")
		start := time.Now()
		_, err = policy.Acquire(hurried, b)
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.NotErrorIs(t, err, bulkhead.ErrQueueFull)
		require.Equal(t, "bulkhead.full", policy.Code(err))
		require.Zero(t, time.Since(start))
		require.Equal(t, bulkhead.Snapshot{Limit: 1, InFlight: 1, PeakInFlight: 1, Rejected: 1}, b.Snapshot())

		waits := make(chan error)
		go func() { _, err := resilience.Do(context.Background(), b, nothing); waits <- err }()
		synctest.Wait()
		_, err = policy.Acquire(hurried, b)
		require.ErrorIs(t, err, bulkhead.ErrFull)
		permit.Done(nil)
		require.NoError(t, <-waits, "others wait as before")
	})
}

// Each reason can be told from the others, and all match ErrFull.
func TestFault275_ReasonsCanBeToldApart(t *testing.T) {
	cause := errors.New("the budget of the request")
	reasons := map[error]string{
		bulkhead.ErrQueueFull:    "bulkhead.queue_full",
		bulkhead.ErrQueueTimeout: "bulkhead.queue_timeout",
		bulkhead.ErrTooHeavy:     "bulkhead.weight",
		bulkhead.ErrDeadline:     "bulkhead.deadline",
		bulkhead.ErrDraining:     "bulkhead.draining",
	}
	within := func(d time.Duration, why error) (context.Context, context.CancelFunc) {
		return context.WithTimeoutCause(context.Background(), d, why)
	}
	tests := []struct {
		name     string
		want     error
		rejected bool
		text     string
		run      func(t *testing.T, b *bulkhead.Bulkhead) error
	}{
		{"queue full", bulkhead.ErrQueueFull, true, `bulkhead "db": all slots and all places in the queue are taken`, func(t *testing.T, b *bulkhead.Bulkhead) error {
			first, cancel := context.WithCancel(context.Background())
			defer cancel()
			go resilience.Do(first, b, nothing)
			synctest.Wait()
			_, err := policy.Acquire(context.Background(), b)
			return err
		}},
		{"waited too long", bulkhead.ErrQueueTimeout, true, `bulkhead "db": all slots are taken: none became free in time`, func(t *testing.T, b *bulkhead.Bulkhead) error {
			_, err := policy.Acquire(context.Background(), b)
			return err
		}},
		{"too heavy", bulkhead.ErrTooHeavy, true, `bulkhead "db": the weight is above the limit`, func(t *testing.T, b *bulkhead.Bulkhead) error {
			_, err := policy.Acquire(context.WithValue(context.Background(), weightKey{}, 2), b)
			return err
		}},
		{"deadline", bulkhead.ErrDeadline, false, `bulkhead "db": the deadline came before a free slot`, func(t *testing.T, b *bulkhead.Bulkhead) error {
			ctx, cancel := within(time.Second, cause)
			defer cancel()
			_, err := policy.Acquire(ctx, b)
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return err
		}},
		{"a timeout that cancels", bulkhead.ErrDeadline, false, `bulkhead "db": the deadline came before a free slot`, func(t *testing.T, b *bulkhead.Bulkhead) error {
			ctx, cancel := context.WithCancelCause(context.Background())
			time.AfterFunc(time.Second, func() { cancel(context.DeadlineExceeded) })
			_, err := policy.Acquire(ctx, b)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return err
		}},
		{"draining", bulkhead.ErrDraining, true, `bulkhead "db": draining`, func(t *testing.T, b *bulkhead.Bulkhead) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			require.ErrorIs(t, b.Drain(ctx), context.Canceled)
			_, err := policy.Acquire(context.Background(), b)
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bulkhead.New(1, bulkhead.Name("db"), bulkhead.Queue(1, time.Minute), bulkhead.WeightOf(weightMark))
				defer acquire(t, b).Done(nil)
				err := test.run(t, b)
				require.ErrorIs(t, err, bulkhead.ErrFull)
				require.EqualError(t, err, test.text)
				require.Equal(t, test.rejected, errors.Is(err, policy.ErrRejected))
				for reason, code := range reasons {
					require.Equal(t, reason == test.want, errors.Is(err, reason), "%v", reason)
					if reason == test.want {
						require.Equal(t, code, policy.Code(err))
					}
				}
				synctest.Wait()
			})
		})
	}
	require.Equal(t, "bulkhead.full", policy.Code(bulkhead.ErrFull))
	require.NotErrorIs(t, bulkhead.ErrFull, bulkhead.ErrQueueFull)

	bubble(t, func(t *testing.T) { // a caller who leaves is no reason
		b := bulkhead.New(1, bulkhead.Queue(1, time.Minute))
		defer acquire(t, b).Done(nil)
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		_, err := policy.Acquire(ctx, b)
		require.Equal(t, context.Canceled, err)
	})
}

// Whatever the name and the cause are, every error is one line of bounded length.
func TestFault271_ErrorsAreOneLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Name("a\r\nb"), bulkhead.Queue(1, time.Minute))
		defer acquire(t, b).Done(nil)
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, errors.New("first\nsecond\r"))
		defer cancel()
		_, deadline := policy.Acquire(ctx, b)
		_, full := policy.Acquire(policy.NoWait(context.Background()), b)
		for _, err := range []error{deadline, full, b.Reconfigure(0, bulkhead.Name("x\ny"))} {
			require.Error(t, err)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "\r")
		}
	})
}

// watched is a context that is cancelled right after it was looked at for the n-th time.
type watched struct {
	context.Context
	cancel context.CancelFunc
	looks  int
	last   int
	ended  time.Time // when it was cancelled
}

func (c *watched) seen() {
	if c.looks++; c.looks == c.last {
		c.cancel()
		c.ended = time.Now()
	}
}

func (c *watched) Err() error {
	defer c.seen()
	return c.Context.Err()
}

func (c *watched) Done() <-chan struct{} {
	defer c.seen()
	return c.Context.Done()
}

// A context that ends between two looks at it, whichever they are, ends the wait at once.
func TestFault049_ACancellationBetweenTwoLooks(t *testing.T) {
	for last := 1; ; last++ {
		cancelled := false
		bubble(t, func(t *testing.T) {
			b := bulkhead.New(1, bulkhead.Queue(1, time.Hour))
			holder := acquire(t, b)
			ctx := &watched{last: last}
			ctx.Context, ctx.cancel = context.WithCancel(context.Background())
			defer ctx.cancel()
			start := time.Now()
			_, err := resilience.Do(ctx, b, nothing)
			if cancelled = ctx.ended.Equal(start); cancelled { // before the wait, or as it began
				require.ErrorIs(t, err, context.Canceled)
				require.Zero(t, time.Since(start))
			}
			require.Zero(t, b.Snapshot().Waiting)
			holder.Done(nil)
			require.Equal(t, 1, free(t, b))
		})
		if !cancelled {
			require.Greater(t, last, 2, "the engine looks, and the queue")
			return
		}
	}
}
