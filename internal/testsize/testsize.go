// Package testsize says how long tests run. What takes long runs short in a plain "go test", which everybody waits
// for, and whole where the environment says RESILIENCE_TESTS=whole, as .ci/run and .ci/proof do. A short run tries fewer
// cases than the whole one; it never expects less of them.
package testsize

import (
	"fmt"
	"os"
)

// Variable is the name of the environment variable. The go command remembers results of tests by its value.
const Variable = "RESILIENCE_TESTS"

// Whole reports whether tests run whole. It panics for a value that means nothing, since a test that runs short by
// mistake passes as well.
func Whole() bool {
	switch size := os.Getenv(Variable); size {
	case "", "short":
		return false
	case "whole":
		return true
	default:
		panic(fmt.Sprintf("%s=%q: must be short or whole", Variable, size))
	}
}

// Pick returns the first in a short run and the second in a whole one.
func Pick[T any](short, whole T) T {
	if Whole() {
		return whole
	}
	return short
}
