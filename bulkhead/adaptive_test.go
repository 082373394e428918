package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

func algorithms() []bulkhead.Algorithm {
	return []bulkhead.Algorithm{bulkhead.AIMD(15 * time.Millisecond), bulkhead.Gradient2(), bulkhead.Vegas()}
}

// dependency is what an adaptive bulkhead protects: 20 workers and an endless queue before them. At 10 ms a piece it
// bears 20 in flight, 2000 per second; whatever is sent in addition only makes it slower.
type dependency struct {
	workers *bulkhead.Bulkhead
	work    atomic.Int64 // nanoseconds
}

func newDependency() *dependency {
	d := &dependency{workers: bulkhead.New(20, bulkhead.Queue(bulkhead.MaxLimit, math.MaxInt64))}
	d.work.Store(int64(10 * time.Millisecond))
	return d
}

func (d *dependency) call(ctx context.Context) (int, error) {
	return resilience.Do(ctx, d.workers, func(context.Context) (int, error) { time.Sleep(time.Duration(d.work.Load())); return 0, nil })
}

// offer sends perSecond calls at random moments for a time, and returns the limit of b after each 100 ms, and the share
// of calls that were served and their mean latency.
func offer(b *bulkhead.Bulkhead, d *dependency, random *rand.Rand, perSecond float64, during time.Duration) (limits []int, served float64, latency time.Duration) {
	begin, calls, ok := time.Now(), 0, 0
	var total time.Duration
	type ended struct {
		latency time.Duration
		err     error
	}
	results := make(chan ended, int(2*perSecond*during.Seconds())+100)
	for time.Since(begin) < during {
		time.Sleep(time.Duration(random.ExpFloat64() / perSecond * 1e9))
		calls++
		go func() {
			start := time.Now()
			_, err := resilience.Do(context.Background(), b, d.call)
			results <- ended{time.Since(start), err}
		}()
		for int(time.Since(begin)/(100*time.Millisecond)) > len(limits) {
			limits = append(limits, b.Snapshot().Limit)
		}
	}
	synctest.Wait()
	for len(results) > 0 {
		if result := <-results; result.err == nil {
			ok++
			total += result.latency
		}
	}
	return limits, float64(ok) / float64(calls), total / time.Duration(max(1, ok))
}

// span is d, or half of it in a short run.
func span(d time.Duration) time.Duration { return d / testsize.Pick[time.Duration](2, 1) }

func mean(limits []int) float64 {
	sum := 0
	for _, limit := range limits {
		sum += limit
	}
	return float64(sum) / float64(len(limits))
}

func TestAdaptiveFindsTheCapacity(t *testing.T) {
	if raced {
		t.Skip("a simulation")
	}
	for _, algorithm := range algorithms() {
		t.Run(algorithm.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, d := bulkhead.Adaptive(algorithm, 5, 500), newDependency()
				random := rand.New(rand.NewPCG(1, 2))
				offer(b, d, random, 3000, span(10*time.Second))
				limits, served, latency := offer(b, d, random, 3000, span(10*time.Second))
				t.Logf("limit %.1f, served %.3f, latency %v", mean(limits), served, latency)
				require.InDelta(t, 2.0/3, served, 0.03, "the capacity is used")
				require.Less(t, latency, 30*time.Millisecond, "and the dependency has no long queue")
				require.Greater(t, mean(limits), 20.0)
				require.Less(t, mean(limits), 60.0)
				time.Sleep(time.Minute)
				require.Zero(t, b.Snapshot().InFlight)
			})
		})
	}
}

func TestFault159_RecoversAfterALatencySpike(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const floor = 5
				b, d := bulkhead.Adaptive(algorithm, floor, 500), newDependency()
				random := rand.New(rand.NewPCG(3, 4))
				offer(b, d, random, 3000, span(10*time.Second))
				before, _, _ := offer(b, d, random, 3000, span(5*time.Second))
				d.work.Store(int64(200 * time.Millisecond))
				during, _, _ := offer(b, d, random, 3000, span(10*time.Second))
				d.work.Store(int64(10 * time.Millisecond))
				offer(b, d, random, 3000, span(5*time.Second))
				after, served, latency := offer(b, d, random, 3000, span(5*time.Second))
				t.Logf("before %.1f, at the end of the spike %d, seconds after it %.1f, served %.3f, latency %v", mean(before), during[len(during)-1], mean(after), served, latency)
				require.Less(t, float64(during[len(during)-1]), 0.6*mean(before))
				require.Greater(t, mean(after), 0.8*mean(before))
				require.InDelta(t, 2.0/3, served, 0.05)
				for _, limits := range [][]int{before, during, after} {
					for _, limit := range limits {
						require.GreaterOrEqual(t, limit, floor)
						require.LessOrEqual(t, limit, 500)
					}
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestAdaptiveIsDeterministicInVirtualTime(t *testing.T) {
	if raced {
		t.Skip("a simulation")
	}
	for _, algorithm := range algorithms() {
		t.Run(algorithm.String(), func(t *testing.T) {
			run := func(processors int) (limits []int) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
				bubble(t, func(t *testing.T) {
					b, d := bulkhead.Adaptive(algorithm, 5, 500), newDependency()
					limits, _, _ = offer(b, d, rand.New(rand.NewPCG(5, 6)), 2500, testsize.Pick[time.Duration](3, 10)*time.Second)
					time.Sleep(time.Minute)
				})
				return limits
			}
			first := run(1)
			require.NotEqual(t, first[0], first[len(first)-1], "it moved")
			require.Equal(t, first, run(1))
			require.Equal(t, first, run(2))
		})
	}
}

func TestAdaptiveDoesNotGrowBelowHalfUse(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, d := bulkhead.Adaptive(algorithm, 10, 500), newDependency()
				for range 10_000 { // one at a time
					_, err := resilience.Do(context.Background(), b, d.call)
					require.NoError(t, err)
				}
				require.Equal(t, 10, b.Snapshot().Limit)
			})
		})
	}
}

// returned is the outcome of an operation that returned err.
func returned(err error) policy.Outcome { return policy.Outcome{Kind: policy.Returned, Err: err} }

// attempts runs attempts, one after the other: each takes d, and then ends with outcome. left says that the caller has
// cancelled meanwhile.
func attempts(t *testing.T, b *bulkhead.Bulkhead, n int, d time.Duration, outcome policy.Outcome, left bool) {
	t.Helper()
	for range n {
		ctx, cancel := context.WithCancel(context.Background())
		permit, err := policy.Acquire(ctx, b)
		require.NoError(t, err)
		time.Sleep(d)
		if left {
			cancel()
		}
		require.True(t, permit.Settle(outcome))
		cancel()
	}
}

func TestFault160_WhatIsNoSample(t *testing.T) {
	failed := errors.New("bad request")
	tests := []struct {
		name    string
		left    bool
		outcome policy.Outcome
	}{
		{"cancelled", true, returned(errors.New("canceling statement"))},
		{"refused further in", false, policy.Outcome{Kind: policy.NotCalled, Err: policy.ErrRejected}},
		{"itself a refused call", false, returned(&policy.Rejection{Kind: "breaker"})},
		{"ignored", false, returned(failed)},
	}
	for _, algorithm := range algorithms() {
		for _, test := range tests {
			t.Run(algorithm.String()+"/"+test.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := bulkhead.Adaptive(algorithm, 1, 500, bulkhead.Classify(ignoring(failed)))
					attempts(t, b, 30, 10*time.Millisecond, returned(nil), false)
					before := b.Snapshot().Limit
					require.Greater(t, before, 1, "one at a time was enough use of a limit of 1")
					attempts(t, b, 1000, time.Second, test.outcome, test.left)     // slow
					attempts(t, b, 1000, time.Nanosecond, test.outcome, test.left) // fast
					require.Equal(t, before, b.Snapshot().Limit)
					attempts(t, b, 10, time.Nanosecond, returned(context.DeadlineExceeded), false)
					require.Less(t, b.Snapshot().Limit, before, "a deadline counts")
				})
			})
		}
	}
}

func TestAdaptiveWaitsForAWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 500)
		attempts(t, b, 9, time.Second, returned(nil), false)
		require.Equal(t, 1, b.Snapshot().Limit, "nine attempts are too few, whatever their time")
		attempts(t, b, 1, time.Second, returned(nil), false)
		require.Equal(t, 2, b.Snapshot().Limit)
		attempts(t, b, 98, time.Millisecond, returned(nil), false)
		require.Equal(t, 2, b.Snapshot().Limit, "98 ms are too short, whatever their number")
		attempts(t, b, 2, time.Millisecond, returned(nil), false)
		require.Equal(t, 3, b.Snapshot().Limit)
	})
}

func TestAdaptiveWaitsForAWindowHoweverManyComeAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 500)
		attempts(t, b, 100, 0, returned(nil), false)
		require.Equal(t, 1, b.Snapshot().Limit)
		time.Sleep(100 * time.Millisecond)
		attempts(t, b, 100, 0, returned(nil), false)
		require.Equal(t, 2, b.Snapshot().Limit, "once: the next window begins in the same moment")
	})
}

// A latency that the clock cannot tell from 0 cannot be compared either.
func TestAdaptiveTooFastForTheClock(t *testing.T) {
	for _, algorithm := range []bulkhead.Algorithm{bulkhead.Gradient2(), bulkhead.Vegas()} {
		t.Run(algorithm.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := bulkhead.Adaptive(algorithm, 1, 500)
				for range 10 {
					time.Sleep(100 * time.Millisecond)
					attempts(t, b, 10, 0, returned(nil), false)
				}
				require.Equal(t, 1, b.Snapshot().Limit)
				time.Sleep(100 * time.Millisecond)
				attempts(t, b, 10, time.Microsecond, returned(nil), false)
				attempts(t, b, 100, time.Millisecond, returned(nil), false)
				require.Greater(t, b.Snapshot().Limit, 1)
			})
		})
	}
}

func TestAdaptiveIsIdleAgainWhenItsLimitHasMoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 500)
		for limit := 1; limit < 3; limit++ {
			require.Equal(t, limit, b.Snapshot().Limit)
			require.True(t, b.Idle())
			attempts(t, b, 10, 10*time.Millisecond, returned(nil), false)
		}
		require.True(t, b.Idle())
	})
}

func TestAdaptiveOverload(t *testing.T) {
	busy := errors.New("503")
	for _, algorithm := range algorithms() {
		for _, err := range []error{busy, context.DeadlineExceeded, fmt.Errorf("query: %w", context.DeadlineExceeded)} {
			t.Run(fmt.Sprint(algorithm, " ", err), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := bulkhead.Adaptive(algorithm, 1, 500, bulkhead.Classify(overload(busy)))
					attempts(t, b, 30, 10*time.Millisecond, returned(nil), false)
					require.Greater(t, b.Snapshot().Limit, 1)
					attempts(t, b, 200, time.Millisecond, returned(err), false)
					require.Equal(t, 1, b.Snapshot().Limit, "down to the floor, and no further")
				})
			})
		}
	}
}

func TestFault159_StaleSamplesAreIgnored(t *testing.T) {
	for _, algorithm := range algorithms() {
		t.Run(algorithm.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, d := bulkhead.Adaptive(algorithm, 5, 500), newDependency()
				offer(b, d, rand.New(rand.NewPCG(7, 8)), 3000, span(10*time.Second))
				time.Sleep(time.Minute)
				limit := b.Snapshot().Limit
				require.Greater(t, limit, 20)
				var earlier []*policy.Permit
				for range limit {
					earlier = append(earlier, acquire(t, b))
				}
				time.Sleep(time.Second)
				earlier[0].Settle(returned(context.DeadlineExceeded))
				lower := b.Snapshot().Limit
				require.Less(t, lower, limit)
				for _, permit := range earlier[1:] { // one overload, many witnesses
					permit.Settle(returned(context.DeadlineExceeded))
				}
				require.Equal(t, lower, b.Snapshot().Limit)
				attempts(t, b, 1, time.Second, returned(context.DeadlineExceeded), false)
				require.Less(t, b.Snapshot().Limit, lower, "one that was admitted later counts again")
			})
		})
	}
}

// Only a limit that was lowered makes those witnesses of the past who were admitted before.
func TestFault159_AnAttemptThatTookLongCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 500)
		attempts(t, b, 100, 10*time.Millisecond, returned(nil), false)
		long := acquire(t, b)
		attempts(t, b, 1000, 10*time.Millisecond, returned(nil), false)
		limit := b.Snapshot().Limit
		require.Equal(t, 5, limit, "two in flight are less than half of 5")
		long.Settle(returned(context.DeadlineExceeded))
		require.Less(t, b.Snapshot().Limit, limit)
	})
}

func TestFault159_OneLuckySampleDoesNotPinTheBaseline(t *testing.T) {
	if raced {
		t.Skip("a simulation")
	}
	all := algorithms()
	for _, algorithm := range all[:testsize.Pick(1, len(all))] {
		t.Run(algorithm.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, d := bulkhead.Adaptive(algorithm, 5, 500), newDependency()
				random := rand.New(rand.NewPCG(9, 10))
				offer(b, d, random, 3000, 10*time.Second)
				before, _, _ := offer(b, d, random, 3000, 5*time.Second)
				attempts(t, b, 1, time.Nanosecond, returned(nil), false)
				after, served, _ := offer(b, d, random, 3000, 5*time.Second)
				t.Logf("before %.1f, after %.1f", mean(before), mean(after))
				require.Greater(t, mean(after), 0.9*mean(before))
				require.InDelta(t, 2.0/3, served, 0.03)
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestAdaptiveConfiguration(t *testing.T) {
	vegas := bulkhead.Vegas()
	type configuration struct {
		name           string
		algorithm      bulkhead.Algorithm
		floor, ceiling int
		options        []bulkhead.Option
		want           string
	}
	tests := []configuration{
		{"no algorithm", bulkhead.Algorithm{}, 1, 2, nil, "the algorithm is the zero value"},
		{"target 0", bulkhead.AIMD(0), 1, 2, nil, "AIMD target 0s"},
		{"target negative", bulkhead.AIMD(-1), 1, 2, nil, "AIMD target -1ns"},
		{"floor 0", vegas, 0, 2, nil, "floor 0"},
		{"floor negative", vegas, -3, 2, nil, "floor -3"},
		{"ceiling below", vegas, 10, 9, nil, "ceiling 9: must be from the floor, 10,"},
		{"nil classifier", vegas, 1, 2, []bulkhead.Option{bulkhead.Classify(nil)}, "Classify: the function is nil"},
		{"shadow", vegas, 1, 2, []bulkhead.Option{bulkhead.Shadow()}, "Shadow: an adaptive limit"},
		{"queue", vegas, 1, 2, []bulkhead.Option{bulkhead.Queue(0, 1)}, "Queue length 0"},
	}
	for _, ceiling := range aboveMaxLimit() {
		want := fmt.Sprint("ceiling ", ceiling)
		tests = append(tests, configuration{want, vegas, 10, ceiling, nil, want})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := bulkhead.ValidateAdaptive(test.algorithm, test.floor, test.ceiling, test.options...)
			require.ErrorContains(t, err, test.want)
			require.PanicsWithError(t, err.Error(), func() {
				bulkhead.Adaptive(test.algorithm, test.floor, test.ceiling, test.options...)
			})
		})
	}
	for _, extreme := range []error{
		bulkhead.ValidateAdaptive(vegas, 1, 1),
		bulkhead.ValidateAdaptive(vegas, bulkhead.MaxLimit, bulkhead.MaxLimit),
		bulkhead.ValidateAdaptive(bulkhead.AIMD(1), 1, bulkhead.MaxLimit),
	} {
		require.NoError(t, extreme)
	}
	require.ErrorContains(t, bulkhead.Validate(1, bulkhead.Classify(ignoring(nil))), "needs Adaptive")
	b := bulkhead.Adaptive(vegas, 10, 200, bulkhead.Queue(8, time.Second))
	require.Equal(t, "bulkhead vegas 10 to 200+8", b.String())
	require.ErrorContains(t, b.Reconfigure(20), "sets its limit itself")
	require.Equal(t, 10, b.Snapshot().Limit)
}

// ignoring classifies target as Ignored, and leaves the rest.
func ignoring(target error) func(error) policy.Class {
	return func(err error) policy.Class {
		if err == target {
			return policy.Ignored
		}
		return policy.Unclassified
	}
}

// overload classifies target as Throttled, and leaves the rest.
func overload(target error) func(error) policy.Class {
	return func(err error) policy.Class {
		if err == target {
			return policy.Throttled
		}
		return policy.Unclassified
	}
}

// What the class of an error says to the limit: the table of the classes.
func TestAdaptiveClasses(t *testing.T) {
	failed := errors.New("failed")
	const (
		answer   = "its latency counts"
		overload = "the limit is lowered"
		nothing  = "it says nothing"
	)
	tests := []struct {
		class policy.Class
		err   error
		want  string
	}{
		{policy.Unclassified, failed, overload},
		{policy.Transient, failed, overload},
		{policy.Throttled, failed, overload},
		{policy.Permanent, failed, answer},
		{policy.Expected, failed, answer},
		{policy.Ignored, failed, nothing},
		{policy.Transient, context.DeadlineExceeded, overload},
		{policy.Expected, fmt.Errorf("query: %w", context.DeadlineExceeded), overload},
		{policy.Permanent, context.DeadlineExceeded, overload},
		{policy.Ignored, context.DeadlineExceeded, nothing},
		{policy.Expected, &policy.Rejection{Kind: "breaker"}, nothing},
	}
	for _, test := range tests {
		for _, own := range []bool{false, true} { // the engine's class, and the bulkhead's own, which overrides it
			t.Run(fmt.Sprint(test.class, " ", test.err, " ", own), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					outcome := policy.Outcome{Kind: policy.Returned, Err: test.err, Class: test.class}
					var options []bulkhead.Option
					if own {
						if outcome.Class = policy.Expected; test.class == policy.Expected {
							outcome.Class = policy.Transient
						}
						if test.class == policy.Unclassified {
							outcome.Class = policy.Transient // that of the engine stands
						}
						options = append(options, bulkhead.Classify(func(err error) policy.Class {
							require.Equal(t, test.err, err)
							return test.class
						}))
					}
					b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 500, options...)
					attempts(t, b, 10, 10*time.Millisecond, returned(nil), false)
					require.Equal(t, 2, b.Snapshot().Limit)
					for range 10 {
						ctx, ticket, err := b.Admit(t.Context())
						require.NoError(t, err)
						time.Sleep(10 * time.Millisecond)
						b.Settle(ctx, ticket, outcome)
					}
					want := map[string]int{answer: 3, overload: 1, nothing: 2}[test.want]
					require.Equal(t, want, b.Snapshot().Limit, test.want)
				})
			})
		}
	}
	for _, kind := range []policy.Kind{policy.Panicked, policy.Exited} {
		bubble(t, func(t *testing.T) {
			b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 500)
			attempts(t, b, 10, 10*time.Millisecond, returned(nil), false)
			attempts(t, b, 1, time.Millisecond, policy.Outcome{Kind: kind}, false)
			require.Equal(t, 1, b.Snapshot().Limit, kind)
		})
	}
}

// A classifier that panics loses no slot.
func TestClassifyThatPanics(t *testing.T) {
	b := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 1, 2, bulkhead.Classify(func(error) policy.Class { panic("boom") }))
	require.PanicsWithValue(t, "boom", func() {
		resilience.Do(context.Background(), b, func(context.Context) (int, error) { return 0, errors.New("failed") })
	})
	require.Zero(t, b.Snapshot().InFlight)
	require.Equal(t, 1, free(t, b))
}

// The latency of a result that stays open ends when the operation returns; the slot is held until it is settled.
func TestAdaptiveOfOpenResults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.Adaptive(bulkhead.AIMD(20*time.Millisecond), 20, 500)
		type open struct {
			ctx    context.Context
			ticket policy.Ticket
		}
		var streams []open
		for range 20 {
			ctx, ticket, err := b.Admit(t.Context())
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
			streams = append(streams, open{ctx, b.Returned(ctx, ticket)})
		}
		require.Equal(t, 22, b.Snapshot().Limit, "half of the limit was in flight in each of two windows")
		require.Equal(t, 20, b.Snapshot().InFlight)
		time.Sleep(time.Hour)
		for i, s := range streams[:17] { // neither an hour, nor an error that says nothing about load, is a latency
			b.Settle(s.ctx, s.ticket, []policy.Outcome{
				returned(nil),
				{Kind: policy.Returned, Err: errors.New("gone"), Class: policy.Permanent},
				{Kind: policy.Returned, Err: errors.New("left"), Canceled: true},
			}[i%3])
			time.Sleep(time.Second)
		}
		require.Equal(t, 22, b.Snapshot().Limit)
		require.Equal(t, 3, b.Snapshot().InFlight)
		b.Settle(streams[17].ctx, streams[17].ticket, policy.Outcome{Kind: policy.Returned, Err: errors.New("slow down"), Class: policy.Throttled})
		require.Less(t, b.Snapshot().Limit, 22, "an overload at the end of a stream is one")
		limit := b.Snapshot().Limit
		b.Settle(streams[18].ctx, streams[18].ticket, policy.Outcome{Kind: policy.Returned, Err: errors.New("slow down"), Class: policy.Throttled})
		require.Equal(t, limit, b.Snapshot().Limit, "once: it was admitted before the limit was lowered")
		b.Settle(streams[19].ctx, streams[19].ticket, returned(nil))
		require.Zero(t, b.Snapshot().InFlight)
	})
	fixed := bulkhead.New(1)
	ctx, ticket, err := fixed.Admit(t.Context())
	require.NoError(t, err)
	require.Equal(t, ticket, fixed.Returned(ctx, ticket))
	require.Equal(t, 1, fixed.Snapshot().InFlight)
	fixed.Settle(ctx, ticket, returned(nil))
	require.Zero(t, fixed.Snapshot().InFlight)
}
