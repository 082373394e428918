package nestedretry

import (
	"context"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	retryablehttp "github.com/go-resilience/resilience/cmd/resilint/testdata/nestedretry/go-retryablehttp"
)

// the pipeline does not retry
func breakerAlone(ctx context.Context, b *breaker.Breaker, client *retryablehttp.Client) error {
	return resilience.Run(ctx, b, func(ctx context.Context) error {
		response, err := client.Get("http://backend")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
}

// the operation does not retry
func callInAPipeline(ctx context.Context) error {
	return resilience.Run(ctx, pipeline, func(ctx context.Context) error { return call(ctx) })
}

var once = resilience.Compose(breaker.New())

// only one of the two retries
func aroundAPipelineWithout(ctx context.Context) error {
	return pipeline.Run(ctx, func(ctx context.Context) error { return once.Run(ctx, call) })
}
