package throttle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/throttle"
)

// admit is Admit for tests that settle themselves.
func admit(t require.TestingT, guard *throttle.Throttle) policy.Ticket {
	_, ticket, err := guard.Admit(context.Background())
	require.NoError(t, err)
	return ticket
}

func TestShadowCountsAsAnEnforcingTwinWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(t *rapid.T) {
			seed := rapid.Uint64().Draw(t, "seed")
			options := func() []throttle.Option {
				return []throttle.Option{throttle.Window(100*time.Millisecond, 4), throttle.Padding(1), throttle.Rand(rand.NewPCG(1, seed))}
			}
			enforcing, shadow := throttle.New(options()...), throttle.New(append(options(), throttle.Shadow())...)
			type pair struct {
				enforced, shadowed policy.Ticket
				entered            bool // in the twin that enforces
			}
			var running []pair
			for range rapid.IntRange(1, 200).Draw(t, "steps") {
				switch rapid.IntRange(0, 4).Draw(t, "step") {
				case 0, 1:
					_, enforced, err := enforcing.Admit(context.Background())
					running = append(running, pair{enforced, admit(t, shadow), err == nil})
				case 2, 3:
					if len(running) == 0 {
						continue
					}
					at := rapid.IntRange(0, len(running)-1).Draw(t, "which")
					p := running[at]
					running = append(running[:at], running[at+1:]...)
					outcome := rapid.SampledFrom([]policy.Outcome{
						{Kind: policy.Returned}, {Kind: policy.Returned, Err: errBackend}, {Kind: policy.Panicked}, {},
					}).Draw(t, "outcome")
					if outcome.Succeeded() && rapid.Bool().Draw(t, "open") {
						if p.entered {
							p.enforced = enforcing.Returned(context.Background(), p.enforced)
						}
						p.shadowed = shadow.Returned(context.Background(), p.shadowed)
						outcome.Err = rapid.SampledFrom([]error{nil, errBackend}).Draw(t, "later")
					}
					if p.entered {
						enforcing.Settle(context.Background(), p.enforced, outcome)
					}
					shadow.Settle(context.Background(), p.shadowed, outcome)
				case 4:
					time.Sleep(time.Duration(rapid.IntRange(1, 60).Draw(t, "ms")) * time.Millisecond)
				}
				want, got := enforcing.Snapshot(), shadow.Snapshot()
				require.True(t, got.Shadow)
				require.Zero(t, got.Rejected)
				require.Equal(t, want.Rejected, got.ShadowRejected)
				got.Shadow, got.Rejected, got.ShadowRejected = false, want.Rejected, 0
				require.Equal(t, want, got)
				require.NoError(t, shadow.Ready(context.Background()))
			}
		})
	})
}

func TestEnforceGoesOnFromTheCountsOfTheShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Shadow(), throttle.Rand(lowest{}))
		require.Equal(t, 20, run(t, guard, 20, errBackend), "nothing is rejected")
		require.Equal(t, throttle.Snapshot{Shadow: true, Requests: 20, Probability: 20.0 / 28, ShadowRejected: 19}, guard.Snapshot())
		require.False(t, guard.Idle())
		guard.Enforce()
		require.ErrorIs(t, guard.Ready(t.Context()), throttle.ErrThrottled)
		require.Zero(t, run(t, guard, 1, nil))
		guard.Shadow()
		require.NoError(t, guard.Ready(t.Context()))
		require.Equal(t, 1, run(t, guard, 1, nil))
		time.Sleep(time.Hour)
		require.False(t, guard.Idle(), "it was set by hand")
		require.True(t, throttle.New(throttle.Shadow()).Idle(), "it was made so")
	})
}

func TestReconfigureKeepsTheCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		always := throttle.Classify(func(error) policy.Class { return policy.Expected })
		guard := throttle.New(throttle.Name("db"), always, throttle.Window(10*time.Second, 10), throttle.Rand(highest{}))
		run(t, guard, 4, errBackend)
		hanging := admit(t, guard)
		time.Sleep(3 * time.Second)
		before := guard.Snapshot()
		require.EqualValues(t, 5, before.Requests)
		require.EqualValues(t, 4, before.Accepts)

		for _, bad := range [][]throttle.Option{
			{throttle.K(0)}, {throttle.K(3), throttle.Name("other")}, {throttle.Padding(1), throttle.Classify(nil)}, {nil},
		} {
			require.Error(t, guard.Reconfigure(bad...))
			require.Equal(t, before, guard.Snapshot(), "nothing was changed")
		}
		require.EqualError(t, guard.Reconfigure(throttle.Name("x")), `throttle: Name("x"): the name "db" cannot be changed`)

		require.NoError(t, guard.Reconfigure(throttle.K(1), throttle.Padding(5), throttle.Window(10*time.Second, 10)))
		require.Equal(t, throttle.Snapshot{Name: "db", Requests: 5, Accepts: 4, Probability: 0.1}, guard.Snapshot())

		for _, window := range []throttle.Option{throttle.Window(5*time.Second, 5), throttle.Window(40*time.Second, 80), throttle.Window(12*time.Second, 3)} {
			require.NoError(t, guard.Reconfigure(window))
			got := guard.Snapshot()
			require.EqualValues(t, 4, got.Accepts)
			require.GreaterOrEqual(t, got.Requests, int64(4), "attempts in flight may be in one of the two newest buckets again")
		}
		run(t, guard, 1, errBackend)
		require.EqualValues(t, 5, guard.Snapshot().Accepts, "the function stayed")
		guard.Settle(t.Context(), hanging, policy.Outcome{Kind: policy.NotCalled})
		require.EqualValues(t, 5, guard.Snapshot().Requests, "the ticket is as good as before")
		time.Sleep(12 * time.Second)
		require.Zero(t, guard.Snapshot().Requests)
		require.False(t, guard.Idle(), "it was set by hand")
		require.NoError(t, guard.Reconfigure())
		require.Equal(t, []policy.Setting{{Name: "Name", Args: []policy.Argument{{Name: "name", Value: "db"}}}, {Name: "Classify", Code: true}, {Name: "Rand", Code: true}},
			guard.Report().Settings)
	})
}

// Whatever is changed while attempts come and go, each of them is counted once.
func TestReconfigureUnderLoad(t *testing.T) {
	guard := throttle.New(throttle.Window(24*time.Hour, 24), throttle.K(math.MaxFloat64))
	stop := make(chan struct{})
	var changes, load sync.WaitGroup
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			window := throttle.Window(time.Duration(24+i%5)*time.Hour, []int{24, 100, 2, 7}[i%4])
			if err := guard.Reconfigure(window, throttle.K(math.MaxFloat64), throttle.Padding(1+i%9)); err != nil {
				t.Error(err)
			}
			guard.Snapshot()
		}
	})
	const calls = 20_000
	admit(t, guard) // one that is accepted, so that no attempt is rejected
	guard.Returned(t.Context(), policy.Ticket{})
	for g := range 4 {
		load.Go(func() {
			for i := range calls {
				ctx, ticket, err := guard.Admit(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				guard.Settle(ctx, ticket, []policy.Outcome{{}, {Kind: policy.Returned}, {Kind: policy.Panicked}, {Kind: policy.Returned}}[(i+g)%4])
			}
		})
	}
	load.Wait()
	close(stop)
	changes.Wait()
	require.NoError(t, guard.Reconfigure(throttle.Window(24*time.Hour, 24)))
	snapshot := guard.Snapshot()
	require.EqualValues(t, 4*calls/2+1, snapshot.Accepts)
	require.EqualValues(t, 4*calls*3/4+1, snapshot.Requests)
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Name("db"), throttle.K(3), throttle.K(1.5), throttle.Window(10*time.Second, 10), throttle.Rand(lowest{}))
		run(t, guard, 3, errBackend)
		report := guard.Report()
		require.Equal(t, "throttle", report.Kind)
		require.Equal(t, "db", report.Name)
		require.Equal(t, policy.StageBreaker, report.Stage)
		require.Zero(t, report.State)
		require.Equal(t, []policy.Setting{
			{Name: "Name", Args: []policy.Argument{{Name: "name", Value: "db"}}},
			{Name: "K", Args: []policy.Argument{{Name: "k", Value: 1.5}}},
			{Name: "Window", Args: []policy.Argument{{Name: "length", Value: 10 * time.Second}, {Name: "buckets", Value: 10}}},
			{Name: "Rand", Code: true},
		}, report.Settings)
		for name, want := range map[string]float64{"probability": 3.0 / 11, "requests": 3, "accepts": 0, "rejected": 2, "shadow_rejected": 0} {
			got, ok := report.Value(name, "")
			require.True(t, ok, name)
			require.Equal(t, want, got.Number, name)
		}
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { guard.Report() }), 1.0)
	})
}

func TestFault258_OnlyTheConfigurationThatResultsIsChecked(t *testing.T) {
	f := func(error) policy.Class { return policy.Expected }
	require.NoError(t, throttle.Validate(
		throttle.K(0), throttle.K(2), throttle.Window(0, 0), throttle.Window(time.Second, 10), throttle.Padding(0), throttle.Padding(1),
		throttle.Classify(nil), throttle.Classify(f), throttle.Rand(nil), throttle.Rand(lowest{}),
	))
	require.Error(t, throttle.Validate(throttle.Padding(1), throttle.Padding(0)))
	require.Error(t, throttle.Validate(throttle.Classify(f), throttle.Classify(nil)))
}

func TestFault268_ZeroValuesNameTheConstructor(t *testing.T) {
	var guard throttle.Throttle
	for name, use := range map[string]func(){
		"Admit":       func() { _, _, _ = guard.Admit(t.Context()) },
		"Settle":      func() { guard.Settle(t.Context(), policy.Ticket{}, policy.Outcome{}) },
		"Returned":    func() { guard.Returned(t.Context(), policy.Ticket{}) },
		"Ready":       func() { _ = guard.Ready(t.Context()) },
		"Idle":        func() { guard.Idle() },
		"Snapshot":    func() { guard.Snapshot() },
		"Report":      func() { guard.Report() },
		"Reconfigure": func() { _ = guard.Reconfigure() },
		"Shadow":      guard.Shadow,
		"Enforce":     guard.Enforce,
		"String":      func() { _ = guard.String() },
	} {
		require.PanicsWithValue(t, "throttle: a Throttle must be made with throttle.New", use, name)
	}
}

func TestFault271_RejectionsAreOneLine(t *testing.T) {
	guard := throttle.New(throttle.Name("a\r\nb"), throttle.Rand(lowest{}))
	run(t, guard, 1, errBackend)
	_, _, err := guard.Admit(t.Context())
	require.EqualError(t, err, `throttle "a\r\nb": throttled: too few attempts are accepted`)
	require.Equal(t, "throttle.throttled", policy.Code(err))
	require.NotContains(t, guard.String(), "\n")
	require.NotContains(t, throttle.Validate(throttle.Name("a\nb"), throttle.K(0)).Error(), "\n")
	require.NotContains(t, guard.Reconfigure(throttle.Name("c\nd")).Error(), "\n")
}

func TestFault280_SnapshotsAreReadable(t *testing.T) {
	snapshot := throttle.Snapshot{Name: "db", Shadow: true, Requests: 3, Accepts: 1, Probability: 0.25, Rejected: 2, ShadowRejected: 5}
	text, err := json.Marshal(snapshot)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"db","shadow":true,"requests":3,"accepts":1,"probability":0.25,"rejected":2,"shadow_rejected":5}`, string(text))
	var line strings.Builder
	slog.New(slog.NewTextHandler(&line, nil)).Info("m", "t", snapshot)
	require.Contains(t, line.String(), "t.name=db t.shadow=true t.requests=3 t.accepts=1 t.probability=0.25 t.rejected=2 t.shadow_rejected=5")
}

func TestClasses(t *testing.T) {
	const accepted, not, ignored = "accepted", "not accepted", "not counted"
	for class, want := range map[policy.Class]string{
		policy.Unclassified: not, policy.Transient: not, policy.Throttled: not,
		policy.Permanent: accepted, policy.Expected: accepted, policy.Ignored: ignored,
	} {
		for _, by := range []string{"pipeline", "option"} {
			t.Run(fmt.Sprint(class, " by ", by), func(t *testing.T) {
				outcome := policy.Outcome{Kind: policy.Returned, Err: errBackend, Class: class}
				options := []throttle.Option{throttle.Rand(highest{})}
				if by == "option" {
					outcome.Class = policy.Unclassified
					options = append(options, throttle.Classify(func(err error) policy.Class {
						require.Equal(t, errBackend, err)
						return class
					}))
				}
				guard := throttle.New(options...)
				guard.Settle(t.Context(), admit(t, guard), outcome)
				snapshot := guard.Snapshot()
				got := map[[2]int64]string{{1, 1}: accepted, {1, 0}: not, {0, 0}: ignored}[[2]int64{snapshot.Requests, snapshot.Accepts}]
				require.Equal(t, want, got)
			})
		}
	}
	guard := throttle.New(throttle.Classify(func(error) policy.Class { panic("asked") }))
	for _, outcome := range []policy.Outcome{
		{Kind: policy.NotCalled, Err: errBackend}, {Kind: policy.Returned, Err: errBackend, Canceled: true}, {Kind: policy.Returned, Err: &policy.Rejection{}},
	} {
		guard.Settle(t.Context(), admit(t, guard), outcome)
	}
	require.Zero(t, guard.Snapshot().Requests)
}

// What stays open counts when the operation has returned; what goes wrong later is one more request that was not accepted.
func TestResultsThatStayOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []struct {
			outcome           policy.Outcome
			requests, accepts int64
		}{
			{policy.Outcome{Kind: policy.Returned}, 1, 1},
			{policy.Outcome{Kind: policy.Returned, Err: errBackend}, 2, 1},
			{policy.Outcome{Kind: policy.Returned, Err: errBackend, Class: policy.Ignored}, 1, 1},
			{policy.Outcome{Kind: policy.Returned, Err: errBackend, Class: policy.Expected}, 1, 1},
			{policy.Outcome{Kind: policy.Returned, Err: errors.New("left"), Canceled: true}, 1, 1},
			{policy.Outcome{Kind: policy.Exited}, 2, 1},
			{policy.Outcome{}, 1, 1},
		} {
			guard := throttle.New(throttle.Rand(highest{}))
			ticket := guard.Returned(t.Context(), admit(t, guard))
			require.EqualValues(t, 1, guard.Snapshot().Accepts, "at once")
			time.Sleep(10 * time.Second) // in the window still
			guard.Settle(t.Context(), guard.Returned(t.Context(), ticket), end.outcome)
			require.Equal(t, end.requests, guard.Snapshot().Requests, "%v", end.outcome)
			require.Equal(t, end.accepts, guard.Snapshot().Accepts)
		}
	})
}

// One failing stream in a hundred, each an hour long, is no reason to reject anything.
func TestLongStreamsDoNotThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := throttle.New(throttle.Rand(lowest{}))
		for i := range 5000 {
			ticket := admit(t, guard)
			if i%100 == 50 {
				guard.Settle(t.Context(), ticket, policy.Outcome{Kind: policy.Returned, Err: errBackend})
			} else {
				guard.Returned(t.Context(), ticket)
			}
			time.Sleep(time.Second)
		}
		require.Zero(t, guard.Snapshot().Rejected)
	})
}
