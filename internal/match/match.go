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
