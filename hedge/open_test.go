package hedge_test

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
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
)

// errLost is what the engine tells an attempt that succeeds when another one has already.
var errLost error = &policy.Rejection{Kind: "wrapper", Reason: errors.New("another attempt has won")}

// opened is a result that stays open.
type opened struct {
	value int
	ctx   context.Context
	end   context.CancelFunc
}

// open makes a call as the engine does it: exactly one call of the wrapper returns nil, the others end their contexts.
func open(ctx context.Context, h *hedge.Hedge, op policy.Func[int]) (opened, error) {
	var mu sync.Mutex
	var winner *opened
	over := false
	err := h.Open(ctx, func(ctx context.Context, end context.CancelFunc) error {
		value, err := op(ctx)
		if err != nil {
			end()
			return err
		}
		mu.Lock()
		lost := over || winner != nil
		if !lost {
			winner = &opened{value, ctx, end}
		}
		mu.Unlock()
		if lost {
			end()
			h.Discard(value)
			return errLost
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	if winner != nil && (err == nil || winner.ctx.Err() == nil) {
		return *winner, nil
	}
	if winner != nil { // an error has decided the call at the same time, and the winner was cancelled
		winner.end()
		h.Discard(winner.value)
	}
	return opened{}, err
}

func TestFault088_152_TheWinnersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, winner := range []int{1, 2} {
			var lost context.Context
			h := after(10 * ms)
			o, err := open(t.Context(), h, func(ctx context.Context) (int, error) {
				number := hedge.Attempt(ctx)
				if number != winner {
					lost = ctx
					<-ctx.Done()
					return 0, ctx.Err()
				}
				time.Sleep(15 * ms)
				return number, nil
			})
			require.NoError(t, err)
			require.Equal(t, winner, o.value)
			require.ErrorIs(t, context.Cause(lost), hedge.ErrLost)
			time.Sleep(time.Hour)
			require.NoError(t, o.ctx.Err(), "it lives until it is ended")
			o.end()
			require.ErrorIs(t, o.ctx.Err(), context.Canceled)
			require.EqualValues(t, winner-1, h.Snapshot().Won)
			require.Zero(t, h.Snapshot().Running)
		}
	})
}

func TestACallThatIsNotHedgedKeepsTheCallersContext(t *testing.T) {
	h := hedge.New(hedge.After(time.Hour))
	o, err := open(t.Context(), h, func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, opened{7, t.Context(), nil}, opened{o.value, o.ctx, nil})
	o.end()
	require.NoError(t, t.Context().Err())
	learning := hedge.New(hedge.Idempotent())
	o, err = open(t.Context(), learning, func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, t.Context(), o.ctx)
	require.EqualValues(t, 1, learning.Snapshot().Calls)
}

// A failure whose answer is still to be read keeps its context: the engine ends it, and not the hedge.
func TestAFailureThatStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live context.Context
		var end context.CancelFunc
		err := after(10*ms).Open(t.Context(), func(ctx context.Context, cancel context.CancelFunc) error {
			if hedge.Attempt(ctx) == 2 {
				cancel()
				return errOther
			}
			live, end = ctx, cancel
			time.Sleep(50 * ms)
			return errBackend
		})
		require.ErrorIs(t, err, errBackend)
		require.NoError(t, live.Err())
		end()
		require.Error(t, live.Err())
	})
}

// What panics or exits has no result: the context ends with it.
func TestAPanicEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ends := range []func(){func() { panic("boom") }, runtime.Goexit} {
			var seen context.Context
			_, _ = caught(func() {
				_, _ = open(t.Context(), after(10*ms), func(ctx context.Context) (int, error) { seen = ctx; ends(); return 0, nil })
			})
			require.Error(t, seen.Err())
		}
	})
}

// The hedge measures how long operations take to open their results.
func TestOpenTeachesTheQuantile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Idempotent())
		for range 200 {
			o, err := open(t.Context(), h, func(context.Context) (int, error) { time.Sleep(20 * ms); return 1, nil })
			require.NoError(t, err)
			time.Sleep(100 * ms)
			o.end()
		}
		require.InEpsilon(t, 0.020, h.Snapshot().Delay.Seconds(), 0.032)
	})
}

// The contexts of all attempts have ended when the call is over, also of those that ended by themselves.
func TestFault088_TheContextsOfACallEndWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, err := range map[string]error{"a success": nil, "failures": errBackend} {
			var mu sync.Mutex
			var seen []context.Context
			_, _ = resilience.Do(t.Context(), after(10*ms, hedge.Extra(2)), func(ctx context.Context) (int, error) {
				mu.Lock()
				seen = append(seen, ctx)
				mu.Unlock()
				time.Sleep(50 * ms)
				return 0, err
			})
			synctest.Wait()
			mu.Lock()
			require.Len(t, seen, 3, name)
			for _, ctx := range seen {
				require.ErrorIs(t, ctx.Err(), context.Canceled, name)
			}
			mu.Unlock()
		}
		time.Sleep(time.Second) // the losers return
	})
}

// endsWhenAsked is a context that ends when it is asked whether it has, and hears of it only after the caller has left.
type endsWhenAsked struct {
	context.Context
	asked func()
	armed *atomic.Bool
}

func (c endsWhenAsked) Err() error {
	err := c.Context.Err()
	if c.armed.CompareAndSwap(true, false) {
		c.asked()
	}
	return err
}

// Whether a result is late matters only when the caller has left: one that is first is not looked at for so long that it becomes
// late by that.
func TestAnOpenResultThatIsFirstIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.After(time.Millisecond), hedge.Idempotent())
		inner, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx := endsWhenAsked{inner, func() { cancel(); time.Sleep(time.Second) }, new(atomic.Bool)}
		err := h.Open(ctx, func(attempt context.Context, end context.CancelFunc) error {
			if hedge.Attempt(attempt) == 1 {
				<-attempt.Done()
				end()
				return attempt.Err()
			}
			ctx.armed.Store(true)
			return nil
		})
		require.NoError(t, err)
		require.EqualValues(t, 1, h.Snapshot().Won)
	})
}
