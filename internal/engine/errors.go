package engine

import "github.com/go-resilience/resilience/policy"

// These errors stand in for a result inside a pipeline. Neither is ever the error of a call:
//
//	               instead of                 when                                          seen by
//	errNotEntered  entering the operation     the wrapper around it has returned, or        the layers inside that wrapper or retry,
//	                                          discarding an earlier value has panicked      and who observes them; not by the caller
//	errLost        the nil of an attempt      another attempt of its wrapper has succeeded  the wrapper alone: the guards inside
//	               that has succeeded         before, or the wrapper has returned           have been told of the success
//
// To those who go by codes both are hedge.ErrLost, the cause of the context of an attempt that has lost.
var (
	errNotEntered error = &policy.Rejection{Kind: "wrapper", Reason: policy.NewReason("hedge.lost", "the call has ended")}
	errLost       error = &policy.Rejection{Kind: "wrapper", Reason: policy.NewReason("hedge.lost", "another attempt has won")}
)
