package nestedretry

import (
	"context"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	retryablehttp "github.com/go-resilience/resilience/cmd/resilint/testdata/nestedretry/go-retryablehttp"
	"github.com/go-resilience/resilience/retry"
)

func call(ctx context.Context) error { return ctx.Err() }

func inner(ctx context.Context) (err error) {
	for range 3 {
		if err = call(ctx); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

func outer(ctx context.Context) (err error) {
	for range 4 {
		if err = inner(ctx); err == nil { // want "RL7: this loop retries inner, which retries by itself: attempts multiply"
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

var pipeline = resilience.Compose(retry.New(), breaker.New())

func aroundAClient(ctx context.Context, client *retryablehttp.Client) error {
	return resilience.Run(ctx, pipeline, func(ctx context.Context) error {
		response, err := client.Get("http://backend") // want "RL7: this pipeline retries retryablehttp.Get, which retries by itself"
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
}

func byName(ctx context.Context) error {
	return pipeline.Run(ctx, inner) // want "RL7: this pipeline retries inner, which retries by itself"
}

func aroundAPipeline(ctx context.Context) (err error) {
	for range 3 {
		if err = pipeline.Run(ctx, call); err == nil { // want "RL7: this loop retries a call through a pipeline with a retry"
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

var pages = resilience.For[string](pipeline)

func inAnother(ctx context.Context, load func(context.Context) (string, error)) (string, error) {
	return pages.Do(ctx, func(ctx context.Context) (string, error) {
		return resilience.Do(ctx, pipeline, load) // want "RL7: this pipeline retries a call through a pipeline with a retry"
	})
}
