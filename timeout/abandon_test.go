package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

const ms = time.Millisecond

var errBackend = errors.New("backend failed")

// deaf returns an operation that takes some time whatever happens to its context.
func deaf(takes time.Duration, value int, err error) policy.Func[int] {
	return func(context.Context) (int, error) {
		time.Sleep(takes)
		return value, err
	}
}

func TestFault147_AbandonReturnsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Abandon(50 * ms)
		start := time.Now()
		value, err := resilience.Do(t.Context(), limit, deaf(600*ms, 7, nil))
		require.Equal(t, 50*ms, time.Since(start))
		require.Zero(t, value)
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, policy.ErrRejected)
		require.EqualError(t, err, "abandoning timeout 50ms expired")
		require.Equal(t, timeout.AbandonSnapshot{Limit: 50 * ms, Expired: 1, Running: 1, Abandoned: 1}, limit.Snapshot())
		time.Sleep(549 * ms)
		require.Equal(t, 1, limit.Snapshot().Abandoned)
		time.Sleep(2 * ms)
		require.Equal(t, timeout.AbandonSnapshot{Limit: 50 * ms, Expired: 1, Discarded: 1}, limit.Snapshot())
	})
}

func TestAbandonPassesOnWhatIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Abandon(50 * ms)
		value, err := resilience.Do(t.Context(), limit, deaf(49*ms, 7, nil))
		require.NoError(t, err)
		require.Equal(t, 7, value)
		value, err = resilience.Do(t.Context(), limit, deaf(49*ms, 8, errBackend))
		require.Equal(t, errBackend, err)
		require.Equal(t, 8, value)
		require.Equal(t, timeout.AbandonSnapshot{Limit: 50 * ms}, limit.Snapshot())
		var seen context.Context
		_, err = timeout.AbandonPolicy[int]{Abandoner: limit}.Do(t.Context(), func(ctx context.Context) (int, error) {
			seen = ctx
			return 0, nil
		})
		require.NoError(t, err)
		require.ErrorIs(t, seen.Err(), context.Canceled, "the derived context is released")
		require.NotErrorIs(t, context.Cause(seen), timeout.ErrTimeout)
	})
}

func TestFault149_NothingHappensAfterTheReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Abandon(50 * ms)
		_, err := resilience.Do(t.Context(), limit, deaf(0, 7, nil))
		require.NoError(t, err)
		require.PanicsWithValue(t, "boom", func() {
			_, _ = resilience.Do(t.Context(), limit, func(context.Context) (int, error) { panic("boom") })
		})
		time.Sleep(time.Hour)
		require.Equal(t, timeout.AbandonSnapshot{Limit: 50 * ms}, limit.Snapshot())
	})
}

func TestTheContextOfAnAbandonedOperationHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		_, err := resilience.Do(t.Context(), timeout.Abandon(50*ms), func(ctx context.Context) (int, error) {
			time.Sleep(time.Second)
			ended <- context.Cause(ctx)
			return 0, nil
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.ErrorIs(t, <-ended, timeout.ErrTimeout)
	})
}

func TestFault147_TheBoundIsNeverExceededAndThePromiseKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := timeout.Abandon(50*ms, timeout.MaxRunning(3))
		start := time.Now()
		var callers sync.WaitGroup
		var expired, refused atomic.Int64
		for range 10 {
			callers.Go(func() {
				_, err := resilience.Do(t.Context(), limit, deaf(time.Second, 0, nil))
				switch {
				case errors.Is(err, timeout.ErrTimeout):
					expired.Add(1)
				case errors.Is(err, timeout.ErrMaxRunning) && errors.Is(err, policy.ErrRejected):
					refused.Add(1)
				}
			})
		}
		callers.Wait()
		require.Equal(t, 50*ms, time.Since(start))
		require.EqualValues(t, 3, expired.Load())
		require.EqualValues(t, 7, refused.Load())
		require.Equal(t, timeout.AbandonSnapshot{Limit: 50 * ms, Expired: 3, Rejected: 7, Running: 3, Abandoned: 3}, limit.Snapshot())
		_, err := resilience.Do(t.Context(), limit, deaf(0, 0, nil))
		require.EqualError(t, err, "abandoning timeout: too many operations are running, abandoned ones included")
		time.Sleep(time.Second)
		_, err = resilience.Do(t.Context(), limit, deaf(0, 0, nil))
		require.NoError(t, err)
	})
}

// TestFault140_AnAbandonedOperationKeepsItsPermit: the true concurrency never exceeds the bulkhead.
func TestFault140_AnAbandonedOperationKeepsItsPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots, limit := bulkhead.New(2), timeout.Abandon(50*ms)
		p := resilience.Compose(slots, limit)
		require.Equal(t, "abandoning timeout 50ms > bulkhead 2", p.String())
		var running, most atomic.Int64
		hung := func(context.Context) (int, error) {
			for now := running.Add(1); now > most.Load(); {
				most.Store(now)
			}
			defer running.Add(-1)
			time.Sleep(time.Second)
			return 0, nil
		}
		for i := range 20 {
			_, err := resilience.Do(t.Context(), p, hung)
			if i < 2 {
				require.ErrorIs(t, err, timeout.ErrTimeout)
			} else {
				require.ErrorIs(t, err, bulkhead.ErrFull)
			}
		}
		require.EqualValues(t, 2, most.Load())
		require.Equal(t, 2, slots.Snapshot().InFlight)
		time.Sleep(time.Second)
		require.Zero(t, slots.Snapshot().InFlight, "and gives it back in the end")
		_, err := resilience.Do(t.Context(), p, deaf(0, 0, nil))
		require.NoError(t, err)
	})
}

// In the queue of the bulkhead nothing is abandoned: who waits there leaves when the time is over.
func TestTheWaitInTheQueueIsPartOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots, limit := bulkhead.New(1, bulkhead.Queue(5, time.Minute)), timeout.Abandon(50*ms)
		p := resilience.Compose(slots, limit)
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if _, err := resilience.Do(t.Context(), p, deaf(time.Second, 0, nil)); !errors.Is(err, timeout.ErrTimeout) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		synctest.Wait()
		require.Equal(t, 1, limit.Snapshot().Abandoned)
		require.Equal(t, 1, slots.Snapshot().InFlight)
		time.Sleep(time.Second)
	})
}

func TestFault063_PanicAndGoexitInTimeReachTheCaller(t *testing.T) {
	for _, value := range []any{"text", errBackend, http.ErrAbortHandler, 42} {
		var recovered any
		func() {
			defer func() { recovered = recover() }()
			_, _ = resilience.Do(t.Context(), timeout.Abandon(time.Hour), func(context.Context) (int, error) { panic(value) })
		}()
		require.True(t, recovered == value, "got %v", recovered)
	}
	limit := timeout.Abandon(time.Hour)
	exited := make(chan bool, 1)
	go func() {
		returned := false
		defer func() { exited <- !returned && recover() == nil }()
		_, _ = resilience.Do(t.Context(), limit, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		returned = true
	}()
	require.True(t, <-exited)
	require.Zero(t, limit.Snapshot().Panics)
}

func TestFault064_PanicAfterTheCallerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type heard struct {
			value any
			stack string
		}
		reports := make(chan heard, 1)
		limit := timeout.Abandon(50*ms, timeout.OnPanic(func(value any, stack []byte) { reports <- heard{value, string(stack)} }))
		_, err := resilience.Do(t.Context(), limit, func(context.Context) (int, error) {
			time.Sleep(time.Second)
			theOriginalFrame()
			return 0, nil
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		report := <-reports
		require.Equal(t, "late", report.value)
		require.True(t, strings.Contains(report.stack, "theOriginalFrame"))
		synctest.Wait()
		require.EqualValues(t, 1, limit.Snapshot().Panics)
		require.Zero(t, limit.Snapshot().Running)

		_, err = resilience.Do(t.Context(), timeout.Abandon(50*ms), func(context.Context) (int, error) {
			time.Sleep(time.Second)
			runtime.Goexit()
			return 0, nil
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		time.Sleep(time.Second)
	})
}

func theOriginalFrame() { panic("late") }

func TestFault150_AnAbandonedResultIsClosedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan any, 10)
		limit := timeout.Abandon(50*ms, timeout.OnDiscard(func(value any) { closed <- value; panic("in the closer") }))
		_, err := resilience.Do(t.Context(), limit, deaf(time.Second, 7, nil))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		_, err = resilience.Do(t.Context(), limit, deaf(time.Second, 8, errBackend))
		require.ErrorIs(t, err, timeout.ErrTimeout)
		_, err = resilience.Do(t.Context(), limit, deaf(0, 9, nil))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		close(closed)
		require.Equal(t, 7, <-closed)
		_, more := <-closed
		require.False(t, more)
		require.EqualValues(t, 1, limit.Snapshot().Panics)
		require.Zero(t, limit.Snapshot().Running)
	})
}

func TestAbandonAndTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the caller's cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*ms, func() { cancel(cause) })
		limit := timeout.Abandon(time.Minute)
		start := time.Now()
		_, err := resilience.Do(ctx, limit, deaf(time.Second, 0, nil))
		require.Equal(t, 30*ms, time.Since(start), "the grace of 10 ms")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, cause)
		require.NotErrorIs(t, err, timeout.ErrTimeout)
		require.Equal(t, timeout.AbandonSnapshot{Limit: time.Minute, Running: 1, Abandoned: 1}, limit.Snapshot())

		ctx, stop := context.WithTimeout(t.Context(), 20*ms)
		defer stop()
		_, err = resilience.Do(ctx, limit, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, errBackend })
		require.Equal(t, errBackend, err, "an operation that heeds its context is heard")
		time.Sleep(time.Minute)
	})
	for range 200 { // fault 80: a success stands
		ctx, cancel := context.WithCancel(t.Context())
		value, err := resilience.Do(ctx, timeout.Abandon(time.Hour), func(context.Context) (int, error) { cancel(); return 7, nil })
		require.NoError(t, err)
		require.Equal(t, 7, value)
	}
}

// An operation that heeds its context loses a race of equals at the deadline, or wins it; either way the timeout is named.
func TestACooperativeOperationUnderAbandon(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			limit := timeout.Abandon(50 * ms)
			_, err := resilience.Do(t.Context(), limit, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, errBackend
			})
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.Contains(t, []string{"abandoning timeout 50ms expired", "abandoning timeout 50ms expired: backend failed"}, err.Error())
			synctest.Wait()
			require.Equal(t, timeout.AbandonSnapshot{Limit: 50 * ms, Expired: 1}, limit.Snapshot())
		})
	}
}

func TestAbandonConfiguration(t *testing.T) {
	for _, test := range []struct {
		limit time.Duration
		opts  []timeout.AbandonOption
		text  string
	}{
		{0, nil, "limit 0s: must be positive"},
		{math.MinInt64, nil, "limit -2562047h47m16.854775808s: must be positive"},
		{1, []timeout.AbandonOption{nil}, "option 1 is nil"},
		{1, []timeout.AbandonOption{timeout.MaxRunning(0)}, "MaxRunning(0): must be positive"},
		{1, []timeout.AbandonOption{timeout.MaxRunning(-1)}, "MaxRunning(-1): must be positive"},
		{1, []timeout.AbandonOption{timeout.OnDiscard(nil), timeout.OnPanic(nil)}, "OnDiscard: the function is nil; OnPanic: the function is nil"},
	} {
		text := "timeout.Abandon: " + test.text
		require.EqualError(t, timeout.ValidateAbandon(test.limit, test.opts...), text)
		require.PanicsWithError(t, text, func() { timeout.Abandon(test.limit, test.opts...) })
	}
	require.NoError(t, timeout.ValidateAbandon(math.MaxInt64, timeout.MaxRunning(math.MaxInt)))
	value, err := resilience.Do(t.Context(), timeout.Abandon(math.MaxInt64), deaf(0, 7, nil))
	require.NoError(t, err)
	require.Equal(t, 7, value)
	require.PanicsWithValue(t, "timeout: AbandonPolicy without an Abandoner", func() {
		_, _ = timeout.AbandonPolicy[int]{}.Do(t.Context(), deaf(0, 0, nil))
	})
}

func TestAbandonAndItsNeighbours(t *testing.T) {
	limit := timeout.Abandon(time.Second)
	for _, test := range []struct {
		layers []policy.Layer
		text   string
	}{
		{[]policy.Layer{limit, bulkhead.New(2), timeout.Total(2 * time.Second), timeout.PerAttempt(500 * ms)}, ""},
		{[]policy.Layer{limit, timeout.Total(time.Second)}, "must be below the total timeout 1s around it"},
		{[]policy.Layer{limit, timeout.PerAttempt(time.Second)}, "must be below the abandoning timeout 1s around it"},
		{[]policy.Layer{policy.At(policy.StageAttemptTimeout, limit), bulkhead.New(2)}, "is inside bulkhead 2, which abandoned operations would outlive"},
		{[]policy.Layer{limit, policy.At(policy.StageShed, bulkhead.New(2))}, "is inside bulkhead 2"},
		{[]policy.Layer{limit, policy.At(policy.StageShed, bulkhead.New(2)), bulkhead.New(3)}, ""},
	} {
		err := resilience.Validate(test.layers...)
		if test.text == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, test.text)
		}
	}
	require.Equal(t, time.Second, limit.TimeLimit())
	require.Equal(t, "rate limit abandoning timeout 1s bulkhead",
		fmt.Sprintf("%v %v %v", policy.StageRateLimit, limit, policy.StageBulkhead))
	require.Greater(t, limit.Stage(), policy.StageRateLimit)
	require.Less(t, limit.Stage(), policy.StageBulkhead)
}
