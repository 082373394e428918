package keyed

import (
	"reflect"
	"strings"
)

// keyLength returns the bytes of all strings in key.
func keyLength[K comparable](key K) (n int) {
	if s, ok := any(key).(string); ok {
		return len(s)
	}
	return stringsLength(key)
}

// stringsLength is apart from keyLength because it moves key to the heap.
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
