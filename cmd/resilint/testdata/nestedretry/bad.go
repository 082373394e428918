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
