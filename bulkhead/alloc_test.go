package bulkhead_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
)

func TestAllocations(t *testing.T) {
	ctx := context.Background()
	free, full, queueFull := bulkhead.New(2), bulkhead.New(1), bulkhead.New(1, bulkhead.Queue(1, time.Hour))
	defer acquire(t, full).Done(nil)
	defer acquire(t, queueFull).Done(nil)
	waiting, leave := context.WithCancel(ctx)
	left := make(chan struct{})
	go func() {
		defer close(left)
		resilience.Do(waiting, queueFull, nothing)
	}()
	defer func() { leave(); <-left }()
	for queueFull.Snapshot().Waiting == 0 {
		time.Sleep(0)
	}
	tests := []struct {
		name string
		run  func() error
		want bool // admitted
	}{
		{"admit and settle", func() error {
			ctx, ticket, err := free.Admit(ctx)
			free.Settle(ctx, ticket, policy.Outcome{Kind: policy.Returned})
			return err
		}, true},
		{"do", func() error { _, err := resilience.Do(ctx, free, nothing); return err }, true},
		{"view", func() error { _, err := bulkhead.Policy[struct{}]{Bulkhead: free}.Do(ctx, nothing); return err }, true},
		{"refused: full", func() error { _, err := resilience.Do(ctx, full, nothing); return err }, false},
		{"refused: queue full", func() error { _, err := resilience.Do(ctx, queueFull, nothing); return err }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.want {
				require.NoError(t, test.run())
			} else {
				require.ErrorIs(t, test.run(), bulkhead.ErrFull)
			}
			require.Zero(t, testing.AllocsPerRun(100, func() { _ = test.run() }))
		})
	}
	for name, b := range map[string]*bulkhead.Bulkhead{"free": free, "full": queueFull, "adaptive": bulkhead.Adaptive(bulkhead.Vegas(), 1, 2)} {
		var reporter policy.Reporter = b
		var report policy.Report
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { report = reporter.Report() }), 1.0, name)
		require.NotEmpty(t, report.Values)
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = b.Snapshot() }), name)
	}
}
