package timeout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

func logged(t *testing.T, value any) string {
	t.Helper()
	var text strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", value)
	_, attrs, _ := strings.Cut(text.String(), "msg=x ")
	return strings.TrimSpace(attrs)
}

func TestFault280_SnapshotsAreReadable(t *testing.T) {
	s := timeout.Snapshot{Limit: 300 * ms, Expired: 2}
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"limit":0.3,"expired":2}`, string(text))
	require.Equal(t, "v.limit=300ms v.expired=2", logged(t, s))
	require.Equal(t, "{300ms 2}", fmt.Sprint(s))

	a := timeout.AbandonSnapshot{Limit: time.Second, Expired: 1, Rejected: 2, Running: 3, Abandoned: 4, Discarded: 5, Panics: 6}
	text, err = json.Marshal(a)
	require.NoError(t, err)
	require.JSONEq(t, `{"limit":1,"expired":1,"rejected":2,"running":3,"abandoned":4,"discarded":5,"panics":6}`, string(text))
	require.Equal(t, "v.limit=1s v.expired=1 v.rejected=2 v.running=3 v.abandoned=4 v.discarded=5 v.panics=6", logged(t, a))
	require.Equal(t, "{attempt timeout 1s}", fmt.Sprint(timeout.Policy[int]{Timeout: timeout.PerAttempt(time.Second)}))
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := timeout.Total(time.Second)
		_, _ = resilience.Do(t.Context(), total, coop(time.Hour, nil))
		require.Equal(t, policy.Report{
			Kind: "total timeout", Stage: policy.StageTotalTimeout,
			Settings: []policy.Setting{{Name: "Total", Args: []policy.Argument{{Name: "limit", Value: time.Second}}}},
			Values: []policy.Value{
				{Name: "limit", Unit: "s", Kind: policy.Gauge, Number: 1, Limit: 1},
				{Name: "expired", Unit: "1", Kind: policy.Counter, Number: 1},
			},
		}, total.Report())

		follows := timeout.FromLatency(0.99, 3, 10*ms, 2*time.Second).Report()
		require.Equal(t, "attempt timeout", follows.Kind)
		require.Equal(t, []policy.Setting{{Name: "FromLatency", Args: []policy.Argument{
			{Name: "q", Value: 0.99}, {Name: "factor", Value: 3.0}, {Name: "floor", Value: 10 * ms}, {Name: "most", Value: 2 * time.Second},
		}}}, follows.Settings)

		abandons := timeout.Abandon(50*ms, timeout.MaxRunning(1), timeout.MaxRunning(2), timeout.OnPanic(func(any, []byte) {}))
		_, _ = resilience.Do(t.Context(), abandons, deaf(time.Second, 0, nil))
		report := abandons.Report()
		require.Equal(t, "abandoning timeout", report.Kind)
		require.Equal(t, abandons.Stage(), report.Stage)
		require.Equal(t, []policy.Setting{
			{Name: "Abandon", Args: []policy.Argument{{Name: "limit", Value: 50 * ms}}},
			{Name: "MaxRunning", Args: []policy.Argument{{Name: "n", Value: 2}}},
			{Name: "OnPanic", Code: true},
		}, report.Settings)
		for name, want := range map[string]float64{"limit": 0.05, "expired": 1, "rejected": 0, "running": 1, "abandoned": 1, "discarded": 0, "panics": 0} {
			value, found := report.Value(name, "")
			require.True(t, found, name)
			require.Equal(t, want, value.Number, name)
		}
		time.Sleep(time.Second)
	})
}

func TestCodesAndClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for code, layer := range map[string]policy.Layer{
			"timeout.total":     timeout.Total(50 * ms),
			"timeout.attempt":   timeout.PerAttempt(50 * ms),
			"timeout.abandoned": timeout.Abandon(50 * ms),
		} {
			_, err := resilience.Do(t.Context(), layer, coop(time.Hour, nil))
			require.Equal(t, code, policy.Code(err))
			require.Equal(t, policy.Transient, policy.ClassOf(err))
		}
		full := timeout.Abandon(50*ms, timeout.MaxRunning(1))
		_, _ = resilience.Do(t.Context(), full, deaf(time.Second, 0, nil))
		_, err := resilience.Do(t.Context(), full, deaf(time.Second, 0, nil))
		require.Equal(t, "timeout.max_running", policy.Code(err))
		time.Sleep(time.Second)
	})
}

func TestFault271_OneLine(t *testing.T) {
	long := errors.New("a\nb\r\nc " + strings.Repeat("x", 10_000))
	// The error of the operation and the end of its time come at once, and either may be first: see
	// TestFault271_AnErrorAfterTheLimitIsOneLine.
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			_, err := resilience.Do(t.Context(), timeout.Abandon(50*ms), func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, long
			})
			require.ErrorIs(t, err, timeout.ErrTimeout)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "\r")
			require.Less(t, len(err.Error()), 600)
		})
	}
}

func TestFault268_ZeroValues(t *testing.T) {
	for _, method := range []func(*timeout.Timeout){
		func(t *timeout.Timeout) { t.Stage() },
		func(t *timeout.Timeout) { t.TimeLimit() },
		func(t *timeout.Timeout) { _ = t.String() },
		func(t *timeout.Timeout) { t.Snapshot() },
		func(t *timeout.Timeout) { t.Report() },
		func(t *timeout.Timeout) { t.Idle() },
		func(t *timeout.Timeout) { _ = t.Check(nil, nil) },
		func(t *timeout.Timeout) { _ = t.Reconfigure(1) },
		func(t *timeout.Timeout) { _ = t.ReconfigureFromLatency(0.9, 1, 1, 1) },
		func(t *timeout.Timeout) { _, _, _ = t.Admit(context.Background()) },
		func(t *timeout.Timeout) { _, _, _, _ = t.AdmitOpen(context.Background()) },
		func(t *timeout.Timeout) { _, _ = timeout.Policy[int]{Timeout: t}.Do(context.Background(), ok) },
	} {
		require.PanicsWithValue(t, "timeout: a Timeout that was not made by Total, PerAttempt or FromLatency", func() { method(&timeout.Timeout{}) })
	}
	for _, method := range []func(*timeout.Abandoner){
		func(a *timeout.Abandoner) { a.Stage() },
		func(a *timeout.Abandoner) { a.TimeLimit() },
		func(a *timeout.Abandoner) { _ = a.String() },
		func(a *timeout.Abandoner) { a.Snapshot() },
		func(a *timeout.Abandoner) { a.Report() },
		func(a *timeout.Abandoner) { a.Idle() },
		func(a *timeout.Abandoner) { a.Discard(1) },
		func(a *timeout.Abandoner) { _ = a.Check(nil, nil) },
		func(a *timeout.Abandoner) { _ = a.Reconfigure(1) },
		func(a *timeout.Abandoner) { _ = a.Run(context.Background(), nil) },
		func(a *timeout.Abandoner) { _ = a.Open(context.Background(), nil) },
	} {
		require.PanicsWithValue(t, "timeout: an Abandoner that was not made by Abandon", func() { method(&timeout.Abandoner{}) })
	}
}

// bounding is a third party's guard that says something about time.
type bounding struct {
	policy.Guard
	stage policy.Stage
}

func (b bounding) Stage() policy.Stage      { return b.stage }
func (b bounding) Limit() time.Duration     { return time.Millisecond }
func (b bounding) String() string           { return "third party's timeout" }
func (b limiting) TimeLimit() time.Duration { return time.Millisecond }

type limiting struct{ bounding }

func TestFault257_OnlyATimeoutIsTakenForOne(t *testing.T) {
	inner := timeout.PerAttempt(time.Second)
	for _, layer := range []policy.Layer{
		bounding{stage: policy.StageBreaker}, bounding{stage: policy.StageTotalTimeout}, limiting{bounding{stage: policy.StageBreaker}},
	} {
		require.NoError(t, inner.Check([]policy.Layer{layer}, nil))
		require.NoError(t, timeout.Abandon(time.Second).Check([]policy.Layer{layer}, nil))
	}
	require.EqualError(t, inner.Check([]policy.Layer{limiting{bounding{stage: policy.StageTotalTimeout}}}, nil),
		"must be below the third party's timeout around it")
}
