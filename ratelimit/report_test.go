package ratelimit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := ratelimit.New(2, 5, ratelimit.Name("mail"), ratelimit.MaxWait(time.Second), ratelimit.MaxWaiters(7), ratelimit.CostOf(costMark))
		acquire(t, l, 4)
		acquire(t, l, 1).Settle(neverCalled)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		go func() { _, _, _ = l.Admit(costing(ctx, 3)) }()
		time.Sleep(time.Nanosecond)
		_, _, err := l.Admit(costing(ctx, 5))
		require.ErrorIs(t, err, ratelimit.ErrMaxWait)
		r := l.Report()
		require.Equal(t, "rate limiter", r.Kind)
		require.Equal(t, "mail", r.Name)
		require.Equal(t, policy.StageRateLimit, r.Stage)
		require.Zero(t, r.State)
		require.False(t, r.Shadow)
		require.Equal(t, []policy.Setting{
			{Name: "New", Args: []policy.Argument{{Name: "perSecond", Value: 2.0}, {Name: "burst", Value: 5}}},
			{Name: "Name", Args: []policy.Argument{{Name: "name", Value: "mail"}}},
			{Name: "MaxWait", Args: []policy.Argument{{Name: "wait", Value: time.Second}}},
			{Name: "MaxWaiters", Args: []policy.Argument{{Name: "n", Value: 7}}},
			{Name: "CostOf", Code: true},
		}, r.Settings)
		require.InDelta(t, 1, r.Values[0].Number, 1e-6)
		r.Values[0].Number = 1
		require.Equal(t, []policy.Value{
			{Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge, Number: 1, Limit: 5},
			{Name: "queued", Unit: policy.UnitCount, Kind: policy.Gauge, Number: 1, Limit: 7},
			{Name: "admitted", Unit: policy.UnitCount, Kind: policy.Counter, Number: 2},
			{Name: "returned", Unit: policy.UnitCount, Kind: policy.Counter, Number: 1},
			{Name: "rejected", Unit: policy.UnitCount, Kind: policy.Counter, Number: 1},
			{Name: "shadow_rejected", Unit: policy.UnitCount, Kind: policy.Counter},
		}, r.Values)
	})
}

// The limit of what may wait is 0 where nothing may.
func TestReportWithoutAQueue(t *testing.T) {
	require.Zero(t, ratelimit.New(2, 5).Report().Values[1].Limit)
	require.EqualValues(t, 10_000, ratelimit.New(2, 5, ratelimit.MaxWait(1)).Report().Values[1].Limit)
}

func TestReportFor(t *testing.T) {
	for _, l := range []*ratelimit.Limiter{ratelimit.New(0, 5), ratelimit.New(0, 5, ratelimit.CostOf(costMark))} {
		r, ok := l.ReportFor(costing(context.Background(), 2))
		require.True(t, ok)
		require.Equal(t, l.Report(), r)
	}
	_, ok := ratelimit.New(0, 5, ratelimit.CostOf(costMark)).ReportFor(costing(context.Background(), 0))
	require.False(t, ok, "for what costs nothing there is no limit")
}

// A limiter can be made again from its report.
func TestReportSuffices(t *testing.T) {
	for _, options := range [][]ratelimit.Option{
		nil,
		{ratelimit.Name("a\nb"), ratelimit.MaxWait(time.Minute)},
		{ratelimit.MaxWait(1), ratelimit.MaxWaiters(3), ratelimit.Shadow()},
	} {
		l := ratelimit.New(0.5, 3, options...)
		require.NoError(t, l.Reconfigure(0.25, 4, options...))
		report := l.Report()
		args := report.Settings[0].Args
		again := ratelimit.New(args[0].Value.(float64), args[1].Value.(int), readBack(l)...)
		require.Equal(t, report.Settings, again.Report().Settings)
		require.Equal(t, report.Shadow, again.Report().Shadow)
		require.Equal(t, l.String(), again.String())
	}
}

// Shadow is reported as it is, the settings as they were given.
func TestReportSaysShadow(t *testing.T) {
	l := ratelimit.New(1, 1)
	l.Shadow()
	require.True(t, l.Report().Shadow)
	require.Len(t, l.Report().Settings, 1)
	l.Enforce()
	require.False(t, l.Report().Shadow)
}

func TestReportAllocatesOnce(t *testing.T) {
	l := ratelimit.New(10, 10, ratelimit.Name("mail"), ratelimit.MaxWait(time.Second))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = l.Report() }), 1.0)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = l.Snapshot() }))
}

func TestFault280_ReadableAsJSONAndByLoggers(t *testing.T) {
	limited, unlimited := ratelimit.New(2, 5, ratelimit.Name("mail")), ratelimit.New(math.Inf(1), 0)
	text := func(v any) string {
		t.Helper()
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return string(text)
	}
	require.JSONEq(t, `{"name": "mail", "per_second": 2, "burst": 5, "shadow": false, "tokens": 5, "waiting": 0, "peak_waiting": 0,
		"admitted": 0, "returned": 0, "rejected": 0, "shadow_rejected": 0}`, text(limited.Snapshot()))
	require.Contains(t, text(unlimited.Snapshot()), `"per_second":null`)
	require.Contains(t, text(unlimited.Report()), `{"name":"perSecond","value":"+Inf"}`)
	require.Equal(t, "+Inf", unlimited.Report().Settings[0].Args[0].Value, "a number that is infinite is none in JSON")
	require.Contains(t, text(limited.Report()), `"kind":"rate limiter","name":"mail"`)

	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("state", "limiter", limited.Snapshot())
	require.Contains(t, out.String(), `"limiter":{"name":"mail","per_second":2,"burst":5,"shadow":false,"tokens":5`)
	require.Equal(t, "{mail 2 5 false 5 0 0 0 0 0 0}", fmt.Sprint(limited.Snapshot()))
	require.Equal(t, `{rate limit "mail" 2/s burst 5}`, fmt.Sprint(ratelimit.Policy[int]{Limiter: limited}))
}
