package hedge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestFault280_SnapshotsAreReadable(t *testing.T) {
	s := hedge.Snapshot{
		Name: "users", Delay: 20 * ms, Calls: 1, Extra: 2, Won: 3, OverBudget: 4, OverMaxRunning: 5,
		Discarded: 6, Running: 7, Left: 8, Panics: 9,
	}
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"users","delay":0.02,"calls":1,"extra":2,"won":3,"over_budget":4,"over_max_running":5,
		"discarded":6,"running":7,"left":8,"panics":9}`, string(text))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", s)
	require.Contains(t, log.String(), "v.name=users v.delay=20ms v.calls=1 v.extra=2 v.won=3 v.over_budget=4 "+
		"v.over_max_running=5 v.discarded=6 v.running=7 v.left=8 v.panics=9")
	require.Equal(t, "{users 20ms 1 2 3 4 5 6 7 8 9}", fmt.Sprint(s))
	require.Equal(t, "{hedge 1 after p95}", fmt.Sprint(hedge.Policy[int]{Hedge: hedge.New()}))
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10*ms, hedge.Name("users"), hedge.Extra(2), hedge.Extra(3), hedge.Limit(1, 10),
			hedge.MaxRunning(50), hedge.AfterFailure(), hedge.Quantile(0.9), hedge.OnPanic(func(any, []byte) {}))
		op, _ := script(step{takes: time.Second, deaf: true}, step{takes: ms})
		_, err := resilience.Do(t.Context(), h, op)
		require.NoError(t, err)
		report := h.Report()
		require.Equal(t, "hedge", report.Kind)
		require.Equal(t, "users", report.Name)
		require.Equal(t, policy.StageHedge, report.Stage)
		arg := func(name string, value any) []policy.Argument { return []policy.Argument{{Name: name, Value: value}} }
		require.Equal(t, []policy.Setting{
			{Name: "Idempotent"},
			{Name: "After", Args: arg("delay", 10*ms)},
			{Name: "Name", Args: arg("name", "users")},
			{Name: "Extra", Args: arg("n", 3)},
			{Name: "Limit", Args: []policy.Argument{{Name: "ratio", Value: 1.0}, {Name: "perSecond", Value: 10.0}}},
			{Name: "MaxRunning", Args: arg("n", 50)},
			{Name: "AfterFailure"},
			{Name: "Quantile", Args: arg("q", 0.9)},
			{Name: "OnPanic", Code: true},
		}, report.Settings)
		for name, want := range map[string]float64{
			"delay": 0.01, "calls": 1, "extra": 1, "won": 1, "over_budget": 0, "over_max_running": 0,
			"discarded": 0, "running": 1, "left": 1, "panics": 0,
		} {
			value, found := report.Value(name, "")
			require.True(t, found, name)
			require.Equal(t, want, value.Number, name)
		}
		running, _ := report.Value("running", "")
		require.Equal(t, 50.0, running.Limit)
		delay, _ := hedge.New().Report().Value("delay", "")
		require.True(t, delay.Unknown)
		require.Empty(t, hedge.New().Report().Settings)
		time.Sleep(time.Second)
	})
}

func TestTheNumbersOfABudgetAreInTheReport(t *testing.T) {
	budget := retry.NewBudget(0.3, 7)
	h := hedge.New(hedge.WithBudget(budget))
	want := func(ratio, perSecond float64) []policy.Setting {
		return []policy.Setting{{Name: "WithBudget", Code: true, Args: []policy.Argument{
			{Name: "kind", Value: "retry budget"}, {Name: "ratio", Value: ratio}, {Name: "perSecond", Value: perSecond},
		}}}
	}
	require.Equal(t, want(0.3, 7), h.Report().Settings)
	require.NoError(t, budget.Reconfigure(0.5, 9))
	require.Equal(t, want(0.5, 9), h.Report().Settings)
	tokens := hedge.New(hedge.WithBudget(retry.NewTokenBudget(10, 0.1))).Report().Settings
	require.Equal(t, policy.Argument{Name: "maxTokens", Value: 10}, tokens[0].Args[1])
	require.Equal(t, []policy.Setting{{Name: "WithBudget", Code: true}}, hedge.New(hedge.WithBudget(&allOrNothing{})).Report().Settings)
}

func TestFault268_ZeroValues(t *testing.T) {
	ctx := context.Background()
	for _, method := range []func(*hedge.Hedge){
		func(h *hedge.Hedge) { h.Stage() },
		func(h *hedge.Hedge) { _ = h.String() },
		func(h *hedge.Hedge) { h.Snapshot() },
		func(h *hedge.Hedge) { h.Report() },
		func(h *hedge.Hedge) { h.Budget() },
		func(h *hedge.Hedge) { h.Idle() },
		func(h *hedge.Hedge) { h.Discard(1) },
		func(h *hedge.Hedge) { _ = h.Check(nil, nil) },
		func(h *hedge.Hedge) { _ = h.Reconfigure() },
		func(h *hedge.Hedge) { _ = h.Run(ctx, func(context.Context) error { return nil }) },
		func(h *hedge.Hedge) { _ = h.Open(ctx, func(context.Context, context.CancelFunc) error { return nil }) },
		func(h *hedge.Hedge) { _, _ = hedge.Policy[int]{Hedge: h}.Do(ctx, ok) },
	} {
		require.PanicsWithValue(t, "hedge: a Hedge that was not made by New", func() { method(&hedge.Hedge{}) })
	}
}
