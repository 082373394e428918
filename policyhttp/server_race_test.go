//go:build race

package policyhttp_test

// handlerRaced says that the race detector is on, which allocates.
const handlerRaced = true
