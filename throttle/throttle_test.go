package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/throttle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBackend = errors.New("backend failed")

// run makes n attempts that end with err, and returns how many were admitted.
func run(t *testing.T, guard *throttle.Throttle, n int, err error) (admitted int) {
	t.Helper()
	for range n {
		_, got := resilience.Do(t.Context(), guard, func(context.Context) (int, error) {
			admitted++
			return 0, err
		})
		if !errors.Is(got, throttle.ErrThrottled) {
			require.Equal(t, err, got)
		}
	}
	return admitted
}

// seeded makes runs repeatable.
func seeded() throttle.Option { return throttle.Rand(rand.NewPCG(1, 2)) }

// The closed form of the steady state: a dependency gets K times what it accepts. 1000 attempts a second are asked
// for, 250 a second accepted.
func TestSentIsKTimesAccepted(t *testing.T) {
	cases := []struct{ k, sentPerSecond float64 }{{1.1, 275}, {2, 500}, {3, 750}, {4.5, 1000}}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const step, warm, measured = 10 * time.Millisecond, 200 * time.Second, 200 * time.Second
				guard := throttle.New(throttle.K(c.k), throttle.Window(120*time.Second, 120), throttle.Padding(1), seeded())
				var sent, accepted, tokens float64
				backend := func(context.Context) (int, error) {
					sent++
					if tokens < 1 {
						return 0, errBackend
					}
					tokens--
					accepted++
					return 0, nil
				}
				simulate := func(d time.Duration) {
					for range d / step {
						time.Sleep(step)
						tokens = min(25, tokens+2.5)
						for range 10 {
							_, _ = resilience.Do(t.Context(), guard, backend)
						}
					}
				}
				simulate(warm)
				sent, accepted = 0, 0
				simulate(measured)
				require.InEpsilon(t, c.sentPerSecond, sent/measured.Seconds(), 0.02)
				require.InEpsilon(t, 250, accepted/measured.Seconds(), 0.02)
			})
		})
	}
}

// Whatever is asked for, a dependency that accepts nothing gets about the padding per window; to be exact, n attempts
// per window let n*padding/(n+padding) through.
func TestADeadDependencyGetsThePaddingPerWindow(t *testing.T) {
	for _, padding := range []float64{1, 8, 50} {
		synctest.Test(t, func(t *testing.T) {
			const windows, perWindow = 300, 300
			guard := throttle.New(throttle.Padding(int(padding)), seeded())
			sent := 0
			for i := range (windows + 1) * perWindow {
				time.Sleep(30 * time.Second / perWindow)
				admitted := run(t, guard, 1, errBackend)
				if i >= perWindow {
					sent += admitted
				}
			}
			require.InEpsilon(t, perWindow*padding/(perWindow+padding), float64(sent)/windows, 0.1)
		})
	}
}

// The probability is the book's, to the last bit: the padding of 1 makes it the book's own formula.
func TestProbability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Padding(1), throttle.K(1.5), throttle.Rand(highest{}))
		for requests := range 20 {
			accepts := requests / 2
			require.Equal(t, throttle.Snapshot{
				Requests: int64(requests), Accepts: int64(accepts),
				Probability: max(0, (float64(requests)-1.5*float64(accepts))/float64(requests+1)),
			}, guard.Snapshot())
			err := errBackend
			if requests%2 == 1 {
				err = nil
			}
			require.Equal(t, 1, run(t, guard, 1, err))
		}
	})
}

// highest and lowest are sources whose Float64 is always almost 1, or 0: they admit, or refuse, whenever it is possible.
type (
	highest struct{}
	lowest  struct{}
)

func (highest) Uint64() uint64 { return math.MaxUint64 }
func (lowest) Uint64() uint64  { return 0 }

func TestARefusalCountsAsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Name("db"), throttle.Rand(lowest{}))
		require.Equal(t, 1, run(t, guard, 10, errBackend))
		require.Equal(t, throttle.Snapshot{Name: "db", Requests: 10, Probability: 10.0 / 18, Rejected: 9}, guard.Snapshot())
	})
}

func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Name("db"), throttle.Rand(lowest{}))
		run(t, guard, 1, errBackend)
		_, err := resilience.Do(t.Context(), guard, func(context.Context) (int, error) { return 1, nil })
		require.ErrorIs(t, err, throttle.ErrThrottled)
		require.ErrorIs(t, err, policy.ErrRejected)
		require.NotErrorIs(t, err, errBackend)
		require.EqualError(t, err, `throttle "db": throttled: too few attempts are accepted`)
		_, known := policy.RetryAfter(err)
		require.False(t, known)
	})
}

// Scenario: a window of 50 ms, 20,000 failures, 500 ms of silence, 2000 attempts.
func TestTheWindowExpiresWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Window(50*time.Millisecond, 10), seeded())
		require.Less(t, run(t, guard, 20_000, errBackend), 200)
		require.Greater(t, guard.Snapshot().Probability, 0.99)
		require.Error(t, guard.Ready(t.Context()))
		require.False(t, guard.Idle())
		time.Sleep(500 * time.Millisecond)
		require.Zero(t, guard.Snapshot().Probability)
		require.NoError(t, guard.Ready(t.Context()))
		require.True(t, guard.Idle())
		require.Equal(t, 2000, run(t, guard, 2000, nil))
	})
}

// What happened in a bucket counts until the window has passed, less at most one bucket.
func TestTheWindowIsExactToOneBucket(t *testing.T) {
	for _, offset := range []time.Duration{0, 1, 500 * time.Millisecond, time.Second - 1} {
		synctest.Test(t, func(t *testing.T) {
			guard := throttle.New(throttle.Window(10*time.Second, 10), throttle.Rand(highest{}))
			time.Sleep(offset)
			run(t, guard, 3, errBackend)
			time.Sleep(9*time.Second - 1)
			require.EqualValues(t, 3, guard.Snapshot().Requests)
			time.Sleep(time.Second + 1)
			require.Zero(t, guard.Snapshot().Requests)
		})
	}
}

func TestNeutralOutcomesDoNotCount(t *testing.T) {
	notFound := errors.New("not found")
	classify := func(err error) policy.Class {
		if errors.Is(err, notFound) {
			return policy.Ignored
		}
		return policy.Unclassified
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for age, what := range map[time.Duration]string{0: "newest", time.Second: "before", 5 * time.Second: "old", 20 * time.Second: "forgotten"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guard := throttle.New(throttle.Window(10*time.Second, 10), throttle.Classify(classify), throttle.Rand(highest{}))
				time.Sleep(time.Second)
				for _, end := range []struct {
					ctx     context.Context
					outcome policy.Outcome
				}{
					{t.Context(), policy.Outcome{Kind: policy.NotCalled}},
					{t.Context(), policy.Outcome{Kind: policy.Returned, Err: notFound}},
					{t.Context(), policy.Outcome{Kind: policy.Returned, Err: fmt.Errorf("inner: %w", &policy.Rejection{})}},
					{cancelled, policy.Outcome{Kind: policy.Returned, Err: context.Canceled, Canceled: true}},
				} {
					_, ticket, err := guard.Admit(end.ctx)
					require.NoError(t, err)
					time.Sleep(age)
					_, _, err = guard.Admit(t.Context()) // moves the window on
					require.NoError(t, err)
					before := guard.Snapshot()
					guard.Settle(end.ctx, ticket, end.outcome)
					after := guard.Snapshot()
					if what == "old" {
						before.Requests-- // it had counted as hanging
						before.Probability = after.Probability
					}
					require.Equal(t, before, after)
					time.Sleep(10 * time.Second)
					require.Zero(t, guard.Snapshot().Requests)
				}
			})
		})
	}
}

// Floods of a tenant's own mistakes do not throttle the others.
func TestFault192_MistakesOfCallersDoNotThrottle(t *testing.T) {
	invalid := errors.New("400")
	guard := throttle.New(throttle.Classify(func(err error) policy.Class {
		if errors.Is(err, invalid) {
			return policy.Expected // it answered
		}
		return policy.Unclassified
	}))
	require.Equal(t, 1000, run(t, guard, 1000, invalid))
	for range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		_, ticket, err := guard.Admit(ctx)
		require.NoError(t, err)
		cancel()
		guard.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned, Err: errBackend, Canceled: true})
	}
	require.Zero(t, guard.Snapshot().Probability)
}

func TestPanicAndExitAreNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Rand(highest{}))
		for _, end := range []func(){func() { panic("boom") }, runtime.Goexit} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_, _ = resilience.Do(t.Context(), guard, func(context.Context) (int, error) { end(); return 0, nil })
			}()
			<-done
		}
		require.Equal(t, throttle.Snapshot{Requests: 2, Probability: 0.2}, guard.Snapshot())
	})
}

// The first calls after a quiet time are not refused because none of them has ended yet.
func TestAHealthyDependencyIsNeverThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Rand(lowest{}))
		for _, latency := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second} {
			var calls sync.WaitGroup
			for range 100 {
				for range 20 {
					calls.Go(func() {
						_, err := resilience.Do(t.Context(), guard, func(context.Context) (int, error) {
							time.Sleep(latency)
							return 0, nil
						})
						if err != nil {
							t.Errorf("latency %v: %v", latency, err)
						}
					})
				}
				time.Sleep(13 * time.Millisecond)
			}
			calls.Wait()
			time.Sleep(time.Hour)
		}
	})
}

// Calls that last longer than the window are not the death of it either: accepts count when they happen.
func TestSlowCallsInSteadyFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Window(10*time.Second, 10), throttle.Rand(highest{}))
		var calls sync.WaitGroup
		for range 600 {
			calls.Go(func() {
				_, _ = resilience.Do(t.Context(), guard, func(context.Context) (int, error) {
					time.Sleep(25 * time.Second)
					return 0, nil
				})
			})
			time.Sleep(100 * time.Millisecond)
		}
		require.Zero(t, guard.Snapshot().Probability)
		require.InDelta(t, 95, guard.Snapshot().Accepts, 6)
		calls.Wait()
	})
}

// Calls that hang count as not accepted once they are older than one or two buckets.
func TestHangingCallsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Rand(highest{}))
		for range 1000 {
			_, _, err := guard.Admit(t.Context())
			require.NoError(t, err)
		}
		time.Sleep(time.Second - 1)
		require.Zero(t, guard.Snapshot().Requests)
		time.Sleep(time.Second + 1)
		require.EqualValues(t, 1000, guard.Snapshot().Requests)
		require.ErrorIs(t, guard.Ready(t.Context()), throttle.ErrThrottled)
	})
}

// Ready is a pure question: it refuses above an even chance, and asking changes nothing.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Padding(10), throttle.Rand(highest{}))
		for requests := range 30 {
			before := guard.Snapshot()
			require.Equal(t, requests > 10, guard.Ready(t.Context()) != nil, "%d requests", requests)
			require.Equal(t, before, guard.Snapshot())
			run(t, guard, 1, errBackend)
		}
		time.Sleep(time.Hour)
		require.NoError(t, guard.Ready(t.Context()))
	})
}

// How long after an outage of a minute until nothing is refused any more: the figures of doc.go.
func TestRecovery(t *testing.T) {
	for _, c := range []struct{ rate, runs, seconds int }{{10, 20, 65}, {100, 10, 103}, {1000, 2, 149}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			total := 0.0
			for seed := range uint64(c.runs) {
				synctest.Test(t, func(t *testing.T) {
					guard := throttle.New(throttle.Rand(rand.NewPCG(1, seed)))
					second := func(err error) {
						for range 10 {
							time.Sleep(100 * time.Millisecond)
							run(t, guard, c.rate/10, err)
						}
					}
					for range 60 {
						second(errBackend)
					}
					start := time.Now()
					for guard.Snapshot().Probability > 0 && time.Since(start) < time.Hour {
						second(nil)
					}
					total += time.Since(start).Seconds()
				})
			}
			require.InEpsilon(t, c.seconds, total/float64(c.runs), 0.15)
		})
	}
}

func TestConfiguration(t *testing.T) {
	cases := []struct {
		option throttle.Option
		want   string
	}{
		{nil, "throttle: option 1 is nil"},
		{throttle.K(0.99), "throttle: K(0.99): must be a finite number that is at least 1"},
		{throttle.K(-2), "throttle: K(-2): must be a finite number that is at least 1"},
		{throttle.K(math.NaN()), "throttle: K(NaN): must be a finite number that is at least 1"},
		{throttle.K(math.Inf(1)), "throttle: K(+Inf): must be a finite number that is at least 1"},
		{throttle.Padding(0), "throttle: Padding(0): must be at least 1"},
		{throttle.Padding(-1), "throttle: Padding(-1): must be at least 1"},
		{throttle.Window(0, 10), "throttle: Window(0s, 10): the length must be at least a nanosecond for each bucket"},
		{throttle.Window(-time.Second, 10), "throttle: Window(-1s, 10): the length must be at least a nanosecond for each bucket"},
		{throttle.Window(9, 10), "throttle: Window(9ns, 10): the length must be at least a nanosecond for each bucket"},
		{throttle.Window(time.Second, 1), "throttle: Window(1s, 1): the number of buckets must be from 2 to 1000"},
		{throttle.Window(time.Second, 1001), "throttle: Window(1s, 1001): the number of buckets must be from 2 to 1000"},
		{throttle.Classify(nil), "throttle: Classify: the function is nil"},
		{throttle.Rand(nil), "throttle: Rand: the source is nil"},
		{throttle.Rand((*rand.PCG)(nil)), "throttle: Rand: the source is nil"},
	}
	for _, c := range cases {
		require.EqualError(t, throttle.Validate(c.option), c.want)
		require.PanicsWithError(t, c.want, func() { throttle.New(c.option) })
	}
	require.ErrorContains(t, throttle.Validate(throttle.K(0), throttle.Padding(0)), "K(0): must be a finite number that is at least 1; Padding(0)")
	require.NoError(t, throttle.Validate())
	for _, option := range []throttle.Option{
		throttle.K(1), throttle.K(math.MaxFloat64), throttle.Padding(math.MaxInt), throttle.Window(2, 2), throttle.Window(math.MaxInt64, 1000), throttle.Window(math.MaxInt64, 2),
	} {
		require.NoError(t, throttle.Validate(option))
		guard := throttle.New(option, throttle.Rand(highest{}))
		require.Equal(t, 3, run(t, guard, 3, nil))
		require.Equal(t, 3, run(t, guard, 3, errBackend))
		snapshot := guard.Snapshot()
		require.True(t, snapshot.Probability >= 0 && snapshot.Probability < 1, "%v", snapshot.Probability)
	}
}

func TestFault046_OptionsAreReadOnce(t *testing.T) {
	opts := []throttle.Option{throttle.Name("a"), throttle.Padding(5)}
	first := throttle.New(opts...)
	opts[0] = throttle.Name("b")
	second := throttle.New(opts...)
	require.Equal(t, `throttle "a"`, first.String())
	require.Equal(t, `throttle "b"`, second.String())
	run(t, first, 1, errBackend)
	require.Zero(t, second.Snapshot().Requests)
}

func TestFault051_NoGoroutinePerInstance(t *testing.T) {
	const instances = 100_000
	var collected sync.WaitGroup
	before := runtime.NumGoroutine()
	for i := range instances {
		guard := throttle.New(throttle.Window(time.Second, 2))
		if i%1000 == 0 { // a sample of those dropped
			collected.Add(1)
			runtime.AddCleanup(guard, func(struct{}) { collected.Done() }, struct{}{})
			run(t, guard, 2, errBackend)
		}
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	runtime.GC()
	runtime.GC()
	collected.Wait()
}

func TestNamesStagesAndViews(t *testing.T) {
	guard := throttle.New(throttle.Name("users-db"))
	require.Equal(t, policy.StageBreaker, guard.Stage())
	require.Equal(t, `throttle "users-db"`, resilience.Compose(guard).String())
	require.Equal(t, "throttle", throttle.New().String())
	value, err := throttle.Policy[int]{Throttle: guard}.Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, value)
	require.EqualValues(t, 1, guard.Snapshot().Accepts)
	require.PanicsWithValue(t, "throttle: Policy without a Throttle; use throttle.New", func() {
		_, _ = throttle.Policy[int]{}.Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
	})
}

// Every attempt is accounted for, whatever runs at once: requests = accepts + failures + refusals.
func TestCountsAreConserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still: one bucket
		guard := throttle.New()
		var all sync.WaitGroup
		var mu sync.Mutex
		var accepts, requests, refused int
		for g := range 16 {
			all.Go(func() {
				chance := rand.New(rand.NewPCG(uint64(g), 0))
				var a, n, no int
				for range 2000 {
					err := []error{nil, nil, errBackend, errBackend, errBackend, &policy.Rejection{}}[chance.IntN(6)]
					_, got := resilience.Do(t.Context(), guard, func(context.Context) (int, error) { return 0, err })
					switch {
					case got == nil:
						a++
						n++
					case errors.Is(got, throttle.ErrThrottled):
						no++
						n++
					case got == errBackend:
						n++
					}
				}
				mu.Lock()
				defer mu.Unlock()
				accepts, requests, refused = accepts+a, requests+n, refused+no
			})
		}
		all.Wait()
		snapshot := guard.Snapshot()
		require.EqualValues(t, accepts, snapshot.Accepts)
		require.EqualValues(t, requests, snapshot.Requests)
		require.EqualValues(t, refused, snapshot.Rejected)
		require.NotZero(t, refused)
	})
}

func TestAllocations(t *testing.T) {
	accepting, refusing := throttle.New(), throttle.New(throttle.Rand(lowest{}))
	run(t, refusing, 1, errBackend)
	ok := func(context.Context) (int, error) { return 0, nil }
	for _, guard := range []*throttle.Throttle{accepting, refusing} {
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			_, _ = resilience.Do(t.Context(), guard, ok)
			_ = guard.Ready(t.Context())
		}))
	}
	require.NotZero(t, refusing.Snapshot().Rejected)
}

// A throttle that was made outside of a bubble, as one in a package variable is, goes on by the bubble's clock.
func TestAThrottleMadeOutsideOfABubble(t *testing.T) {
	guard := throttle.New()
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			for range 100 {
				_, _ = resilience.Do(t.Context(), guard, func(context.Context) (int, error) { return 0, errors.New("down") })
			}
			require.Positive(t, guard.Snapshot().Probability)
			time.Sleep(time.Hour)
			require.Zero(t, guard.Snapshot().Probability)
		})
	}
}
