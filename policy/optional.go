package policy

import (
	"context"
	"time"
)

// What a layer can implement in addition. The engine, Compose and registries look for it by type assertion.

// Gate is what a guard implements in addition when it judges the dependency to be down: a breaker, an adaptive
// throttle, a maintenance window. Retries ask every inner gate before they sleep and again after it. Guards that
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

	// Changed returns a channel that is closed the next time the answer of Ready changes for a reason other than the
	// passage of time; it may also be closed when the answer is still the same. It must not start a goroutine.
	// ctx is as for Ready, for gates that are different things to different callers.
	Changed(ctx context.Context) <-chan struct{}
}

// Returner is what a [Guard] implements in addition when it counts or measures: breaker, throttle, adaptive limit. For a
// result that stays open (resilience.Open) it is told that the operation has succeeded when that happens, which can be
// long before the permit is settled.
type Returner interface {
	Guard

	// Returned is told that the operation has returned without an error. It counts the success and returns the ticket
	// that Settle will get. Settle must then count no second success; an error is one more failure.
	Returned(ctx context.Context, ticket Ticket) Ticket
}

// Lifter is what a [Guard] implements in addition when the bound it puts on an attempt ends with the operation, while a
// result that stays open (resilience.Open) lives on: the attempt timeout.
type Lifter interface {
	Guard

	// AdmitOpen is Admit for a result that stays open. The engine calls lift when the operation has returned: the bound
	// is off from then on, and the context lives until ticket.Cancel is called. The context must be a cancellable one
	// that ends with a cause, not one with a deadline: drivers send a deadline on, and servers would end the stream
	// then. lift is nil when there is nothing to lift.
	AdmitOpen(ctx context.Context) (admitted context.Context, ticket Ticket, lift func(), err error)
}

// Opener is what a [Wrapper] implements in addition when it ends the contexts of its attempts as it returns: hedge. A result
// that stays open (resilience.Open) still needs the winner's.
type Opener interface {
	Wrapper

	// Open is Run for a result that stays open. attempt takes a second argument, the function that ends the context it is
	// given: the wrapper must not end that context in any other way unless the attempt has lost. attempt itself calls end
	// when it fails or comes too late; otherwise the permit does, when it is settled.
	Open(ctx context.Context, attempt func(ctx context.Context, end context.CancelFunc) error) error
}

// Discarder is what a layer implements in addition when it wants the results that are not the result of the call, so that
// what they hold can be released.
//
//   - A [Wrapper] gets the successful results of attempts that lost, or that ended after Run had returned. It does not
//     get the result of a failed operation, which releases what it holds itself.
//   - A [Repeater] gets the value that a failed attempt returned beside its error, when another attempt enters the
//     operation: until then it could still have been the value of the call. The zero value is not handed out.
type Discarder interface {
	// Discard is called exactly once for each such result, outside of all locks. The attempt that gives the result up
	// waits for it; a repeater's Discard runs on a goroutine of its own meanwhile.
	Discard(value any)
}

// Budget bounds the extra attempts of everything that shares it: retries, hedges. Its methods must be safe for
// concurrent use and must not wait.
type Budget interface {
	// Deposit says that a call has been made, which is what earns extra attempts. The engine calls it once for each call
	// that entered the operation, on behalf of the outermost layer that uses the budget.
	Deposit()
	// Withdraw asks for one extra attempt. It takes it from the budget and returns true, or returns false.
	Withdraw() bool
	// Return gives back what Withdraw has taken, when the attempt is not made after all.
	Return()
}

// BudgetUser is what a [Repeater] or [Wrapper] implements in addition when it pays extra attempts from a [Budget].
type BudgetUser interface {
	Layer

	// Budget returns the budget, nil if there is none.
	Budget() Budget
}

// Checker is what a layer implements in addition when it can tell, while a pipeline is composed, that it does not
// fit the layers around it.
type Checker interface {
	// Check returns an error that names every problem, or nil. outer and inner are the layers outside and inside
	// this one, outermost first: the layers themselves, also where [At] has moved them. It must not keep or change the slices.
	Check(outer, inner []Layer) error
}

// Idler is what a layer implements in addition when it matters that it is forgotten, as a registry of policies per key
// does. The policies of this module implement it, and a pipeline is idle when all its layers are.
type Idler interface {
	// Idle reports whether the layer may be forgotten: a new one in its place would let nothing through that this one
	// refuses, and lose nothing that this one holds. An open breaker is not idle, nor is a limiter that lacks tokens,
	// nor a bulkhead with calls in flight, nor a retry whose budget is spent.
	//
	//   - It is a pure question: it reserves nothing, moves no state, and does not wait.
	//   - An admission that makes the layer not idle does so before it returns.
	//   - What was set by hand since the layer was made is never idle: it would be forgotten.
	//   - A layer that is not used becomes idle as time passes, once its calls have ended.
	Idle() bool
}

// TimeLimiter is what a layer implements in addition when it bounds time: the timeouts. Other layers compare their own
// delays with it while a pipeline is composed; they look at its stage to see what it bounds.
type TimeLimiter interface {
	Layer

	// TimeLimit returns the longest time that the layer ever grants.
	TimeLimit() time.Duration
}

// Composite is a layer that is made of layers: a pipeline.
type Composite interface {
	Layer

	// Layers returns the layers in order, outermost first; those that were moved as a [Placed]. The slice is the
	// caller's.
	Layers() []Layer
}
