package policyotel

import (
	"reflect"
	"sync"

	"go.opentelemetry.io/otel/metric"

	"github.com/go-resilience/resilience/adapters/internal/target"
	"github.com/go-resilience/resilience/policy"
)

// shown are the names that each provider shows. The SDK adds up what two callbacks observe with the same attributes, and says
// nothing: every counter would be twice what it is.
var shown = struct {
	sync.Mutex
	names map[metric.MeterProvider]map[string]bool
}{names: make(map[metric.MeterProvider]map[string]bool)}

// show notes that a provider shows the targets. The error is a [*policy.ConfigError] that names those that it shows already;
// then nothing is noted. A provider that is no pointer, such as that which does nothing, cannot be told from others.
func show(provider metric.MeterProvider, targets []*target.Target) error {
	if reflect.TypeOf(provider).Kind() != reflect.Pointer {
		return nil
	}
	shown.Lock()
	defer shown.Unlock()
	problems := policy.ConfigError{Policy: "policyotel"}
	for _, t := range targets {
		if shown.names[provider][t.Name] {
			problems.Add("%v is already shown with this provider: call Shutdown of the other Metrics first", t)
		}
	}
	if err := problems.Err(); err != nil {
		return err
	}
	names := shown.names[provider]
	if names == nil {
		names = make(map[string]bool)
		shown.names[provider] = names
	}
	for _, t := range targets {
		names[t.Name] = true
	}
	return nil
}

// hide undoes show.
func hide(provider metric.MeterProvider, targets []*target.Target) {
	if reflect.TypeOf(provider).Kind() != reflect.Pointer {
		return
	}
	shown.Lock()
	defer shown.Unlock()
	names := shown.names[provider]
	for _, t := range targets {
		delete(names, t.Name)
	}
	if len(names) == 0 {
		delete(shown.names, provider)
	}
}
