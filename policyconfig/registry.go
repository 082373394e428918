package policyconfig

import (
	"context"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
)

// Registry holds what a file cannot hold: code, by the names that the file uses for it. Every field may be nil. The
// functions must be safe for concurrent use. [Load] copies the maps.
type Registry struct {
	// Classify is for the option "classify" of pipelines, breakers, adaptive bulkheads and throttles.
	Classify map[string]func(error) policy.Class
	// Keys is for "perKey": each function returns the key of a call, as policyhttp.Key does.
	Keys map[string]func(context.Context) string
	// Observers is for "observe" of pipelines. They stay when a file is reloaded.
	Observers map[string]policy.Observer
	// Layers is for layers of kind "layer", such as your own. A layer may be part of several pipelines.
	Layers map[string]policy.Layer
	// Budgets is for "withBudget" of retries and hedges, in addition to the budgets in the file.
	Budgets map[string]policy.Budget

	If        map[string]func(error) bool                   // retry.If
	Delay     map[string]func(policy.Attempt) time.Duration // retry.Delay
	BackOff   map[string]func() backoff.BackOff             // retry.BackOff
	Rejection map[string]error                              // retry.RetryRejections, in addition to the reasons of this module
	TripWhen  map[string]func(breaker.Snapshot) bool        // breaker.TripWhen
	OnChange  map[string]func(breaker.Change)               // breaker.OnChange
	CostOf    map[string]func(context.Context) int          // ratelimit.CostOf
	WeightOf  map[string]func(context.Context) int          // bulkhead.WeightOf
	OnDiscard map[string]func(value any)                    // of retries, hedges and abandoning timeouts
	OnPanic   map[string]func(value any, stack []byte)      // of hedges and abandoning timeouts
	Rand      map[string]func() rand.Source                 // makes the source of one policy

	// Require names pipelines that the program needs: a file without one of them is refused.
	Require []string
	// Check holds what the program demands of a pipeline, by its name in the file, such as policyhttp.ValidateHandler
	// for a front door. If a function returns an error, the configuration is refused as a whole. It gets a pipeline
	// that was composed on trial and is not used afterwards, and must not run it. [Load], [Set.Plan] and [Set.Apply]
	// call it, and it must not call them. A file that lacks a checked pipeline is refused.
	Check map[string]func(*resilience.Pipeline) error

	// Environment is the prefix of environment variables that override the file, such as "RESILIENCE": then
	// RESILIENCE__USERS__BREAKER__OPEN_FOR=10s sets "openFor" of the breaker of the pipeline "users". They are read
	// whenever the file is. By default, "", no variable counts. See the page on configuration for the names.
	Environment string
	// Environ returns the environment as [os.Environ] does, which is the default.
	Environ func() []string
}

// field returns one of the maps.
func (r *Registry) field(name string) reflect.Value {
	return reflect.ValueOf(r).Elem().FieldByName(name)
}

// lookup returns what is registered, nil if nothing is, or a nil function or pointer.
func (r *Registry) lookup(field, name string) any {
	v := r.field(field).MapIndex(reflect.ValueOf(name))
	if !v.IsValid() || v.IsZero() {
		return nil
	}
	if v.Kind() == reflect.Interface {
		switch e := v.Elem(); e.Kind() {
		case reflect.Pointer, reflect.Func:
			if e.IsNil() {
				return nil
			}
		}
	}
	return v.Interface()
}

// names returns the names that something is registered under.
func (r *Registry) names(field string) []string {
	var names []string
	for _, key := range r.field(field).MapKeys() {
		if r.lookup(field, key.String()) != nil {
			names = append(names, key.String())
		}
	}
	slices.Sort(names)
	return names
}

// clone returns a registry whose maps are its own.
func (r Registry) clone() Registry {
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if field := v.Field(i); field.Kind() == reflect.Map && !field.IsNil() {
			fresh := reflect.MakeMapWithSize(field.Type(), field.Len())
			for _, key := range field.MapKeys() {
				fresh.SetMapIndex(key, field.MapIndex(key))
			}
			field.Set(fresh)
		}
	}
	r.Require = slices.Clone(r.Require)
	return r
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
