// Package keytype checks the types of keys.
package keytype

import (
	"reflect"

	"github.com/go-resilience/resilience/policy"
)

// Check notes what makes t unfit for keys.
func Check(t reflect.Type, problems *policy.ConfigError) { check(t, t, problems) }

func check(t, part reflect.Type, problems *policy.ConfigError) {
	switch part.Kind() {
	case reflect.Struct:
		for i := range part.NumField() {
			check(t, part.Field(i).Type, problems)
		}
	case reflect.Array:
		check(t, part.Elem(), problems)
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		problems.Add("key type %v: contains a floating-point number: NaN is never found again", t)
	case reflect.Interface:
		problems.Add("key type %v: contains an interface: its values may not be comparable and have no bounded size", t)
	}
}
