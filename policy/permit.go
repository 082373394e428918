package policy

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Permit is an admission whose attempt the caller runs itself, where a function does not fit: a stream, a connection
// that is handed on. It must be settled exactly once, also when the work panics or is given up:
//
//	permit, err := policy.Acquire(ctx, db)
//	if err != nil {
//		return err
//	}
//	defer permit.Settle(policy.Outcome{Kind: policy.Exited}) // does nothing, and reports false, after Done
//	…
//	permit.Done(err)
//
// A Permit is safe for concurrent use.
type Permit struct {
	guard   Guard
	ctx     context.Context
	ticket  Ticket
	settled atomic.Bool
}

// Acquire asks guard for one attempt. It returns the guard's refusal, or [ContextError] when ctx has already ended;
// then nothing was taken. Acquire panics when ctx or guard is nil, and when guard admits with a nil context, after it has
// settled that as [NotCalled].
func Acquire(ctx context.Context, guard Guard) (*Permit, error) {
	if ctx == nil {
		panic("policy: Acquire with a nil context")
	}
	if guard == nil {
		panic("policy: Acquire with a nil guard")
	}
	if err := ContextError(ctx); err != nil {
		return nil, err
	}
	admitted, ticket, err := guard.Admit(ctx)
	if err != nil {
		return nil, err
	}
	if admitted == nil {
		guard.Settle(ctx, ticket, Outcome{Kind: NotCalled}) // what it has taken comes back
		panic(fmt.Sprintf("policy: %T admitted with a nil context", guard))
	}
	return &Permit{guard: guard, ctx: admitted, ticket: ticket}, nil
}

// String says what the permit is for and whether it is settled.
func (p *Permit) String() string {
	if p == nil {
		return "no permit"
	}
	state := "held"
	if p.settled.Load() {
		state = "settled"
	}
	return fmt.Sprintf("permit of %s, %s", layerText(p.guard), state)
}

// Context returns the context that the work must run under: the one that Acquire was given, or one that the guard
// derived from it. A derived context ends when the permit is settled. The context of a nil Permit is the background
// context.
func (p *Permit) Context() context.Context {
	if p == nil {
		return context.Background()
	}
	return p.ctx
}

// Done settles the permit with the error of the work, nil for success. It reports whether this was the settlement:
// a second one changes nothing and reports false, and so does settling a nil Permit.
func (p *Permit) Done(err error) bool {
	return p.Settle(Outcome{Kind: Returned, Err: err})
}

// Settle settles the permit with any outcome: [NotCalled] when the work was never begun and what was taken should go
// back. Like Done, it counts only once. The class of the error, and whether the caller has cancelled, need not be given.
func (p *Permit) Settle(outcome Outcome) bool {
	if p == nil || p.settled.Swap(true) {
		return false
	}
	if outcome.Err != nil && outcome.Class == Unclassified {
		judged := false
		defer func() {
			if !judged { // the classifier, or a method of the error, has panicked or called runtime.Goexit: settle all the same
				p.guard.Settle(p.ctx, p.ticket, Outcome{Kind: Panicked})
			}
		}()
		outcome.Class = p.classify(outcome.Err)
		judged = true
	}
	outcome.Canceled = outcome.Canceled || outcome.Err != nil && Canceled(p.ctx)
	p.guard.Settle(p.ctx, p.ticket, outcome)
	return true
}

// workClassifier is a guard that stands for a pipeline, as the open results of the engine do: it knows the pipeline's Classify.
type workClassifier interface{ ClassOfWork(err error) Class }

// classify asks the pipeline, if the guard stands for one, otherwise the error.
func (p *Permit) classify(err error) Class {
	if pipeline, ok := p.guard.(workClassifier); ok {
		return pipeline.ClassOfWork(err)
	}
	if class := ClassOf(err); class != Unclassified {
		return class
	}
	return Transient
}
