package engine

import "github.com/go-resilience/resilience/policy"

// These errors stand in for a result inside a pipeline. Neither is ever the error of a call.
//
//   - errNotEntered is returned in place of entering the operation: the wrapper around it has returned, or discarding an earlier
//     value has panicked. For the guards inside, the operation was not called. They see it, and so do a repeater inside, its
//     events, and a wrapper inside.
//   - errLost is returned in place of the nil of a success that came after that of another attempt: exactly one attempt of a
//     wrapper returns nil. Only the wrapper sees it: the guards inside have been told of the success.
//
// Those who go by codes take both for hedge.ErrLost, the cause of the context of an attempt that has lost.
var (
	errNotEntered error = &policy.Rejection{Kind: "wrapper", Reason: policy.NewReason("hedge.lost", "the call has ended")}
	errLost       error = &policy.Rejection{Kind: "wrapper", Reason: policy.NewReason("hedge.lost", "another attempt has won")}
)
