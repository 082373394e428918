//go:build !race

package bulkhead_test

const raced = false
