package droppederror

import (
	"context"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
)

func load(ctx context.Context) (string, error) { return "", ctx.Err() }
func save(ctx context.Context) error           { return ctx.Err() }

func drops(ctx context.Context, backend policy.Layer) string {
	resilience.Run(ctx, backend, save)           // want "RL9b: the error is dropped: a call that the pipeline refused"
	go resilience.Run(ctx, backend, save)        // want "RL9b: the error is dropped"
	page, _ := resilience.Do(ctx, backend, load) // want "RL9b: the error is dropped"
	return page
}

func dropsOfMethods(ctx context.Context, backend *resilience.Pipeline, pages policy.Policy[string]) {
	backend.Run(ctx, save) // want "RL9b: the error is dropped"
	pages.Do(ctx, load)    // want "RL9b: the error is dropped"
}
