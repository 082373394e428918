package keyed

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience/internal/match"
	"github.com/go-resilience/resilience/internal/saturate"
	"github.com/go-resilience/resilience/policy"
)

// Guard is a registry of guards as a single guard. It is made by [By] and safe for concurrent use.
//
// It implements what guards can implement in addition, and forwards it to the guard of the key. For
// a guard that does not implement it, the answer is that of a guard without: a nil Ready, an
// AdmitOpen without a bound.
type Guard[K comparable, V policy.Guard] struct {
	key      func(context.Context) K
	registry *Registry[K, V]
	rejected atomic.Uint64 // attempts that the guards refused
}

var (
	_ policy.Guard       = (*Guard[string, policy.Guard])(nil)
	_ policy.Gate        = (*Guard[string, policy.Guard])(nil)
	_ policy.Notifier    = (*Guard[string, policy.Guard])(nil)
	_ policy.Returner    = (*Guard[string, policy.Guard])(nil)
	_ policy.Lifter      = (*Guard[string, policy.Guard])(nil)
	_ policy.TimeLimiter = (*Guard[string, policy.Guard])(nil)
	_ policy.Checker     = (*Guard[string, policy.Guard])(nil)
	_ policy.Idler       = (*Guard[string, policy.Guard])(nil)
	_ policy.Reporter    = (*Guard[string, policy.Guard])(nil)
	_ fmt.Stringer       = (*Guard[string, policy.Guard])(nil)
)

// By returns a guard that leaves each attempt to the guard that registry has for the key of its
// context. It stands at the stage of the registry's guards. Where one guard must stand for all, as
// while a pipeline is composed, it is the overflow value.
//
// key is called on the goroutine of the call, under no lock, whenever an attempt asks for admission
// and whenever a retry asks whether it would get it. It must return the same key for the same
// context.
//
// An attempt is settled by the guard that admitted it, even if its key was evicted or deleted
// meanwhile. No admission is lost to an eviction: if the guard is evicted while it admits, the
// admission is undone and the new guard is asked.
//
// By panics with a [*policy.ConfigError] when key or registry is nil.
func By[K comparable, V policy.Guard](key func(context.Context) K, registry *Registry[K, V]) *Guard[K, V] {
	problems := policy.ConfigError{Policy: "keyed.By"}
	if key == nil {
		problems.Add("the key function is nil")
	}
	if registry == nil {
		problems.Add("the registry is nil")
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	registry.current()
	return &Guard[K, V]{key: key, registry: registry}
}

// Registry returns the registry that the guards come from, which is the one that [By] was given.
func (g *Guard[K, V]) Registry() *Registry[K, V] {
	if g.registry == nil {
		panic("keyed: a Guard must be made with keyed.By")
	}
	return g.registry
}

// example is the guard that stands for all.
func (g *Guard[K, V]) example() any { return g.Registry().overflow.value }

// chosen is the context of an admitted attempt. It remembers which guard has admitted it, and by
// which context.
type chosen[V policy.Guard] struct {
	context.Context
	guard V
}

// Stage returns the stage of the registry's guards.
func (g *Guard[K, V]) Stage() policy.Stage { return g.Registry().overflow.value.Stage() }

// Admit asks the guard of the key of ctx, which is made if the key is new. It allocates the context
// that remembers the guard.
func (g *Guard[K, V]) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	admitted, ticket, _, err := g.admit(ctx, false)
	return admitted, ticket, err
}

// AdmitOpen is Admit for a result that stays open. The guard of the key is asked by its own
// AdmitOpen if it is a [policy.Lifter], otherwise by Admit.
func (g *Guard[K, V]) AdmitOpen(ctx context.Context) (context.Context, policy.Ticket, func(), error) {
	return g.admit(ctx, true)
}

func (g *Guard[K, V]) admit(ctx context.Context, open bool) (context.Context, policy.Ticket, func(), error) {
	registry := g.Registry()
	key := g.key(ctx)
	for {
		var err error
		e := registry.lookup(key)
		if e == nil {
			if e, err = registry.ensure(ctx, key); err != nil {
				return nil, policy.Ticket{}, nil, err
			}
		}
		var admitted context.Context
		var ticket policy.Ticket
		var lift func()
		if lifter, ok := any(e.value).(policy.Lifter); ok && open {
			admitted, ticket, lift, err = lifter.AdmitOpen(ctx)
		} else {
			admitted, ticket, err = e.value.Admit(ctx)
		}
		switch {
		case err != nil:
			if match.Is(err, policy.ErrRejected) {
				g.rejected.Add(1)
			}
			return nil, policy.Ticket{}, nil, err
		case admitted == nil:
			e.value.Settle(ctx, ticket, policy.Outcome{Kind: policy.NotCalled}) // what it has taken comes back
			panic(fmt.Sprintf("keyed: %T admitted with a nil context", e.value))
		case e.use(): // the check that it was not evicted while it admitted
			return &chosen[V]{admitted, e.value}, ticket, lift, nil
		}
		e.value.Settle(admitted, ticket, policy.Outcome{Kind: policy.NotCalled})
	}
}

// Settle tells the guard that admitted the attempt.
func (g *Guard[K, V]) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	c := ctx.(*chosen[V])
	c.guard.Settle(c.Context, ticket, outcome)
}

// Returned tells the guard that admitted the attempt, if it is a [policy.Returner].
func (g *Guard[K, V]) Returned(ctx context.Context, ticket policy.Ticket) policy.Ticket {
	c := ctx.(*chosen[V])
	if returner, ok := any(c.guard).(policy.Returner); ok {
		return returner.Returned(c.Context, ticket)
	}
	return ticket
}

// Ready asks the guard of the key of ctx, if it is there and a [policy.Gate]. It makes no value and
// does not count as a use: for a key that is not there, the answer is nil, as it would be for a new
// guard.
func (g *Guard[K, V]) Ready(ctx context.Context) error {
	if gate, ok := g.guardOf(ctx).(policy.Gate); ok {
		return gate.Ready(ctx)
	}
	return nil
}

// Changed returns the channel of the guard of the key of ctx, if it is there and a
// [policy.Notifier]; otherwise nil.
func (g *Guard[K, V]) Changed(ctx context.Context) <-chan struct{} {
	if notifier, ok := g.guardOf(ctx).(policy.Notifier); ok {
		return notifier.Changed(ctx)
	}
	return nil // never closed
}

// guardOf returns the guard that the key of ctx has now. There is none for a new key: whether it
// would get a place, or the overflow value, is only known once it has looked for one. A key that is
// too long never gets a place.
func (g *Guard[K, V]) guardOf(ctx context.Context) any {
	registry := g.Registry()
	key := g.key(ctx)
	if e := registry.peek(key); e != nil {
		return e.value
	}
	if keyLength(key) > registry.current().maxLength {
		return registry.overflow.value
	}
	return nil
}

// Check asks the overflow value, if it is a [policy.Checker].
func (g *Guard[K, V]) Check(outer, inner []policy.Layer) error {
	if checker, ok := g.example().(policy.Checker); ok {
		return checker.Check(outer, inner)
	}
	return nil
}

// TimeLimit returns the limit of the overflow value, if it is a [policy.TimeLimiter]; otherwise the
// longest duration.
func (g *Guard[K, V]) TimeLimit() time.Duration {
	if limiter, ok := g.example().(policy.TimeLimiter); ok {
		return limiter.TimeLimit()
	}
	return saturate.Max
}

// Idle reports whether the values of all keys and the overflow value are idle.
func (g *Guard[K, V]) Idle() bool {
	registry := g.Registry()
	isIdle := registry.current().isIdle
	for _, value := range registry.All() {
		if !isIdle(value) {
			return false
		}
	}
	return isIdle(registry.overflow.value)
}

// Report returns the report of the registry, see [Registry.Report], and the counter "rejected": the
// attempts of all keys that g was asked about and that the guard of their key refused, with an error
// that matches [policy.ErrRejected].
func (g *Guard[K, V]) Report() policy.Report {
	report := g.Registry().Report()
	report.Values = append(report.Values, counter("rejected", g.rejected.Load()))
	return report
}

// MarshalJSON writes the report.
func (g *Guard[K, V]) MarshalJSON() ([]byte, error) { return json.Marshal(g.Report()) }

// ReportOf returns the report of the guard of a single key; see [Registry.ReportOf].
func (g *Guard[K, V]) ReportOf(key K) (policy.Report, bool) { return g.Registry().ReportOf(key) }

// ReportFor is ReportOf for the key of ctx. A guard with a method ReportFor, such as a limiter, is asked for its report for
// an attempt with ctx, and may say that it has nothing to do with that.
func (g *Guard[K, V]) ReportFor(ctx context.Context) (policy.Report, bool) {
	registry, key := g.Registry(), g.key(ctx)
	if e := registry.peek(key); e != nil {
		if reporter, ok := any(e.value).(interface {
			ReportFor(ctx context.Context) (policy.Report, bool)
		}); ok {
			return reporter.ReportFor(ctx)
		}
	}
	return registry.ReportOf(key)
}

// String returns what the overflow value says of itself, as in `per key breaker "users-db"`.
func (g *Guard[K, V]) String() string {
	example := g.example()
	if s, ok := example.(fmt.Stringer); ok {
		return "per key " + s.String()
	}
	return fmt.Sprintf("per key %T", example)
}
