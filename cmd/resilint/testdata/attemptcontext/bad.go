package attemptcontext

import (
	"context"
	"net/http"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func fetch(ctx context.Context, id int) (string, error) { return "", ctx.Err() }

func unnamed(ctx context.Context, backend policy.Layer) (string, error) {
	return resilience.Do(ctx, backend, func(_ context.Context) (string, error) {
		return fetch(ctx, 1) // want "RL9a: this operation uses ctx from outside: a timeout or a hedge cannot stop it"
	})
}

func otherName(parent context.Context, backend policy.Layer) error {
	return resilience.Run(parent, backend, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(parent, "GET", "http://backend", nil) // want "RL9a: this operation uses parent from outside"
		if err != nil {
			return err
		}
		_, err = fetch(ctx, len(request.URL.Path))
		return err
	})
}

func byAMethod(ctx context.Context, backend *resilience.Pipeline) error {
	return backend.Run(ctx, func(context.Context) error {
		_, err := fetch(ctx, 1) // want "RL9a: this operation uses ctx from outside"
		return err
	})
}
