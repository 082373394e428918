//go:build race

package bulkhead_test

// raced says that the race detector is on, under which simulations take ten times as long and find nothing more.
const raced = true
