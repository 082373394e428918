package droppederror

import (
	"context"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func keeps(ctx context.Context, backend policy.Layer) (string, error) {
	_ = resilience.Run(ctx, backend, save) // meant
	return resilience.Do(ctx, backend, load)
}
