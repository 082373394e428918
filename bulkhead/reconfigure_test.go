package bulkhead_test

import (
	"context"
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
		`Name ""`:                      b.Reconfigure(9, bulkhead.Name("")),
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
