package retry_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// contend runs the experiment of Brooker, "Exponential Backoff And Jitter" (2015): clients that all want to update one
// row, with optimistic concurrency. It returns how many writes reached the server.
func contend(t *testing.T, clients int, seed uint64, opts ...retry.Option) (writes int) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		version := 0
		var group sync.WaitGroup
		for client := range clients {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			hop := func() { time.Sleep(time.Duration(math.Abs(10+2*random.NormFloat64()) * float64(time.Millisecond))) }
			again := retry.New(append(opts, retry.Attempts(math.MaxInt), retry.NoBudget(), retry.Rand(rand.NewPCG(seed, uint64(client)+1000)))...)
			group.Go(func() {
				_, err := resilience.Do(t.Context(), again, func(context.Context) (int, error) {
					hop()
					mu.Lock()
					read := version
					mu.Unlock()
					hop()
					hop()
					mu.Lock()
					won := read == version
					if won {
						version++
					}
					writes++
					mu.Unlock()
					hop()
					if !won {
						return 0, errBackend
					}
					return 0, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
	return writes
}

func TestJitterExperiment(t *testing.T) {
	const clients, seeds = 100, 20
	exponential := retry.Exponential(10*time.Millisecond, 2*time.Second)
	measured := map[string]float64{}
	for _, test := range []struct {
		name string
		opts []retry.Option
		want float64 // writes, by the published program
	}{
		{"none", []retry.Option{retry.Constant(0)}, 2429},
		{"exponential", []retry.Option{exponential, retry.NoJitter()}, 1855},
		{"equal", []retry.Option{exponential, retry.EqualJitter()}, 813},
		{"full", []retry.Option{exponential, retry.FullJitter()}, 794},
		{"decorrelated", []retry.Option{retry.Exponential(5*time.Millisecond, 2*time.Second), retry.DecorrelatedJitter()}, 1008},
	} {
		sum := 0
		for seed := range uint64(seeds) {
			sum += contend(t, clients, seed, test.opts...)
		}
		measured[test.name] = float64(sum) / seeds
		t.Logf("%s: %.0f writes, published %.0f", test.name, measured[test.name], test.want)
		require.InEpsilon(t, test.want, measured[test.name], 0.03, test.name)
	}
	require.Less(t, measured["full"]/measured["exponential"], 0.5)
}

// storm runs an open loop against a server with a queue that is frozen for 10 s, and returns the share of the calls
// that succeed, of those that come in the last 30 of 130 seconds. The server works 300 requests a second, also those
// whose caller has given up after 1 s.
func storm(t *testing.T, opts ...retry.Option) (goodput float64) {
	synctest.Test(t, func(t *testing.T) {
		const load, freeze, thaw, measure, end = 240.0, 20 * time.Second, 30 * time.Second, 100 * time.Second, 130 * time.Second
		start := time.Now()
		var mu sync.Mutex
		var free time.Duration // when the server has done all that is queued
		errTimeout := errors.New("timed out")
		op := func(context.Context) (int, error) {
			mu.Lock()
			now := time.Since(start)
			free = max(free, now)
			if now >= freeze && now < thaw {
				free = max(free, thaw)
			}
			free += time.Second / 300
			wait := free - now
			mu.Unlock()
			if wait > time.Second {
				time.Sleep(time.Second)
				return 0, errTimeout
			}
			time.Sleep(wait)
			return 0, nil
		}
		again := retry.New(append(opts, retry.Constant(0))...)
		random := rand.New(rand.NewPCG(1, 2))
		calls, good := 0, 0
		var group sync.WaitGroup
		for at := time.Duration(0); at < end; at = time.Since(start) {
			group.Go(func() {
				_, err := resilience.Do(t.Context(), again, op)
				mu.Lock()
				defer mu.Unlock()
				if at >= measure {
					calls++
					if err == nil {
						good++
					}
				}
			})
			time.Sleep(time.Duration(random.ExpFloat64() / load * float64(time.Second)))
		}
		group.Wait()
		goodput = float64(good) / float64(calls)
	})
	return goodput
}

func TestFault233_ARetryStormEndsWithABudget(t *testing.T) {
	require.Zero(t, storm(t, retry.NoBudget()), "the control arm: the trigger is gone, the storm stays")
	require.GreaterOrEqual(t, storm(t, retry.WithBudget(retry.NewBudget(0.1, 0))), 0.95)
	require.GreaterOrEqual(t, storm(t, retry.WithBudget(retry.NewTokenBudget(10, 0.1))), 0.95)
}

// twice is a wrapper that makes two calls at the same time, like a hedge without a delay.
type twice struct{}

func (twice) Stage() policy.Stage { return policy.StageHedge }
func (twice) Run(ctx context.Context, call func(context.Context) error) error {
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- call(ctx) }()
	}
	if first, second := <-errs, <-errs; first != nil && second != nil {
		return first
	}
	return nil
}

func TestFault157_RetriesTimesHedges(t *testing.T) {
	for name, stage := range map[string]policy.Stage{"retry of hedges": policy.StageHedge, "hedge of retries": policy.StageShed} {
		t.Run(name, func(t *testing.T) {
			for _, winner := range []int{0, 1, 2, 3} { // which entry succeeds; 0: none
				var mu sync.Mutex
				entered, succeeded := 0, 0
				pipeline := resilience.Compose(retry.New(retry.Constant(0)), policy.At(stage, twice{}))
				err := pipeline.Run(t.Context(), func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					if entered++; winner > 0 && entered >= winner {
						succeeded++
						return nil
					}
					return errBackend
				})
				require.LessOrEqual(t, entered, 3*2)
				if winner == 0 {
					require.ErrorIs(t, err, errBackend)
					require.Equal(t, 3*2, entered)
				} else {
					require.NoError(t, err)
					require.LessOrEqual(t, succeeded, 2, "a winner stops the retries")
				}
			}
		})
	}
}

func TestOneBudgetForRetriesAndHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(0.1, 0) // holds 1 token
		hedged := hedge.New(hedge.Idempotent(), hedge.After(10*time.Millisecond), hedge.WithBudget(budget))
		pipeline := resilience.Compose(retry.New(retry.WithBudget(budget), retry.Constant(0)), hedged)
		var mu sync.Mutex
		entered := 0
		err := pipeline.Run(t.Context(), func(context.Context) error {
			mu.Lock()
			entered++
			mu.Unlock()
			time.Sleep(time.Second)
			return errBackend
		})
		require.ErrorIs(t, err, retry.ErrBudget)
		require.Equal(t, 2, entered, "the hedge has taken the token that the retry needs")
	})
}

func TestAnOpenBreakerEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := breaker.New(breaker.ConsecutiveFailures(2), breaker.OpenFor(time.Minute))
		pipeline := resilience.Compose(retry.New(retry.Attempts(9), retry.NoJitter()), db)
		start := time.Now()
		var entered atomic.Int64
		fail := func(context.Context) error { entered.Add(1); return errBackend }
		err := pipeline.Run(t.Context(), fail)
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.ErrorIs(t, err, errBackend)
		require.EqualValues(t, 2, entered.Load())
		require.Equal(t, 100*time.Millisecond, time.Since(start), "one wait, between the two attempts")

		// A call that sleeps while another one opens the breaker is woken.
		db = breaker.New(breaker.ConsecutiveFailures(2), breaker.OpenFor(time.Minute))
		pipeline = resilience.Compose(retry.New(retry.Constant(10*time.Second), retry.NoJitter()), db)
		time.AfterFunc(time.Second, func() { _ = resilience.Compose(db).Run(context.Background(), fail) })
		start = time.Now()
		err = pipeline.Run(t.Context(), fail)
		require.ErrorIs(t, err, breaker.ErrOpen)
		require.ErrorIs(t, err, errBackend)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestFault169_TotalAndPerAttemptTimeout(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	run := func(t *testing.T, layers ...policy.Layer) (elapsed time.Duration, settled int, err error) {
		synctest.Test(t, func(t *testing.T) {
			breaker := &fakeBreaker{threshold: 100}
			again := retry.New(retry.Attempts(4), retry.Constant(50*time.Millisecond), retry.NoJitter())
			start := time.Now()
			err = resilience.Compose(append(layers, again, breaker)...).Run(t.Context(), hang)
			elapsed, settled = time.Since(start), len(breaker.settled)
		})
		return elapsed, settled, err
	}
	elapsed, settled, err := run(t, timeout.Total(100*time.Millisecond))
	require.ErrorIs(t, err, timeout.ErrTimeout)
	require.Equal(t, 100*time.Millisecond, elapsed, "bounds the whole")
	require.Equal(t, 1, settled)

	elapsed, settled, err = run(t, timeout.PerAttempt(100*time.Millisecond))
	require.ErrorIs(t, err, timeout.ErrTimeout)
	require.ErrorIs(t, err, retry.ErrExhausted)
	require.Equal(t, 4*100*time.Millisecond+3*50*time.Millisecond, elapsed, "bounds each attempt")
	require.Equal(t, 4, settled, "each counted once")

	elapsed, settled, err = run(t, timeout.Total(220*time.Millisecond), timeout.PerAttempt(100*time.Millisecond))
	require.ErrorIs(t, err, timeout.ErrTimeout)
	require.Equal(t, 220*time.Millisecond, elapsed, "the second attempt is cut short")
	require.Equal(t, 2, settled)

	elapsed, settled, err = run(t, timeout.Total(140*time.Millisecond), timeout.PerAttempt(100*time.Millisecond))
	require.ErrorIs(t, err, retry.ErrDeadline)
	require.Equal(t, 100*time.Millisecond, elapsed, "nothing sleeps into the deadline")
	require.Equal(t, 1, settled)
}
