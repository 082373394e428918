package policy

import (
	"context"
	"encoding/json"
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

// Repeater decides, after each attempt, whether there is another one, and when: retry.
type Repeater interface {
	Layer

	// Next is told how an attempt ended, and answers what to do.
	//
	//   - It is called once after each attempt that returned, the successful one too. After a success the answer is
	//     ignored. After a panic or [runtime.Goexit] of the operation the call is over, and Next is not called.
	//   - If it answers Again, but the attempt cannot be made when its time has come, because ctx has ended or a
	//     gate now refuses, it is called again for the same attempt, with the State that it gave. It may then wait
	//     again. If ctx has ended there is no further attempt, whatever it answers; only its error is used.
	//   - If it answers Again, and a panic or [runtime.Goexit] ends the call before that attempt enters the operation, it
	//     is called once more with a ctx that has ended, so that it can give back what it has spent: for the same
	//     attempt, or for the next one, if that was refused. The answer is ignored. If Next itself panics, it is not
	//     called again: it must give that back first.
	//   - What belongs to one call is kept in Attempt.State and Decision.State, never in the repeater.
	//   - It must not wait itself.
	Next(ctx context.Context, attempt Attempt) Decision
}

// Attempt tells a [Repeater] about an attempt that has ended.
type Attempt struct {
	Number  int     // 1 for the first attempt of a call
	Outcome Outcome // Returned, or NotCalled when a layer inside refused
	Blocked error   // the rejection that the gates inside would give the next attempt now; nil when they are ready

	// Elsewhere says that the next attempt goes elsewhere: the breaker of one host has refused this attempt, and still
	// would, but the next attempt is for another host, whose breaker is closed. It is worth making, and at once.
	Elsewhere bool

	Asked int // how often Next was asked about this attempt before: 0 the first time
	State any // what the previous Decision of this call said; nil at first
}

// MarshalJSON writes errors as text, and leaves the State out.
func (a Attempt) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Number    int     `json:"number"`
		Outcome   Outcome `json:"outcome"`
		Blocked   string  `json:"blocked,omitempty"`
		Elsewhere bool    `json:"elsewhere,omitempty"`
		Asked     int     `json:"asked,omitempty"`
	}{a.Number, a.Outcome, errorText(a.Blocked), a.Elsewhere, a.Asked})
}

// Decision is the answer of a [Repeater]. The zero Decision ends the call with the attempt's own result.
type Decision struct {
	Again bool          // make another attempt, after Wait
	Wait  time.Duration // 0 or less: at once, without a timer
	Err   error         // if not Again: the error of the call; nil for the attempt's own

	// Reason is why there is no further attempt, for events. It is nil when another attempt was never in question: a
	// refusal, an error that is not to be retried.
	Reason error

	State any // handed back with the next Attempt of this call
}

// MarshalJSON writes errors as text and the wait as a number of seconds, and leaves the State out.
func (d Decision) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Again  bool    `json:"again"`
		Wait   float64 `json:"wait,omitempty"`
		Err    string  `json:"error,omitempty"`
		Reason string  `json:"reason,omitempty"`
	}{d.Again, d.Wait.Seconds(), errorText(d.Err), errorText(d.Reason)})
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

// Checker is what a layer implements in addition when it can tell, while a pipeline is composed, that it does not
// fit the layers around it.
type Checker interface {
	// Check returns an error that names every problem, or nil. outer and inner are the layers outside and inside
	// this one, outermost first. It must not keep or change the slices.
	Check(outer, inner []Layer) error
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
