//go:build !race

package policyredis_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
)

// What a decision allocates beside the client: its context and timer, a goroutine, and the call.
func TestAllocations(t *testing.T) {
	shared := policyredis.New(answers(int64(0), nil), "allocations", 1000, 1000)
	require.NoError(t, attempt(shared))
	ctx := t.Context()
	admit := func(l *policyredis.Limiter) func() {
		return func() {
			ctx, ticket, err := l.Admit(ctx)
			_, _, _ = ctx, ticket, err
		}
	}
	require.LessOrEqual(t, testing.AllocsPerRun(200, admit(shared)), 8.0)

	open := policyredis.New(answers(nil, errDown), "allocations", 1000, 1_000_000)
	admitted(open, 5)
	require.Zero(t, testing.AllocsPerRun(200, admit(open)), "the local bucket")
}
