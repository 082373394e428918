package needsopen

import (
	"context"
	"net/http"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func opens(ctx context.Context, backend policy.Layer, request *http.Request) (int, error) {
	response, permit, err := resilience.Open(ctx, backend, func(ctx context.Context) (*http.Response, error) {
		return http.DefaultClient.Do(request.WithContext(ctx))
	})
	if err != nil {
		return 0, err
	}
	defer func() { permit.Done(response.Body.Close()) }()
	return response.StatusCode, nil
}

func readsInside(ctx context.Context, backend policy.Layer) (int, error) {
	return resilience.Do(ctx, backend, func(ctx context.Context) (int, error) { return 0, ctx.Err() })
}
