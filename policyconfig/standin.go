package policyconfig

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience/policy"
)

// standIn returns something in place of code that is not at hand, for [Go]. It is never called for its answer.
func standIn(field string, typ reflect.Type, name string) reflect.Value {
	switch field {
	case "Layers":
		return reflect.ValueOf(policy.Layer(&standInLayer{name}))
	case "Observers":
		return reflect.ValueOf(policy.Observer(policy.ObserverFunc(func(context.Context, policy.Event) {})))
	case "Rejection":
		return reflect.ValueOf(policy.NewReason(name, name))
	case "BackOff":
		return reflect.ValueOf(func() backoff.BackOff { return &backoff.ZeroBackOff{} })
	case "Rand":
		return reflect.ValueOf(func() rand.Source { return rand.NewPCG(0, 0) })
	}
	if typ.Kind() != reflect.Func {
		return reflect.Value{}
	}
	return reflect.MakeFunc(typ, func([]reflect.Value) []reflect.Value {
		results := make([]reflect.Value, typ.NumOut())
		for i := range results {
			results[i] = reflect.Zero(typ.Out(i))
		}
		return results
	})
}

// standInLayer is a guard that does nothing.
type standInLayer struct{ name string }

func (l *standInLayer) Stage() policy.Stage { return policy.StageBreaker }
func (l *standInLayer) String() string      { return "layer " + strconv.Quote(l.name) }

func (l *standInLayer) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}

func (l *standInLayer) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// standInBudget is a budget that allows nothing.
type standInBudget struct{ _ time.Duration }

func (*standInBudget) Deposit()       {}
func (*standInBudget) Withdraw() bool { return false }
func (*standInBudget) Return()        {}
