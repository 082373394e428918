package keyed

import (
	"reflect"
	"strings"
	"unsafe"

	"github.com/go-resilience/resilience/policy"
)

// keyType knows where the strings of a key type are: they are what a key can hold much memory by.
type keyType[K comparable] struct {
	offsets []uintptr
}

// newKeyType looks at K and notes what makes it unfit.
func newKeyType[K comparable](problems *policy.ConfigError) keyType[K] {
	t := reflect.TypeFor[K]()
	var k keyType[K]
	var look func(part reflect.Type, at uintptr)
	look = func(part reflect.Type, at uintptr) {
		switch part.Kind() {
		case reflect.String:
			k.offsets = append(k.offsets, at)
		case reflect.Struct:
			for i := range part.NumField() {
				field := part.Field(i)
				look(field.Type, at+field.Offset)
			}
		case reflect.Array:
			for i := range part.Len() {
				before := len(k.offsets)
				look(part.Elem(), at+uintptr(i)*part.Elem().Size())
				if len(k.offsets) == before {
					break // no element has strings
				}
			}
		case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
			problems.Add("key type %v: contains a floating-point number: NaN is never found again", t)
		case reflect.Interface:
			problems.Add("key type %v: contains an interface: its values may not be comparable and have no bounded size", t)
		}
	}
	look(t, 0)
	return k
}

// length returns the bytes of all strings in key.
func (k keyType[K]) length(key K) (n int) {
	for _, offset := range k.offsets {
		n += len(*(*string)(unsafe.Add(unsafe.Pointer(&key), offset)))
	}
	return n
}

// clone returns key with strings of its own: a key that was cut out of a request would hold the whole request.
func (k keyType[K]) clone(key K) K {
	for _, offset := range k.offsets {
		s := (*string)(unsafe.Add(unsafe.Pointer(&key), offset))
		*s = strings.Clone(*s)
	}
	return key
}
