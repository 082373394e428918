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
//
// # Inside
//
// Each level of an admission and of a settlement does what the one above it cannot:
//
//	level           reached                              may
//	Admit, Settle   always                               take or give back one slot in one atomic step
//	admit, settle   if attempts have weights or are      call a function of the user; take or give back slots in one
//	                measured, or that step failed        atomic step; measure
//	acquire         if the word is frozen, or there      refuse without the mutex if there is no queue; wait for what
//	                are too few slots                    join has put into the queue
//	join, release   if nothing less will do              all of it, with queue, shadows and drain: between enter and leave
package bulkhead
