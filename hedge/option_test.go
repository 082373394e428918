package hedge_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/internal/budget"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

func TestFault178_181_182_Configuration(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, test := range []struct {
		opts []hedge.Option
		text string
	}{
		{[]hedge.Option{nil}, "option 1 is nil"},
		{[]hedge.Option{hedge.After(0)}, "After(0s): must be positive"},
		{[]hedge.Option{hedge.After(-1)}, "After(-1ns): must be positive"},
		{[]hedge.Option{hedge.Quantile(0)}, "Quantile(0): must lie between 0.5 and 0.999"},
		{[]hedge.Option{hedge.Quantile(0.49)}, "Quantile(0.49)"},
		{[]hedge.Option{hedge.Quantile(1)}, "Quantile(1)"},
		{[]hedge.Option{hedge.Quantile(nan)}, "Quantile(NaN)"},
		{[]hedge.Option{hedge.Quantile(-inf)}, "Quantile(-Inf)"},
		{[]hedge.Option{hedge.Extra(0)}, "Extra(0): must be from 1 to 10"},
		{[]hedge.Option{hedge.Extra(-1)}, "Extra(-1)"},
		{[]hedge.Option{hedge.Extra(11)}, "Extra(11)"},
		{[]hedge.Option{hedge.Extra(math.MaxInt)}, fmt.Sprintf("Extra(%d): must be from 1 to 10", math.MaxInt)},
		{[]hedge.Option{hedge.Limit(-1, 1)}, "Limit(-1, 1): the ratio"},
		{[]hedge.Option{hedge.Limit(nan, 1)}, "Limit(NaN, 1): the ratio"},
		{[]hedge.Option{hedge.Limit(inf, 1)}, "Limit(+Inf, 1): the ratio"},
		{[]hedge.Option{hedge.Limit(1, -1)}, "Limit(1, -1): the number per second"},
		{[]hedge.Option{hedge.Limit(1, nan)}, "Limit(1, NaN): the number per second"},
		{[]hedge.Option{hedge.Limit(1, inf)}, "Limit(1, +Inf): the number per second"},
		{[]hedge.Option{hedge.Limit(0, 0)}, "Limit(0, 0): no extra attempt could ever start"},
		{[]hedge.Option{hedge.WithBudget(nil)}, "WithBudget: the budget is nil"},
		{[]hedge.Option{hedge.WithBudget((*budget.Budget)(nil))}, "WithBudget: the budget is nil"},
		{[]hedge.Option{hedge.Limit(1, 1), hedge.WithBudget(&allOrNothing{})}, "Limit and WithBudget contradict each other"},
		{[]hedge.Option{hedge.WithBudget(retry.NewConcurrencyBudget(0.2, 3))}, "WithBudget: *retry.ConcurrencyBudget counts the attempts"},
		{[]hedge.Option{hedge.MaxRunning(1)}, "MaxRunning(1): no call could have the 2 attempts that it may make"},
		{[]hedge.Option{hedge.MaxRunning(math.MinInt)}, fmt.Sprintf("MaxRunning(%d)", math.MinInt)},
		{[]hedge.Option{hedge.OnDiscard(nil)}, "OnDiscard: the function is nil"},
		{[]hedge.Option{hedge.OnPanic(nil)}, "OnPanic: the function is nil"},
	} {
		err := hedge.Validate(test.opts...)
		require.ErrorContains(t, err, test.text)
		require.PanicsWithError(t, err.Error(), func() { hedge.New(test.opts...) })
		_, ok := errors.AsType[*policy.ConfigError](err)
		require.True(t, ok)
	}
	require.NoError(t, hedge.Validate())
	require.NoError(t, hedge.Validate(hedge.WithBudget(retry.NewBudget(0.1, 1))))
	require.NoError(t, hedge.Validate(hedge.WithBudget(retry.NewTokenBudget(10, 0.1))))
	require.NoError(t, hedge.Validate(hedge.After(math.MaxInt64), hedge.Quantile(0.999), hedge.Extra(10), hedge.MaxRunning(math.MaxInt), hedge.Limit(10, 1e9)))
}

func TestCheck(t *testing.T) {
	second := timeout.Total(time.Second)
	for _, test := range []struct {
		layers []policy.Layer
		text   string
	}{
		{[]policy.Layer{second, after(999 * ms)}, ""},
		{[]policy.Layer{second, after(time.Second)}, "hedge 1 after 1s: the last extra attempt would start after 1s, not within the total timeout 1s around it"},
		{[]policy.Layer{second, after(400*ms, hedge.Extra(2))}, ""},
		{[]policy.Layer{second, after(400*ms, hedge.Extra(3))}, "would start after 1.2s"},
		{[]policy.Layer{second, after(math.MaxInt64, hedge.Extra(10))}, "would start after 2562047h47m16.854775807s"},
		{[]policy.Layer{second, hedge.New()}, ""},
		{[]policy.Layer{second, after(time.Hour, hedge.AfterFailure())}, ""},
		{[]policy.Layer{after(100 * ms), timeout.PerAttempt(100 * ms)}, "the delay 100ms is not below the attempt timeout 100ms inside it"},
		{[]policy.Layer{after(99 * ms), timeout.PerAttempt(100 * ms)}, ""},
		{[]policy.Layer{after(100*ms, hedge.AfterFailure()), timeout.PerAttempt(100 * ms)}, ""},
	} {
		err := resilience.Validate(test.layers...)
		if test.text == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, test.text)
		}
	}
}

func TestFault258_TheLaterOptionCounts(t *testing.T) {
	for _, opts := range [][]hedge.Option{
		{hedge.Extra(0), hedge.Extra(3)},
		{hedge.After(-1), hedge.After(time.Second)},
		{hedge.Quantile(7), hedge.Quantile(0.9)},
		{hedge.Limit(-1, 0), hedge.Limit(0.1, 10)},
		{hedge.MaxRunning(0), hedge.MaxRunning(10)},
		{hedge.WithBudget(nil), hedge.WithBudget(&allOrNothing{})},
		{hedge.OnDiscard(nil), hedge.OnDiscard(func(any) {})},
		{hedge.OnPanic(nil), hedge.OnPanic(func(any, []byte) {})},
	} {
		require.NoError(t, hedge.Validate(opts...))
		require.Error(t, hedge.Validate(opts[1], opts[0]))
	}
}

// limiting is a third party's guard with a method Limit, bounding one that bounds time as policy.TimeLimiter says.
type (
	limiting struct {
		policy.Guard
		stage policy.Stage
	}
	bounding struct{ limiting }
)

func (l limiting) Stage() policy.Stage    { return l.stage }
func (limiting) Limit() time.Duration     { return time.Millisecond }
func (bounding) TimeLimit() time.Duration { return time.Millisecond }
func (limiting) String() string           { return "third party" }

func TestFault257_OnlyATimeoutIsTakenForOne(t *testing.T) {
	h := after(time.Second)
	for _, layer := range []policy.Layer{
		limiting{stage: policy.StageTotalTimeout}, limiting{stage: policy.StageAttemptTimeout},
		bounding{limiting{stage: policy.StageBreaker}}, bounding{limiting{stage: policy.StageRateLimit}},
	} {
		require.NoError(t, h.Check([]policy.Layer{layer}, []policy.Layer{layer}))
	}
	require.ErrorContains(t, h.Check([]policy.Layer{bounding{limiting{stage: policy.StageTotalTimeout}}}, nil), "third party around it")
	require.ErrorContains(t, h.Check(nil, []policy.Layer{bounding{limiting{stage: policy.StageAttemptTimeout}}}), "third party inside it")
	require.ErrorContains(t, resilience.Validate(h, timeout.Abandon(time.Second)), "not below the abandoning timeout 1s inside it")
}
