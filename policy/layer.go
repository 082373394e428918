package policy

import (
	"context"
	"time"
)

// Layer is anything that a pipeline can be composed of. A policy must also be exactly one of [Guard], [Repeater] or
// [Wrapper], and may be a [Gate] and a [Checker]; resilience.Name and the like are layers, but none of the three. A layer that is
// a [fmt.Stringer] is printed that way.
//
// Layers must be safe for concurrent use, and may be part of several pipelines, which then share their state. They
// should be pointers: a layer is recognised as the same instance by ==.
type Layer interface {
	// Stage says where the layer belongs. It must always return the same value.
	Stage() Stage
}

// Guard admits an attempt and is told later how it ended: breaker, rate limiter, bulkhead, timeout.
type Guard interface {
	Layer

	// Admit asks for one attempt.
	//
	//   - To admit, it returns ctx, or a context derived from it (a deadline, a span), a ticket, and a nil error.
	//     Settle will be called exactly once with that context and that ticket.
	//   - To refuse, it returns an error, normally a [*Rejection]. Settle will not be called. Whatever Admit had
	//     taken must be given back before it returns.
	//   - The engine starts no attempt under a ctx that has ended, but ctx can end at any moment, even before Admit is
	//     called. If Admit waits, it must stop waiting when ctx ends and refuse with [ContextError], having taken nothing.
	//   - It must not wait while it holds a lock, and must not call the functions of users under a lock.
	//   - If it panics, or calls [runtime.Goexit], guards outside of it are told [NotCalled] up to the next repeater or wrapper.
	//     Outside of that they are told [Panicked] or [Exited], since an earlier attempt may have called the operation.
	Admit(ctx context.Context) (context.Context, Ticket, error)

	// Settle tells the guard how the attempt that it admitted has ended.
	//
	//   - ctx and ticket are those that Admit returned.
	//   - It is called on every exit: return, error, panic, [runtime.Goexit], and refusal by an inner layer
	//     ([NotCalled]). Guards are settled in the reverse order of their admission.
	//   - It cannot change the result. If it panics, the other guards are settled all the same and the panic goes
	//     on to the caller.
	//   - It must not wait.
	Settle(ctx context.Context, ticket Ticket, outcome Outcome)
}

// Ticket is what a guard needs back in order to settle an attempt. The engine keeps it and hands it back; each guard
// uses the fields it needs. It is a value, so that admission allocates nothing.
type Ticket struct {
	Period uint64        // which part of the guard's state the attempt belongs to: a generation, an epoch, a hash
	Start  time.Duration // when the attempt was admitted, by the guard's own stopwatch
	Number int64         // an amount (tokens, slots), an identity (which probe), or flags
	// Cancel ends the context that Admit derived, nil if it derived none. Settle must call it unless it is nil: where a
	// failed attempt has left something to be read, such as the body of a 503, the engine takes it out of the ticket and
	// calls it later.
	Cancel context.CancelFunc
}

// Wrapper runs the attempts itself: hedge, or whatever a third party can only do by wrapping. Prefer [Guard] where
// it is enough; a wrapper costs closures.
type Wrapper interface {
	Layer

	// Run calls attempt as often as it wants, also concurrently, and returns the error of the whole.
	//
	//   - The first attempt that succeeds wins: its value is the value of the call, whatever the others return later.
	//   - Run must return nil if and only if an attempt returned nil. It must pass on an attempt's error, or wrap it.
	//   - The context given to attempt must be ctx or derived from it.
	//   - Every attempt must have ended when Run returns, except where the wrapper exists to abandon attempts. An attempt
	//     that ends later is still settled, but its result is dropped.
	//   - A panic of attempt must reach Run's caller, on the caller's own goroutine.
	Run(ctx context.Context, attempt func(context.Context) error) error
}
