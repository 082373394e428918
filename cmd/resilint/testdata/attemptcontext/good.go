package attemptcontext

import (
	"context"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func ofTheAttempt(ctx context.Context, backend policy.Layer) (string, error) {
	return resilience.Do(ctx, backend, func(ctx context.Context) (string, error) { return fetch(ctx, 1) })
}

func derived(ctx context.Context, backend policy.Layer) (string, error) {
	return resilience.Do(ctx, backend, func(ctx context.Context) (string, error) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		return fetch(inner, 1)
	})
}
