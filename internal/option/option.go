// Package option applies the options of a policy.
package option

import (
	"reflect"

	"github.com/go-resilience/resilience/policy"
)

// Apply lets each option store what it is about in c, in order, so that of the same option given twice the later one
// counts. A nil option is noted as a problem. Options only store: the configuration that results is checked afterwards.
func Apply[C any, O ~func(*C)](c *C, options []O, problems *policy.ConfigError) {
	for i, apply := range options {
		if apply == nil {
			problems.Add("option %d is nil", i+1)
			continue
		}
		apply(c)
	}
}

// IsNil reports whether v is nil, or a nil pointer: an object that was never made. A nil function can have methods that
// work; resilience.Observe and policy.ObserveOnly, whose observers are called, refuse it.
func IsNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}

// Same reports whether a and b are the same object. Values that cannot be compared, on which == would panic, are not.
func Same(a, b any) bool {
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}
