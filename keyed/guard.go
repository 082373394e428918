package keyed

import (
	"context"
	"fmt"

	"github.com/go-resilience/resilience/policy"
)

// Guard is a registry of guards as a single guard. It is made by [By] and safe for concurrent use.
type Guard[K comparable, V policy.Guard] struct {
	key      func(context.Context) K
	registry *Registry[K, V]
	stage    policy.Stage
}

var (
	_ policy.Guard   = (*Guard[string, policy.Guard])(nil)
	_ policy.Gate    = (*Guard[string, policy.Guard])(nil)
	_ policy.Checker = (*Guard[string, policy.Guard])(nil)
	_ fmt.Stringer   = (*Guard[string, policy.Guard])(nil)
)

// By returns a guard that leaves each attempt to the guard that registry has for the key of its context. It stands at the
// stage of the registry's guards, of which the overflow value is the example.
//
// key is called on the goroutine of the call, under no lock, whenever an attempt asks for admission and whenever a
// retry asks whether it would get it; it must return the same key for the same context.
//
// An attempt is settled by the guard that admitted it, even if its key was evicted or deleted meanwhile. No admission is lost to
// an eviction: when the chosen guard loses its place while it admits, the attempt is handed back and its successor asked.
//
// By panics with a [*policy.ConfigError] when key or registry is nil.
func By[K comparable, V policy.Guard](key func(context.Context) K, registry *Registry[K, V]) *Guard[K, V] {
	problems := policy.ConfigError{Policy: "keyed.By"}
	if key == nil {
		problems.Add("the function key is nil")
	}
	if registry == nil {
		problems.Add("the registry is nil")
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return &Guard[K, V]{key: key, registry: registry, stage: registry.Overflow().Stage()}
}

// chosen is the context of an admitted attempt: it remembers which guard has admitted it.
type chosen[V policy.Guard] struct {
	context.Context
	guard V
}

// Stage returns the stage of the registry's guards.
func (g *Guard[K, V]) Stage() policy.Stage { return g.stage }

// Admit asks the guard of the key of ctx, which is made if the key is new. It allocates the context that remembers
// the guard.
func (g *Guard[K, V]) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	key := g.key(ctx)
	for {
		e, err := g.registry.entry(ctx, key)
		if err != nil {
			return nil, policy.Ticket{}, err
		}
		admitted, ticket, err := e.value.Admit(ctx)
		if err != nil {
			return nil, policy.Ticket{}, err
		}
		if e.keep() {
			return &chosen[V]{admitted, e.value}, ticket, nil
		}
		e.value.Settle(admitted, ticket, policy.Outcome{Kind: policy.NotCalled})
	}
}

// Settle tells the guard that admitted the attempt.
func (g *Guard[K, V]) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	c := ctx.(*chosen[V])
	c.guard.Settle(c.Context, ticket, outcome)
}

// Ready asks the guard of the key of ctx, if it is a [policy.Gate] and there. It makes no value and does not count as a
// use: for a key that is not there, the answer is nil, as it would be for a new guard.
func (g *Guard[K, V]) Ready(ctx context.Context) error {
	value, ok := g.registry.peek(g.key(ctx))
	if !ok {
		return nil
	}
	if gate, ok := any(value).(policy.Gate); ok {
		return gate.Ready(ctx)
	}
	return nil
}

// Changed returns the channel of the guard of the key of ctx, if it is there and a [policy.Notifier].
func (g *Guard[K, V]) Changed(ctx context.Context) <-chan struct{} {
	if value, ok := g.registry.peek(g.key(ctx)); ok {
		if notifier, ok := any(value).(policy.Notifier); ok {
			return notifier.Changed(ctx)
		}
	}
	return nil // never closed
}

// Check asks the overflow value, as an example of all, whether it fits the layers around it.
func (g *Guard[K, V]) Check(outer, inner []policy.Layer) error {
	if checker, ok := any(g.registry.Overflow()).(policy.Checker); ok {
		return checker.Check(outer, inner)
	}
	return nil
}

// String returns what the overflow value says of itself, as in `per key breaker "users-db"`.
func (g *Guard[K, V]) String() string {
	example := any(g.registry.Overflow())
	if s, ok := example.(fmt.Stringer); ok {
		return "per key " + s.String()
	}
	return fmt.Sprintf("per key %T", example)
}
