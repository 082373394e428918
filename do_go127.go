//go:build go1.27

package resilience

import (
	"context"

	"github.com/go-resilience/resilience/policy"
)

// Do runs op through the pipeline. It is the function [Do], as a method: Go has generic methods since 1.27.
func (p *Pipeline) Do[T any](ctx context.Context, op policy.Func[T]) (T, error) {
	return Do(ctx, p, op)
}

// Open runs op through the pipeline for a result that outlives it. It is the function [Open], as a method.
func (p *Pipeline) Open[T any](ctx context.Context, op policy.Func[T]) (T, *policy.Permit, error) {
	return Open(ctx, p, op)
}
