package bulkhead_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func TestReconfigureReplacesDataAndKeepsCodeAndIdentity(t *testing.T) {
	b := bulkhead.New(4, bulkhead.Name("db"), bulkhead.Queue(3, time.Second), bulkhead.WeightOf(func(context.Context) int { return 2 }), bulkhead.Shadow())
	require.NoError(t, b.Reconfigure(6))
	require.Equal(t, `bulkhead "db" 6`, b.String())
	require.False(t, b.Snapshot().Shadow)
	permit := acquire(t, b)
	require.Equal(t, 2, b.Snapshot().InFlight, "weights stay")
	require.NoError(t, b.Reconfigure(6, bulkhead.Name("db"), bulkhead.WeightOf(func(context.Context) int { return 3 }), bulkhead.Shadow()))
	require.True(t, b.Snapshot().Shadow)
	another := acquire(t, b)
	require.Equal(t, 5, b.Snapshot().InFlight)
	permit.Done(nil)
	another.Done(nil)
	require.Zero(t, b.Snapshot().InFlight)

	plain := bulkhead.New(4)
	one := acquire(t, plain)
	require.NoError(t, plain.Reconfigure(4, bulkhead.WeightOf(func(context.Context) int { return 3 })))
	three := acquire(t, plain)
	require.Equal(t, 4, plain.Snapshot().InFlight)
	one.Done(nil)
	three.Done(nil)
	require.Zero(t, plain.Snapshot().InFlight)
}

func TestReconfigureAllOrNothing(t *testing.T) {
	b := bulkhead.New(4, bulkhead.Name("db"), bulkhead.Queue(3, time.Second))
	for want, err := range map[string]error{
		"limit 0":                      b.Reconfigure(0, bulkhead.Queue(9, time.Hour)),
		`keeps its name, "db"`:         b.Reconfigure(9, bulkhead.Name("other")),
		"Queue length 0":               b.Reconfigure(9, bulkhead.Queue(0, time.Hour)),
		"Classify: needs Adaptive":     b.Reconfigure(9, bulkhead.Classify(func(error) policy.Class { return policy.Ignored })),
		"option 1 is nil":              b.Reconfigure(9, nil),
		"this bulkhead is fixed":       b.ReconfigureAdaptive(bulkhead.Vegas(), 1, 9),
		"bulkhead is fixed; use Recon": b.ReconfigureAdaptive(bulkhead.Algorithm{}, 1, 9),
	} {
		require.ErrorContains(t, err, want)
		require.ErrorAs(t, err, new(*policy.ConfigError))
	}
	require.Equal(t, `bulkhead "db" 4+3`, b.String())
	require.Equal(t, 4, b.Snapshot().Limit)
	require.True(t, b.Idle(), "nothing was set")
}

// Those that wait keep their order, their places and the ends of their waits, whatever becomes of the queue.
func TestReconfigureKeepsTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(5, 10*time.Second))
		holder := acquire(t, b)
		var order []int
		var mu sync.Mutex
		for i := range 4 {
			go resilience.Do(context.Background(), b, func(context.Context) (int, error) {
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				return 0, nil
			})
			synctest.Wait()
		}
		require.NoError(t, b.Reconfigure(1, bulkhead.Queue(2, time.Second)))
		require.Equal(t, 4, b.Snapshot().Waiting)
		_, err := policy.Acquire(context.Background(), b)
		require.ErrorIs(t, err, bulkhead.ErrQueueFull, "the queue is longer than it may be")
		time.Sleep(5 * time.Second)
		require.Equal(t, 4, b.Snapshot().Waiting, "they wait as long as they would have")
		require.NoError(t, b.Reconfigure(1))
		_, err = policy.Acquire(context.Background(), b)
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.NotErrorIs(t, err, bulkhead.ErrQueueFull)
		holder.Done(nil)
		synctest.Wait()
		require.Equal(t, 1, b.Snapshot().InFlight)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []int{0, 1, 2, 3}, order)
	})
}

// A hundred changes a second for ten seconds, under load: no attempt fails because of them.
func TestReconfigureUnderSteadyLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(10, bulkhead.Queue(20, time.Minute))
		var calls sync.WaitGroup
		for i := range 1000 { // ten seconds
			for range 4 {
				calls.Go(func() {
					if _, err := resilience.Do(context.Background(), b, func(context.Context) (int, error) { time.Sleep(20 * time.Millisecond); return 0, nil }); err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(10 * time.Millisecond)
			limit := 9 + i%3
			require.NoError(t, b.Reconfigure(limit, bulkhead.Queue(20+limit, time.Minute)))
		}
		calls.Wait()
		require.Zero(t, b.Snapshot().InFlight)
		require.Zero(t, b.Snapshot().Rejected)
	})
}

func TestReconfigureAdaptive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 50, bulkhead.Classify(ignoring(context.DeadlineExceeded)))
		for b.Snapshot().Limit < 2 {
			attempts(t, b, 10, 10*time.Millisecond, returned(nil), false)
		}
		require.NoError(t, b.ReconfigureAdaptive(bulkhead.Algorithm{}, 1, 40))
		require.Equal(t, "bulkhead aimd 1 to 40", b.String())
		require.Equal(t, 2, b.Snapshot().Limit, "what was learned stays")
		attempts(t, b, 1, time.Second, returned(context.DeadlineExceeded), false)
		require.Equal(t, 2, b.Snapshot().Limit, "the classifier stays")
		require.NoError(t, b.ReconfigureAdaptive(bulkhead.Algorithm{}, 10, 40, bulkhead.Classify(overload(context.DeadlineExceeded))))
		require.Equal(t, 10, b.Snapshot().Limit, "the new floor")
		require.NoError(t, b.ReconfigureAdaptive(bulkhead.Vegas(), 1, 5, bulkhead.Queue(3, time.Second)))
		require.Equal(t, "bulkhead vegas 1 to 5+3", b.String())
		require.Equal(t, 5, b.Snapshot().Limit, "the new ceiling")
		attempts(t, b, 1, time.Second, returned(context.DeadlineExceeded), false)
		require.Equal(t, 4, b.Snapshot().Limit, "the new classifier, and the new algorithm")

		require.ErrorContains(t, b.Reconfigure(3), "use ReconfigureAdaptive")
		require.ErrorContains(t, b.ReconfigureAdaptive(bulkhead.Vegas(), 3, 2), "ceiling 2")
		require.ErrorContains(t, b.ReconfigureAdaptive(bulkhead.Vegas(), 3, 4, bulkhead.Shadow()), "Shadow")
		require.Equal(t, "bulkhead vegas 1 to 5+3", b.String())
		require.False(t, b.Idle())
	})
}
