package resilience

import (
	"context"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/policy"
)

// Source is where calls find the pipeline that is in force: a [*Pipeline], which never changes, or something that
// replaces its pipeline while it runs, such as a configuration that is reloaded. A call ends with the pipeline it began
// with. A source that is also a [policy.Layer] can be given to [Do], [Open], [Run] and [For]; [Compose] refuses it.
type Source interface {
	// Current returns the pipeline in force, never nil. It must be fast and safe for concurrent use.
	Current() *Pipeline
}

// Do runs op through layer, which is a [*Pipeline], a [Source], or a single policy such as a [*breaker.Breaker].
//
// It returns what op returned. When a policy refused, the result is the zero T and an error that matches
// [policy.ErrRejected] and the policy's own sentinel. When retries were made, the result comes from the last attempt that
// entered op, and the error is a [*retry.Error] that unwraps to its error. When ctx had already ended, op is not called,
// nothing is taken from any policy, and the error matches ctx.Err() and context.Cause(ctx). A success stands, even if ctx
// ended meanwhile. A panic of op, and [runtime.Goexit], go on to the caller unchanged after every policy was told.
//
// The context of the operation ends when Do returns. Use [Open] for a result that still needs it, and [Run] for an
// operation that has no result.
//
// A result larger than a few words is copied at every level of the pipeline: let op return a pointer to it.
//
// Do is safe for concurrent use. It panics when ctx, layer or op is nil.
func Do[T any](ctx context.Context, layer policy.Layer, op policy.Func[T]) (T, error) {
	if plan := planOf(layer, "Do"); plan != nil {
		return engine.Do(ctx, plan, op)
	}
	return engine.DoLayer(ctx, layer, op)
}

// Run runs an operation that has no result but an error through layer. It is [Do] otherwise.
func Run(ctx context.Context, layer policy.Layer, op func(context.Context) error) error {
	if op == nil {
		panic("resilience: Run with a nil operation")
	}
	_, err := Do(ctx, layer, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}

// planOf returns the plan of a pipeline or of a source, nil for a single policy.
func planOf(layer policy.Layer, caller string) *engine.Plan {
	switch layer := layer.(type) {
	case *Pipeline: // a Source too: before that case
		if layer == nil {
			panic("resilience: " + caller + " with a nil pipeline")
		}
		return layer.planOrPanic()
	case Source:
		return layer.Current().planOrPanic()
	case nil:
		panic("resilience: " + caller + " with a nil layer")
	}
	return nil
}

// planOrPanic returns the plan of the pipeline. It panics if Compose did not make it.
func (p *Pipeline) planOrPanic() *engine.Plan {
	if p == nil || p.plan == nil {
		panic("resilience: a Pipeline must be made with Compose")
	}
	return p.plan
}

// For returns layer, a pipeline, a [Source] or a single policy, as a [policy.Policy] for results of type T: for
// injection, and for typed policies such as a fallback. All views of a layer share its state. For panics when layer is
// nil.
func For[T any](layer policy.Layer) policy.OpenPolicy[T] {
	if option.IsNil(layer) {
		panic("resilience: For with a nil layer")
	}
	return view[T]{layer}
}

// view is a layer as a policy for results of one type.
type view[T any] struct{ layer policy.Layer }

func (v view[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) { return Do(ctx, v.layer, op) }

func (v view[T]) Open(ctx context.Context, op policy.Func[T]) (T, *policy.Permit, error) {
	return Open(ctx, v.layer, op)
}

func (v view[T]) String() string { return describe(v.layer) }
