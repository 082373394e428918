package resilience

import (
	"fmt"
	"reflect"

	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
)

// attribute is what a pipeline has besides its layers, on its way into one. It has no place in the order.
type attribute struct {
	option string
	config engine.Config
}

// Stage returns 0: an attribute has no place in the order.
func (attribute) Stage() policy.Stage { return 0 }

func (a attribute) String() string { return a.option }

// Name returns a layer without a place that names the pipeline it is composed into. The name is in every event and report
// of the pipeline, and its calls are counted; it is not in rejections, which belong to the policies. Of several names the
// last one given counts. Name panics with a [*policy.ConfigError] when the name is empty.
func Name(name string) policy.Layer {
	if name == "" {
		panicConfig("resilience.Name", "the name is empty")
	}
	return attribute{fmt.Sprintf("name %q", name), engine.Config{Name: name}}
}

// Classify returns a layer without a place that says what the errors of the operation mean, to every policy of the
// pipeline it is composed into. It is asked once for each attempt that failed, on the goroutine of the call, under no
// lock. It answers [policy.Unclassified] for errors that it does not know: then the error itself is asked
// ([policy.ClassOf]), and after that the error is [policy.Transient]. Of several Classify the last one given counts; a
// policy's own option, such as retry.If or breaker.Classify, counts more for that policy.
//
//	resilience.Classify(func(err error) policy.Class {
//		if errors.Is(err, sql.ErrNoRows) {
//			return policy.Expected
//		}
//		return policy.Unclassified
//	})
//
// Classify panics with a [*policy.ConfigError] when classify is nil.
func Classify(classify func(error) policy.Class) policy.Layer {
	if classify == nil {
		panicConfig("resilience.Classify", "the function is nil")
	}
	return attribute{"classify", engine.Config{Classify: classify}}
}

// Observe returns a layer without a place that lets observers know what happens in the pipeline it is composed into. To
// observe a single policy, compose it: Compose(breaker, Observe(observer)). It costs a call nothing when absent; see
// [policy.KindObserver] for observers that need only some kinds of event. Observe panics with a [*policy.ConfigError]
// when an observer is nil.
func Observe(observers ...policy.Observer) policy.Layer {
	for i, observer := range observers {
		// As policy.ObserveOnly asks. A nil function counts, which it does not for option.IsNil: a nil ObserverFunc would panic.
		v := reflect.ValueOf(observer)
		if observer == nil || (v.Kind() == reflect.Func || v.Kind() == reflect.Pointer) && v.IsNil() {
			panicConfig("resilience.Observe", fmt.Sprintf("observer %d is nil", i+1))
		}
	}
	return attribute{"observe", engine.Config{Observers: append([]policy.Observer(nil), observers...)}}
}

func panicConfig(option, problem string) {
	panic(&policy.ConfigError{Policy: option, Problems: []string{problem}})
}
