package resilience_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// reporter is a guard that reports.
type reporter struct {
	quietGuard
	name  string
	_     [8]byte // an identity
	stage policy.Stage
}

func (r *reporter) Stage() policy.Stage { return r.stage }
func (r *reporter) Report() policy.Report {
	return policy.Report{Kind: "reporter", Name: r.name, Stage: 1, Values: []policy.Value{{Name: "rejected", Unit: policy.UnitCount, Kind: policy.Counter, Number: 3}}}
}

func TestReportOfAPipeline(t *testing.T) {
	a, b := &reporter{name: "a", stage: policy.StageBreaker}, &reporter{name: "b", stage: policy.StageBulkhead}
	p := resilience.Compose(b, policy.At(policy.StageShed, a), &again{max: 1})
	values := a.Report().Values
	require.Equal(t, resilience.Report{Layers: []policy.Report{
		{Kind: "reporter", Name: "a", Stage: policy.StageShed, Values: values}, // where it stands in this pipeline
		{Kind: "*resilience_test.again", Stage: policy.StageRetry},
		{Kind: "reporter", Name: "b", Stage: policy.StageBulkhead, Values: values},
	}}, p.Report())
	require.Empty(t, p.Name())

	named := resilience.Compose(resilience.Name("inner"), p, resilience.Name("users"))
	require.Equal(t, "users", named.Name())
	require.Equal(t, "users", named.Report().Name)
	require.Equal(t, resilience.Calls{}, *named.Report().Calls)
	require.Equal(t, p.Report().Layers, named.Report().Layers)
	require.Equal(t, "users", resilience.Compose(named, &probe{}).Name())
	require.Equal(t, p.String(), named.String(), "a name has no place in the order")
	require.Equal(t, p.Layers(), named.Layers())

	text, err := json.Marshal(named.Report())
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"users",
		"calls":{"succeeded":0,"expected":0,"failed":0,"rejected":0,"canceled":0,"panicked":0},
		"layers":[
			{"kind":"reporter","name":"a","stage":"shed","values":[{"name":"rejected","unit":"1","kind":"counter","number":3}]},
			{"kind":"*resilience_test.again","stage":"retry"},
			{"kind":"reporter","name":"b","stage":"bulkhead","values":[{"name":"rejected","unit":"1","kind":"counter","number":3}]}]}`, string(text))
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("state", "pipeline", named.Report())
	require.Contains(t, out.String(), "pipeline.name=users pipeline.calls.succeeded=0")
	require.Contains(t, out.String(), "pipeline.1.name=a pipeline.1.rejected=3")
	require.Contains(t, out.String(), "pipeline.3.name=b")
}

func TestAReportCostsOneAllocationPerLayer(t *testing.T) {
	var layers []policy.Layer
	for i := range 6 {
		layers = append(layers, &reporter{name: "x", stage: policy.Stage(i + 1)})
	}
	p, named := resilience.Compose(layers...), resilience.Compose(append(layers, resilience.Name("n"))...)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = p.Report() }), 6.0+1, "and the list")
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = named.Report() }), 6.0+2, "and the counts")
}

func TestCallsAreCountedByOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard := &probe{stage: policy.StageChaos}
		p := resilience.Compose(resilience.Name("users"), &again{max: 1}, &limit{after: time.Minute}, guard)
		want := resilience.Calls{}
		count := func(field *uint64, ctx context.Context, op policy.Func[int]) {
			t.Helper()
			*field++
			caught(func() { _, _ = resilience.Do(ctx, p, op) })
			require.Equal(t, want, *p.Report().Calls)

			*field++
			caught(func() {
				_, permit, _ := resilience.Open(ctx, p, op)
				require.Equal(t, want, *p.Report().Calls, "when the operation has returned")
				permit.Done(errBackend)
			})
			require.Equal(t, want, *p.Report().Calls)
		}
		ctx := context.Background()
		count(&want.Succeeded, ctx, answer(1, nil))
		count(&want.Expected, ctx, answer(1, classed{policy.Expected}))
		count(&want.Failed, ctx, answer(1, errBackend))
		count(&want.Failed, ctx, answer(1, classed{policy.Ignored}))
		count(&want.Failed, ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		count(&want.Panicked, ctx, func(context.Context) (int, error) { panic("boom") })
		count(&want.Panicked, ctx, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		count(&want.Failed, ctx, answer(1, errors.Join(&policy.Rejection{})))

		ended, cancel := context.WithCancel(ctx)
		cancel()
		count(&want.Canceled, ended, answer(1, nil))
		late, end := context.WithTimeout(ctx, time.Second)
		defer end()
		time.Sleep(2 * time.Second)
		count(&want.Failed, late, answer(1, nil))
		guard.refuse = &policy.Rejection{Reason: errRefused}
		count(&want.Rejected, ctx, answer(1, nil))

		canceled := 0
		guard.refuse = nil
		for range 3 {
			ctx, cancel := context.WithCancel(ctx)
			_, _ = resilience.Do(ctx, p, func(context.Context) (int, error) { cancel(); return 0, errBackend })
			canceled++
		}
		require.EqualValues(t, want.Canceled+uint64(canceled), p.Report().Calls.Canceled)
	})
}
