package proof

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

// end is a way in which a permit can end. It reports whether the first settlement was the one that counts.
type end struct {
	name string
	end  func(permit *policy.Permit, cancel context.CancelFunc) bool
}

// ends are the columns of the tables of open results, in order. With the first one nothing happens for as long as the
// matrix is looked at.
func ends() []end {
	return []end{
		{"never", nil},
		{"success", func(permit *policy.Permit, _ context.CancelFunc) bool { return permit.Done(nil) }},
		{"error", func(permit *policy.Permit, _ context.CancelFunc) bool { return permit.Done(errDown) }},
		{"ignored", func(permit *policy.Permit, _ context.CancelFunc) bool { return permit.Done(errIgnored) }},
		{"cancel", func(permit *policy.Permit, cancel context.CancelFunc) bool {
			cancel()
			return permit.Done(errDown) // drivers turn a cancellation into errors of their own
		}},
		{"late", func(permit *policy.Permit, cancel context.CancelFunc) bool {
			cancel()
			time.Sleep(10 * time.Second)
			return permit.Done(nil)
		}},
		{"twice", func(permit *policy.Permit, _ context.CancelFunc) bool {
			return permit.Done(nil) && !permit.Done(errDown)
		}},
		{"elsewhere", func(permit *policy.Permit, _ context.CancelFunc) bool {
			var settled atomic.Int64
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if permit.Done(errDown) {
						settled.Add(1)
					}
				})
			}
			all.Wait()
			return settled.Load() == 1
		}},
		{"panic", func(permit *policy.Permit, _ context.CancelFunc) bool {
			return permit.Settle(policy.Outcome{Kind: policy.Panicked})
		}},
		{"exit", func(permit *policy.Permit, _ context.CancelFunc) bool {
			return permit.Settle(policy.Outcome{Kind: policy.Exited})
		}},
		{"not called", func(permit *policy.Permit, _ context.CancelFunc) bool {
			return permit.Settle(policy.Outcome{Kind: policy.NotCalled})
		}},
	}
}

// permitOf is how a permit comes about. It returns the context of the operation that has succeeded too.
type permitOf func(ctx context.Context, pipeline *resilience.Pipeline, op func()) (context.Context, *policy.Permit, error)

func byOpen(ctx context.Context, pipeline *resilience.Pipeline, op func()) (context.Context, *policy.Permit, error) {
	return resilience.Open(ctx, pipeline, func(ctx context.Context) (context.Context, error) {
		op()
		return ctx, nil
	})
}

// byAcquire has no operation: what would happen in it happens after the admission.
func byAcquire(ctx context.Context, pipeline *resilience.Pipeline, op func()) (context.Context, *policy.Permit, error) {
	permit, err := pipeline.Acquire(ctx)
	if err == nil {
		op()
	}
	return permit.Context(), permit, err
}

// ends runs a table whose cells are what becomes of the guard when an operation succeeds in one of its states, and the
// permit ends in one of the ways.
func (m matrix) ends(t *testing.T, of permitOf, table string) {
	rows := strings.Split(strings.TrimSpace(table), "\n")
	columns := ends()
	for i, cell := range cells(rows[0])[1:] {
		require.Equal(t, columns[i].name, cell, "the head of the table")
	}
	ran := 0
	for _, row := range rows[1:] {
		want := cells(row)
		require.Len(t, want, len(columns)+1, row)
		state := m.states[want[0]]
		require.NotNil(t, state, "there is no state %q", want[0])
		for i := range columns {
			ran++
			t.Run(want[0]+"/"+columns[i].name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					require.Equal(t, want[i+1], openCell(t, columns[i], state(outcomes()[0]), of))
				})
			})
		}
	}
	require.Len(t, rows, len(m.states)+1, "a state is not in the table")
	t.Logf("%d cells", ran)
}

// openCell gets one permit, ends it, and returns what has become of the guard.
func openCell(t *testing.T, e end, s subject, of permitOf) string {
	pipeline := resilience.Compose(s.layer)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release, ended := make(chan struct{}), make(chan struct{})
	var work context.Context
	var entered atomic.Bool
	var permit *policy.Permit
	var err error
	go func() {
		defer close(ended)
		work, permit, err = of(ctx, pipeline, func() {
			entered.Store(true)
			<-release
		})
	}()
	synctest.Wait()
	if s.meanwhile != nil {
		s.meanwhile()
	}
	close(release)
	<-ended
	if err != nil {
		if s.check != nil {
			s.check(t, err, nil, false)
		} else {
			require.ErrorIs(t, err, policy.ErrRejected)
			require.False(t, entered.Load(), "refused, but the operation was entered")
		}
		require.Nil(t, permit)
		require.False(t, permit.Done(nil), "a nil permit was settled")
		synctest.Wait()
		require.NoError(t, s.rest())
		return s.read()
	}
	require.Equal(t, work, permit.Context())
	if e.end == nil {
		time.Sleep(10 * time.Second)
		got := s.read()
		require.True(t, permit.Done(nil))
		synctest.Wait()
		require.NoError(t, s.rest())
		return got
	}
	require.True(t, e.end(permit, cancel), "the first settlement must count")
	require.False(t, permit.Done(errDown), "it was settled already")
	if work.Done() != ctx.Done() {
		require.Error(t, work.Err(), "the context has outlived its permit")
	}
	synctest.Wait()
	require.NoError(t, s.rest())
	return s.read()
}
