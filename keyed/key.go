package keyed

import (
	"reflect"
	"strings"

	"github.com/go-resilience/resilience/policy"
)

// checkKeyType notes what makes t, or a part of it, unfit for keys.
func checkKeyType(t, part reflect.Type, problems *policy.ConfigError) {
	switch part.Kind() {
	case reflect.Struct:
		for i := range part.NumField() {
			checkKeyType(t, part.Field(i).Type, problems)
		}
	case reflect.Array:
		checkKeyType(t, part.Elem(), problems)
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		problems.Add("key type %v: contains a floating-point number: NaN is never found again", t)
	case reflect.Interface:
		problems.Add("key type %v: contains an interface: its values may not be comparable and have no bounded size", t)
	}
}

// keyLength returns the bytes of all strings in key.
func keyLength[K comparable](key K) (n int) {
	if s, ok := any(key).(string); ok {
		return len(s)
	}
	return stringsLength(key)
}

func stringsLength[K comparable](key K) (n int) {
	eachString(reflect.ValueOf(&key).Elem(), func(s *string) { n += len(*s) })
	return n
}

// cloneKey returns key with strings of its own: a key that was cut out of a request would hold the
// whole request.
func cloneKey[K comparable](key K) K {
	eachString(reflect.ValueOf(&key).Elem(), func(s *string) { *s = strings.Clone(*s) })
	return key
}

// eachString calls f for every string in v, which must be addressable, in unexported fields too.
func eachString(v reflect.Value, f func(*string)) {
	switch v.Kind() {
	case reflect.String:
		f(reflect.NewAt(reflect.TypeFor[string](), v.Addr().UnsafePointer()).Interface().(*string))
	case reflect.Struct:
		for i := range v.NumField() {
			eachString(v.Field(i), f)
		}
	case reflect.Array:
		for i := range v.Len() {
			eachString(v.Index(i), f)
		}
	}
}
