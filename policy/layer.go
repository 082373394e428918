package policy

import (
	"context"
	"time"
)

// Layer is anything that a pipeline can be composed of. A layer must also be exactly one of [Guard], [Repeater] or
// [Wrapper], and may be a [Gate] and a [Checker]. A layer that is a [fmt.Stringer] is printed that way.
//
// Layers must be safe for concurrent use, and may be part of several pipelines, which then share their state. They
// should be pointers: a layer is recognised as the same instance by ==.
type Layer interface {
	// Stage says where the layer belongs. It must always return the same value.
	Stage() Stage
}

// Guard admits an attempt and later hears how it ended: breaker, rate limiter, bulkhead, timeout.
type Guard interface {
	Layer

	// Admit asks for one attempt.
	//
	//   - To admit, it returns ctx, or a context derived from it (a deadline, a span), a ticket, and a nil error.
	//     Settle will be called exactly once with that context and that ticket.
	//   - To refuse, it returns an error, normally a [*Rejection]. Settle will not be called. Whatever Admit had
	//     taken must be given back before it returns.
	//   - ctx has not ended when Admit is called. If Admit waits, it must stop waiting when ctx ends and refuse with
	//     [ContextError], having taken nothing.
	//   - It must not wait while it holds a lock, and must not call the functions of users under a lock.
	Admit(ctx context.Context) (context.Context, Ticket, error)

	// Settle tells the guard how the attempt that it admitted has ended.
	//
	//   - ctx and ticket are those that Admit returned.
	//   - It is called on every exit: return, error, panic, [runtime.Goexit], and refusal further in
	//     ([NotCalled]). Guards are settled in the reverse order of their admission.
	//   - It cannot change the result. If it panics, the other guards are settled all the same and the panic goes
	//     on to the caller.
	//   - It must not wait.
	Settle(ctx context.Context, ticket Ticket, outcome Outcome)
}

// Ticket is what a guard needs back in order to settle an attempt. The engine keeps it and hands it back unchanged;
// each field means what the guard wants it to mean. It is a value, so that admission allocates nothing.
type Ticket struct {
	Generation uint64             // the state of the guard that the attempt was admitted in
	Start      time.Duration      // when the attempt was admitted, by the guard's own stopwatch
	Slot       int64              // which slot, or how many
	Cancel     context.CancelFunc // releases the derived context; only the guard calls it
}

// Gate is what a guard implements in addition when it judges the dependency to be down: a breaker, an adaptive
// throttle, a maintenance window. Retries ask every gate further in before they sleep and again after it. Guards that
// refuse because of a momentary shortage (a rate limiter, a bulkhead) are not gates.
type Gate interface {
	// Ready returns nil when an attempt would be admitted now, otherwise the rejection that it would get.
	//
	//   - It is a pure question: it reserves nothing, moves no state, fires no event.
	//   - The answer is a snapshot. An attempt that follows may still be refused.
	Ready(ctx context.Context) error
}

// Notifier is what a [Gate] implements in addition when it can tell that its answer has changed. A retry that sleeps
// then learns at once, and not at the end of its sleep, that an attempt would be refused for longer than that, if the
// rejection says for how long.
type Notifier interface {
	Gate

	// Changed returns a channel that is closed when the answer of Ready changes the next time, other than by time
	// alone; it may also be closed when the answer is still the same. It must not start a goroutine.
	// ctx is as for Ready, for gates that are different things to different callers.
	Changed(ctx context.Context) <-chan struct{}
}

// Repeater decides, after each attempt, whether there is another one, and when: retry.
type Repeater interface {
	Layer

	// Next is told how an attempt ended, and answers what to do.
	//
	//   - It is called once after each attempt that returned, the successful one too, but for what a [SuccessCounter] is
	//     told. After a success the answer is ignored. After a panic or [runtime.Goexit] the call is over, and Next is not called.
	//   - If it answers Again, but the attempt cannot be made when its time has come, because ctx has ended or a
	//     gate now refuses, it is called again for the same attempt, with the State that it gave. It may then wait
	//     again. If ctx has ended there is no further attempt, whatever it answers; only its error is used.
	//   - What belongs to one call is kept in Attempt.State and Decision.State, never in the repeater.
	//   - It must not wait itself.
	Next(ctx context.Context, attempt Attempt) Decision
}

// Starter is what a [Repeater] implements in addition when it must know when a call begins, for example to bound the
// time of the whole call.
type Starter interface {
	Repeater

	// Start returns what is to be called when a call begins, before its first attempt: its result is the State of the
	// first Attempt. Start itself is asked when a pipeline is made, or for each call that is run through the repeater
	// alone. It may return nil, when this repeater need not know.
	Start() func(ctx context.Context) any
}

// SuccessCounter is what a [Repeater] implements in addition when it learns nothing from a call whose first attempt succeeds
// but that. A type that embeds one, and has a Next of its own, needs a Succeeded of its own too.
type SuccessCounter interface {
	Repeater

	// Succeeded is told of a first attempt that succeeded, in place of Next. That spares nearly every call the copies
	// of an Attempt and a Decision.
	Succeeded()
}

// Attempt tells a [Repeater] about an attempt that has ended.
type Attempt struct {
	Number  int           // 1 for the first attempt of a call
	Outcome Outcome       // Returned, or NotCalled when a layer further in refused
	Blocked error         // the rejection that the gates further in would answer now; nil when they are ready
	Waited  time.Duration // the waits since the attempt ended: 0 when Next is first asked about it, above 0 after that
	State   any           // what the previous Decision of this call said; at first what the function of a Starter returned, or nil
}

// Decision is the answer of a [Repeater]. The zero Decision ends the call with the attempt's own result.
type Decision struct {
	Again bool          // make another attempt, after Wait
	Wait  time.Duration // 0 or less: at once, without a timer
	Err   error         // if not Again: the error of the call; nil for the attempt's own
	State any           // handed back with the next Attempt of this call
}

// Wrapper runs the attempts itself: hedge, or whatever a third party can only do by wrapping. Prefer [Guard] where
// it is enough; a wrapper costs closures.
type Wrapper interface {
	Layer

	// Run calls call as often as it wants, also concurrently, and returns the error of the whole.
	//
	//   - The first call that succeeds wins: its value is the value of the call, whatever the others return later.
	//   - Run must return nil if and only if a call returned nil. It must pass on call's error, or wrap it.
	//   - The context given to call must be ctx or derived from it.
	//   - Every call must have ended when Run returns, except where the wrapper exists to abandon calls. A call
	//     that ends later is still settled, but its result is dropped.
	//   - A panic of call must reach Run's caller, on the caller's own goroutine.
	Run(ctx context.Context, call func(context.Context) error) error
}

// Discarder is what a [Wrapper] implements in addition when it wants the successful results that are not the result of
// the call, so that what they hold can be released: those of calls that lost, or that ended after Run had returned.
// The result of a failed operation is never handed out: an operation that fails releases what it holds.
type Discarder interface {
	// Discard is called exactly once for each such result, on the goroutine of the call that made it, outside of
	// all locks.
	Discard(value any)
}

// Checker is what a layer implements in addition when it can tell, while a pipeline is composed, that it does not
// fit the layers around it.
type Checker interface {
	// Check returns an error that names every problem, or nil. outer and inner are the layers outside and inside
	// this one, outermost first. It must not keep or change the slices.
	Check(outer, inner []Layer) error
}
