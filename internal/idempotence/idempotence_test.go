package idempotence_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/idempotence"
)

func TestTheInnermostMarkCounts(t *testing.T) {
	check := func(ctx context.Context, want idempotence.Mark) {
		t.Helper()
		got, marked := idempotence.Of(ctx)
		require.True(t, marked)
		require.Equal(t, want, got)
	}
	_, marked := idempotence.Of(t.Context())
	require.False(t, marked)
	yes := idempotence.With(t.Context(), idempotence.AtOnce)
	check(yes, idempotence.AtOnce)
	no := idempotence.With(yes, idempotence.No)
	check(no, idempotence.No)
	check(idempotence.With(no, idempotence.AtOnce), idempotence.AtOnce)
	check(yes, idempotence.AtOnce)
	check(answers{no, idempotence.InTurn}, idempotence.InTurn)
}

// answers is a context that answers the question about repetition.
type answers struct {
	context.Context
	answer idempotence.Mark
}

func (a answers) Value(key any) any {
	if idempotence.Asks(key) {
		return a.answer
	}
	return a.Context.Value(key)
}
