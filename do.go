package resilience

import (
	"context"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Do runs op through layer, which is a [*Pipeline] or a single policy such as a [*breaker.Breaker].
//
// It returns what op returned. When a policy refused, the result is the zero T and an error that matches
// [policy.ErrRejected] and the policy's own sentinel. When retries were made, the result is that of the last attempt,
// and the error a [*retry.Error] that unwraps to it. When ctx had already ended, op is not called, nothing is taken
// from any policy, and the error matches ctx.Err() and context.Cause(ctx). A success stands, even if ctx ended
// meanwhile. A panic of op, and [runtime.Goexit], go on to the caller unchanged after every policy has heard of it.
//
// A result larger than a few words is copied at every level of the pipeline: let op return a pointer to it.
//
// Do is safe for concurrent use. It panics when ctx, layer or op is nil.
func Do[T any](ctx context.Context, layer policy.Layer, op policy.Func[T]) (T, error) {
	pipeline, ok := layer.(*Pipeline)
	switch {
	case ok && pipeline != nil:
		return engine.Do(ctx, pipeline.plan, op)
	case ok:
		panic("resilience: Do with a nil pipeline")
	case layer == nil:
		panic("resilience: Do with a nil layer")
	}
	return engine.DoLayer(ctx, layer, op)
}

// For returns layer, a pipeline or a single policy, as a [policy.Policy] for results of type T: for injection, and
// for typed policies such as a fallback. All views of a layer share its state. For panics when layer is nil.
func For[T any](layer policy.Layer) policy.Policy[T] {
	if isNil(layer) {
		panic("resilience: For with a nil layer")
	}
	return view[T]{layer}
}

// view is a layer as a policy for results of one type.
type view[T any] struct{ layer policy.Layer }

func (v view[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) { return Do(ctx, v.layer, op) }
