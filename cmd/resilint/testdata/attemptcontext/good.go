package attemptcontext

import (
	"context"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func ofTheAttempt(ctx context.Context, backend policy.Layer) (string, error) {
	return resilience.Do(ctx, backend, func(ctx context.Context) (string, error) { return fetch(ctx, 1) })
}

func compares(parent context.Context, backend policy.Layer) error {
	return resilience.Run(parent, backend, func(ctx context.Context) error {
		_, err := fetch(ctx, 1)
		return judge(parent, ctx, err)
	})
}

func judge(outer, inner context.Context, err error) error { return err }

func derived(ctx context.Context, backend policy.Layer) (string, error) {
	return resilience.Do(ctx, backend, func(ctx context.Context) (string, error) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		return fetch(inner, 1)
	})
}
