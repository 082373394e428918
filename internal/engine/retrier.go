package engine

import "github.com/go-resilience/resilience/policy"

// retrier is what the Retrier of this module is in addition, so that calls do not pay for what they do not use.
type retrier interface {
	policy.Repeater

	// Succeeded is called in place of Next after a first attempt that succeeded: all that the Retrier needs to know is that it
	// did. The row "retry, first attempt" of docs/performance.md is what this is for.
	Succeeded(Caller)

	// Discards reports whether Discard does anything. Otherwise it is not called, and needs no goroutine.
	Discards(Caller) bool
}

// Caller makes a method one that no other module can call, or have by chance.
type Caller struct{}

// discarderOf returns repeater if it wants the values that further attempts supersede, otherwise nil. A Reconfigure can change
// that between two attempts.
func discarderOf(repeater policy.Repeater) policy.Discarder {
	if retrier, ok := repeater.(retrier); ok && !retrier.Discards(Caller{}) {
		return nil
	}
	discarder, _ := repeater.(policy.Discarder)
	return discarder
}
