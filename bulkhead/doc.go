// Package bulkhead bounds how many attempts are in flight at the same time, so that one slow dependency cannot take
// every goroutine, connection and byte of a service with it.
//
//	db := bulkhead.New(16)                                          // at most 16 in flight, the 17th is refused
//	db := bulkhead.New(16, bulkhead.Queue(8, 100*time.Millisecond)) // 8 more may wait, at most 100 ms each
//
// A bulkhead is a queueing system with n servers: by Little's law the attempts in flight are the arrival rate times
// the latency. docs/bulkhead.md shows how to choose n.
//
// # What it promises
//
//   - At most the limit is in flight, at most the queue's length waits, and no attempt waits longer than the queue's
//     wait or its own context, whichever ends first.
//   - First come, first served: a newcomer never overtakes an attempt that waits, and a heavy attempt at the head of
//     the queue is not passed by lighter ones behind it.
//   - Slots are conserved: whatever way an attempt ends (return, panic, [runtime.Goexit], cancellation, refusal by a
//     layer inside), its slot is handed on exactly once. A slot that is granted in the moment in which the waiter
//     leaves goes to the next one.
//   - Admission without contention is one atomic step and allocates nothing. The same holds for a refusal.
//
// # While it runs
//
// [Bulkhead.Reconfigure] changes it, [Bulkhead.Shadow] tries a limit out, [Bulkhead.Drain] is for shutdown,
// [Bulkhead.Snapshot] and [Bulkhead.Report] show it.
//
// A bulkhead is no [policy.Gate]: that all slots are taken now says nothing about the health of the dependency.
package bulkhead
