package idempotence_test

import (
	"context"
	"errors"
	"fmt"
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

type panics struct{ error }

func (panics) NotSent() bool { panic("NotSent") }

type notSent struct{ error }

func (notSent) NotSent() bool   { return true }
func (n notSent) Unwrap() error { return n.error }

func TestNotSentIsFoundThroughPlainWrappingOnly(t *testing.T) {
	err := notSent{errors.New("no connection")}
	require.True(t, idempotence.NotSent(err))
	require.True(t, idempotence.NotSent(fmt.Errorf("around: %w", err)))
	require.False(t, idempotence.NotSent(errors.Join(err)))
	require.False(t, idempotence.NotSent(err.error))
	require.False(t, idempotence.NotSent(nil))
	require.False(t, idempotence.NotSent(fmt.Errorf("around: %w", panics{err})))
}
