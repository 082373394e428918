// Package match compares errors that come from outside, whatever they are made of.
package match

import "errors"

// Is is errors.Is for errors that may not be comparable: one whose type is a struct with a map in a field of type any
// makes == panic, and so may a method Is of its own. Such errors do not match.
func Is(err, target error) (is bool) {
	defer func() {
		if recover() != nil {
			is = false
		}
	}()
	return errors.Is(err, target)
}

// Same is a == b for errors that may not be comparable; such errors are not the same.
func Same(a, b error) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a == b //nolint:errorlint // identity is meant
}

// As is errors.AsType for errors whose methods may panic, such as a nil pointer: they do not match.
func As[E error](err error) (found E, ok bool) {
	defer func() {
		if recover() != nil {
			found, ok = *new(E), false
		}
	}()
	return errors.AsType[E](err)
}
