package breaker

import (
	"context"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// Policy is a breaker as a [policy.Policy] for results of type T. All views of a breaker share its state.
type Policy[T any] struct{ Breaker *Breaker }

var _ policy.Policy[struct{}] = Policy[struct{}]{}

// Do runs op if the breaker admits it. It returns the zero T and an error that matches [ErrOpen] otherwise. It panics
// when ctx, op or the Breaker is nil.
func (p Policy[T]) Do(ctx context.Context, op policy.Func[T]) (T, error) {
	if p.Breaker == nil {
		panic("breaker: Policy with a nil Breaker")
	}
	return engine.DoLayer(ctx, p.Breaker, op)
}
