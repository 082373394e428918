package bulkhead_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func TestFault280_SnapshotsAreReadable(t *testing.T) {
	b := bulkhead.New(2, bulkhead.Shadow())
	for range 3 {
		defer acquire(t, b).Done(nil)
	}
	s := b.Snapshot()
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"limit":2,"in_flight":2,"peak_in_flight":2,"waiting":0,"peak_waiting":0,"waited":0,"rejected":0,
		"timed_out":0,"shadow_rejected":1,"shadow":true,"draining":false}`, string(text))
	require.Equal(t, "2 of 2 in flight, 0 waiting, 0 rejected, 1 rejected in shadow", fmt.Sprint(s))
	require.Equal(t, "1 of 3 in flight, 0 waiting, 4 rejected, draining", bulkhead.Snapshot{Limit: 3, InFlight: 1, Rejected: 4, Draining: true}.String())
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("bulkhead", "state", s)
	require.Contains(t, log.String(), "state.limit=2 state.in_flight=2")
	require.Contains(t, log.String(), "state.shadow_rejected=1 state.shadow=true state.draining=false")

	text, err = json.Marshal(map[string]any{"none": bulkhead.Algorithm{}, "aimd": bulkhead.AIMD(1), "vegas": bulkhead.Vegas()})
	require.NoError(t, err)
	require.JSONEq(t, `{"none":"none","aimd":"aimd","vegas":"vegas"}`, string(text))
	require.Equal(t, "gradient2", fmt.Sprint(bulkhead.Gradient2()))
}

func TestReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := bulkhead.New(1, bulkhead.Queue(2, time.Second), bulkhead.Name("db"), bulkhead.WeightOf(weightMark))
		holder := acquire(t, b)
		_, err := policy.Acquire(context.Background(), b)
		require.ErrorIs(t, err, bulkhead.ErrQueueTimeout)
		waiting := make(chan struct{})
		go func() { defer close(waiting); resilience.Do(context.Background(), b, nothing) }()
		synctest.Wait()
		report := b.Report()
		require.Equal(t, policy.Report{
			Kind: "bulkhead", Name: "db", Stage: policy.StageBulkhead,
			State: policy.State{Name: "accepting", All: []string{"accepting", "draining"}},
			Settings: []policy.Setting{
				{Name: "New", Args: []policy.Argument{{Name: "limit", Value: 1}}},
				{Name: "Queue", Args: []policy.Argument{{Name: "length", Value: 2}, {Name: "wait", Value: time.Second}}},
				{Name: "Name", Args: []policy.Argument{{Name: "name", Value: "db"}}},
				{Name: "WeightOf", Code: true},
			},
			Values: []policy.Value{
				{Name: "in_flight", Unit: "1", Kind: policy.Gauge, Number: 1, Limit: 1},
				{Name: "queued", Unit: "1", Kind: policy.Gauge, Number: 1, Limit: 2},
				{Name: "limit", Unit: "1", Kind: policy.Gauge, Number: 1},
				{Name: "rejected", Unit: "1", Kind: policy.Counter, Number: 1},
				{Name: "waited", Unit: "1", Kind: policy.Counter, Number: 2},
				{Name: "timed_out", Unit: "1", Kind: policy.Counter, Number: 1},
				{Name: "shadow_rejected", Unit: "1", Kind: policy.Counter},
			},
		}, report)
		holder.Done(nil)
		<-waiting
	})
	b := bulkhead.New(1, bulkhead.Shadow())
	require.Equal(t, []policy.Setting{{Name: "New", Args: []policy.Argument{{Name: "limit", Value: 1}}}, {Name: "Shadow"}}, b.Report().Settings)
	require.True(t, b.Report().Shadow)
	require.NoError(t, b.Reconfigure(7))
	require.Equal(t, []policy.Setting{{Name: "New", Args: []policy.Argument{{Name: "limit", Value: 7}}}}, b.Report().Settings)
	require.False(t, b.Report().Shadow)

	adaptive := bulkhead.Adaptive(bulkhead.AIMD(time.Second), 2, 9, bulkhead.Classify(ignoring(nil)))
	require.Equal(t, []policy.Setting{
		{Name: "Adaptive", Args: []policy.Argument{{Name: "algorithm", Value: "aimd"}, {Name: "target", Value: time.Second}, {Name: "floor", Value: 2}, {Name: "ceiling", Value: 9}}},
		{Name: "Classify", Code: true},
	}, adaptive.Report().Settings)
	limit, ok := adaptive.Report().Value("limit", "")
	require.True(t, ok)
	require.Equal(t, policy.Value{Name: "limit", Unit: "1", Kind: policy.Gauge, Number: 2, Limit: 9}, limit)
	vegas := bulkhead.Adaptive(bulkhead.Vegas(), 2, 9)
	require.Len(t, vegas.Report().Settings[0].Args, 3)
}
