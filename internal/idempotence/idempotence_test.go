package idempotence_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/idempotence"
)

func TestTheInnermostMarkCounts(t *testing.T) {
	check := func(ctx context.Context, marked, idempotent bool) {
		t.Helper()
		m, i := idempotence.Of(ctx)
		require.Equal(t, marked, m)
		require.Equal(t, idempotent, i)
		m, i = idempotence.AtOnce(ctx)
		require.Equal(t, marked, m)
		require.Equal(t, idempotent, i)
	}
	ctx := t.Context()
	check(ctx, false, false)
	yes := idempotence.Mark(ctx, true)
	check(yes, true, true)
	no := idempotence.Mark(yes, false)
	check(no, true, false)
	check(idempotence.Mark(no, true), true, true)
	check(yes, true, true)
}

// answers is a context that answers the question about repetition.
type answers struct {
	context.Context
	answer any
}

func (a answers) Value(key any) any {
	if idempotence.Asks(key) {
		return a.answer
	}
	return a.Context.Value(key)
}

func TestInTurnIsNotAtOnce(t *testing.T) {
	ctx := answers{t.Context(), idempotence.InTurn}
	marked, idempotent := idempotence.Of(ctx)
	require.True(t, marked)
	require.True(t, idempotent)
	marked, idempotent = idempotence.AtOnce(ctx)
	require.True(t, marked)
	require.False(t, idempotent)
}
